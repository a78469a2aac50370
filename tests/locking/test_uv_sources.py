"""The sources of a uv project: two indexes offer the same name, and nobody is asked whom the project does not name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, LockError, RefusedError, ResolutionError
from flyte_build.kernel.reporting import Recorder

from ..support.index import SimpleIndex
from ..support.locking import pins, publish
from ..support.uv import asked, explicit, image_of, locked, pyproject, scripted, uv_lock

# With a uv.lock, and without one.
BOTH = pytest.mark.parametrize("lock_first", [pytest.param(True, marks=pytest.mark.slow), False])


# -- sources: nothing is looked for where the project does not say -------------------------------------


@BOTH
def test_an_explicit_index(app: Path, index: SimpleIndex, ours: SimpleIndex, lock_first: bool) -> None:
    publish(ours.folder, "toolz 1.0: b")
    pyproject(app, "toolz", "c", more=explicit(ours.url, "toolz"))
    if lock_first:
        uv_lock(app, index)
    index.asked.clear()
    lock = locked(app, index)
    assert pins(lock) == {"toolz": ("1.0", 1), "b": ("2.0", 1), "c": ("1.0", 1)}
    (toolz,) = (w for w in lock.platforms["linux/amd64"].wheels if w.name == "toolz")
    assert toolz.sha256 == ours.sha256("toolz-1.0-py3-none-any.whl")
    assert asked(index, "toolz") == []
    assert asked(ours, "c") == []
    assert ours.host not in lock.text()
    assert '"indexes": [["toolz", ["ours"]]]' in lock.text()


def test_an_explicit_index_that_has_it_not_is_the_end(app: Path, index: SimpleIndex, ours: SimpleIndex) -> None:
    pyproject(app, "toolz", more=explicit(ours.url, "toolz"))
    with pytest.raises(ResolutionError, match="uv finds no versions that fit together") as e:
        locked(app, index)
    assert "toolz was not found" in str(e.value.detail)
    assert asked(index, "toolz") == []


def test_an_explicit_index_that_is_down_is_no_reason_to_ask_another(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "toolz", more=explicit("http://user:secret@127.0.0.1:9/simple", "toolz"))
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:9/simple/toolz/") as e:
        locked(app, index)
    assert "secret" not in f"{e.value.message}{e.value.detail}"
    assert asked(index, "toolz") == []


def test_a_default_index_of_the_project(app: Path, index: SimpleIndex, ours: SimpleIndex) -> None:
    publish(ours.folder, "toolz 1.0")
    pyproject(app, "toolz", more=f'[[tool.uv.index]]\nname = "ours"\nurl = "{ours.url}"\ndefault = true\n')
    index.asked.clear()
    assert pins(locked(app, index)) == {"toolz": ("1.0", 1)}
    assert index.asked == []


@BOTH
def test_a_wheel_by_path(app: Path, index: SimpleIndex, tmp_path: Path, lock_first: bool) -> None:
    publish(tmp_path / "wheels", "toolz 1.0: b")
    pyproject(app, "toolz", more='[tool.uv.sources]\ntoolz = { path = "../wheels/toolz-1.0-py3-none-any.whl" }\n')
    if lock_first:
        uv_lock(app, index)
    index.asked.clear()
    lock = locked(app, index)
    assert pins(lock) == {"toolz": ("1.0", 1), "b": ("2.0", 1)}
    assert asked(index, "toolz") == []
    assert str(tmp_path) not in lock.text()
    assert (app / "uv.lock").exists() is lock_first


@BOTH
def test_a_wheel_by_url(app: Path, index: SimpleIndex, ours: SimpleIndex, lock_first: bool) -> None:
    publish(ours.folder, "toolz 1.0: b")
    url = f"http://{ours.host}/files/toolz-1.0-py3-none-any.whl"
    pyproject(app, "toolz", more=f'[tool.uv.sources]\ntoolz = {{ url = "{url}" }}\n')
    if lock_first:
        uv_lock(app, index)
    index.asked.clear()
    lock = locked(app, index)
    assert pins(lock) == {"toolz": ("1.0", 1), "b": ("2.0", 1)}
    assert asked(index, "toolz") == []
    assert ours.host not in lock.text()


def test_a_source_tree_is_refused_and_never_looked_up(app: Path, index: SimpleIndex, tmp_path: Path) -> None:
    pyproject(tmp_path / "toolz", name="toolz", more='[build-system]\nrequires = ["hatchling"]\n')
    pyproject(app, "toolz", more='[tool.uv.sources]\ntoolz = { path = "../toolz" }\n')
    index.asked.clear()
    with pytest.raises(RefusedError, match=r"toolz comes from the source tree `\.\./toolz`") as e:
        locked(app, index)
    assert "editable = true" in str(e.value.hint)
    assert asked(index, "toolz") == []
    assert not (app / "uv.lock").exists()


def test_a_repository_that_cannot_be_had_is_never_looked_up(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "toolz", more='[tool.uv.sources]\ntoolz = { git = "http://me:secret@127.0.0.1:9/toolz" }\n')
    index.asked.clear()
    with pytest.raises(FetchError, match="uv could not ask an index or a source") as e:
        locked(app, index)
    assert "secret" not in f"{e.value.message}{e.value.detail}"
    assert index.asked == []


LOCKED = """
version = 1
requires-python = ">=3.10"
[[package]]
name = "app"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "toolz" }}]
[package.metadata]
requires-dist = [{{ name = "toolz", {requires} }}]
[[package]]
name = "toolz"
version = "1.0"
source = {{ {source} }}
{more}
"""


@pytest.mark.parametrize(
    ("requires", "source", "more", "says"),
    [
        (
            'git = "https://git.example/toolz?rev=v1"',
            f'git = "https://git.example/toolz?rev=v1#{"0" * 40}"',
            "",
            "the repository `https://git.example/toolz`",
        ),
        (
            'url = "https://files.example/toolz-1.0.tar.gz"',
            'url = "https://files.example/toolz-1.0.tar.gz"',
            f'sdist = {{ hash = "sha256:{"0" * 64}" }}',
            "the source archive `toolz-1.0.tar.gz`",
        ),
    ],
)
def test_what_a_lock_says_would_be_built_is_refused_and_never_looked_up(
    app: Path, index: SimpleIndex, requires: str, source: str, more: str, says: str
) -> None:
    table = requires.replace("?rev=v1", "").replace('toolz"', 'toolz", rev = "v1"') if "git" in requires else requires
    pyproject(app, "toolz", more=f"[tool.uv.sources]\ntoolz = {{ {table} }}\n")
    (app / "uv.lock").write_text(LOCKED.format(requires=requires, source=source, more=more))
    with pytest.raises(RefusedError, match=re.escape(f"toolz comes from {says}")):
        locked(app, index)
    assert index.asked == []


def test_a_direct_reference_to_a_repository(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "toolz @ git+http://127.0.0.1:9/toolz@v1")
    with pytest.raises(FetchError, match=r"uv could not ask an index or a source: .*127\.0\.0\.1:9/toolz"):
        locked(app, index)


def test_what_has_no_wheel_is_refused(app: Path, index: SimpleIndex) -> None:
    pyproject(app, "c")
    lock = uv_lock(app, index)
    url = f"http://{index.host}/files/c-1.0.tar.gz"
    sdist = f'sdist = {{ url = "{url}", hash = "sha256:{"0" * 64}" }}\n'
    lock.write_text(re.sub(r"wheels = \[.*?^\]\n", sdist, lock.read_text(), flags=re.DOTALL | re.MULTILINE))
    with pytest.raises(RefusedError, match=r"c comes from a source distribution: c 1\.0 has no wheel"):
        locked(app, index)


# -- workspaces and editable packages ------------------------------------------------------------------


def test_the_members_of_a_workspace_stay_where_they_are_and_bring_what_they_require(
    app: Path, index: SimpleIndex
) -> None:
    pyproject(
        app,
        "toolz",
        more="""
        [tool.uv.sources]
        toolz = { workspace = true }
        [tool.uv.workspace]
        members = ["packages/*"]
        """,
    )
    pyproject(app / "packages" / "toolz", "b<2", name="toolz", more="[tool.uv]\npackage = true\n")
    uv_lock(app, index)
    index.asked.clear()
    said = Recorder()
    assert pins(locked(app, index, reporter=said)) == {"b": ("1.0", 1)}
    assert asked(index, "toolz") == []
    assert any("the code of toolz is not in the image" in note for note in said.notes)
    member = image_of(app, "packages/toolz/pyproject.toml")
    assert pins(locked(app, index, member)) == {"b": ("1.0", 1)}


@BOTH
def test_an_editable_sibling(app: Path, index: SimpleIndex, tmp_path: Path, lock_first: bool) -> None:
    pyproject(tmp_path / "toolz", "b", name="toolz", more='[build-system]\nrequires = ["hatchling"]\n')
    pyproject(app, "toolz", "c", more='[tool.uv.sources]\ntoolz = { path = "../toolz", editable = true }\n')
    if lock_first:
        uv_lock(app, index)
    index.asked.clear()
    assert pins(locked(app, index)) == {"b": ("2.0", 1), "c": ("1.0", 1)}
    assert asked(index, "toolz") == []
    assert not (tmp_path / "toolz" / "uv.lock").exists()


# -- scripts -------------------------------------------------------------------------------------------


def test_a_script_with_an_index_of_its_own(app: Path, index: SimpleIndex, ours: SimpleIndex) -> None:
    publish(ours.folder, "toolz 1.0: b")
    wanted = scripted(app, 'dependencies = ["toolz"]', *explicit(ours.url, "toolz").splitlines())
    index.asked.clear()
    assert pins(locked(app, index, wanted)) == {"toolz": ("1.0", 1), "b": ("2.0", 1)}
    assert asked(index, "toolz") == []
    assert [path.name for path in app.iterdir() if path.name != "lockfiles"] == ["s.py"]


def test_a_scripts_lock_is_frozen_and_may_be_stale(app: Path, index: SimpleIndex) -> None:
    scripted(app, 'dependencies = ["a<2"]')
    uv_lock(app, index, "--script", "s.py")
    assert pins(locked(app, index, scripted(app, 'dependencies = ["a<2"]')))["a"] == ("1.0", 1)
    with pytest.raises(LockError, match=r"s\.py\.lock: does not answer s\.py as it is now"):
        locked(app, index, scripted(app, 'dependencies = ["a>1"]'))
