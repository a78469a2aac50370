"""with_uv_project and from_uv_script → recipes: what decides uv's answer is in them, and nothing else is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import flyte
import pytest

from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.locks.lockfile import Lock
from flyte_build.project.code_bundle import Code
from flyte_build.project.images import read_image
from flyte_build.recipe import PipInstall, Recipe, UvProject, differences

from ..support.uv import explicit, image_of, pyproject

SCRIPT = '# /// script\n# requires-python = "{python}"\n# dependencies = ["flyte", "rich"]\n{more}# ///\nprint()\n'


def step(recipe: Recipe) -> PipInstall:
    (found,) = recipe.pip_steps
    return found


def project_of(recipe: Recipe) -> UvProject:
    found = step(recipe).uv
    assert found is not None
    return found


def script(root: Path, more: str = "", python: str = ">=3.11", **arguments: object) -> Recipe:
    (root / "s.py").write_text(SCRIPT.format(more=more, python=python))
    image = flyte.Image.from_uv_script(root / "s.py", name="s", python_version=(3, 11), **arguments)  # type: ignore[arg-type]
    return read_image(image, "environment e", root)


def test_a_project_is_a_step_that_uv_answers(tmp_path: Path) -> None:
    pyproject(tmp_path / "app", "httpx", more=explicit("http://ours.example/simple", "httpx"))
    (tmp_path / "app" / "uv.lock").write_text("version = 1\n")
    recipe = image_of(tmp_path, "app/pyproject.toml", extra_args="--extra x --inexact")
    found = project_of(recipe)
    assert (found.file, found.lock, found.options) == (
        "app/pyproject.toml",
        None,
        ("--extra", "x", "--no-emit-project"),
    )
    assert found.indexes == (("httpx", ("ours",)),)
    assert found.locked == "sha256:" + hashlib.sha256(b"version = 1\n").hexdigest()
    assert (step(recipe).requirements, step(recipe).constraints) == ((), ())
    assert "ours.example" not in str(recipe.to_json())


def test_a_lock_gives_the_recipe_back(tmp_path: Path) -> None:
    pyproject(tmp_path, "httpx", more=explicit("http://ours.example/simple", "httpx"))
    recipe = image_of(tmp_path, extra_args="--no-dev")
    lock = Lock("e", recipe.to_json(), "uv", "1", None, {})
    assert recorded_recipe(lock).to_json() == recipe.to_json()


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (
            "app/pyproject.toml",
            '[project]\nname = "app"\ndependencies = ["a"]\n',
            "the project asks for something else",
        ),
        (
            "lib/pyproject.toml",
            '[project]\nname = "lib"\ndependencies = ["a"]\n',
            "the project asks for something else",
        ),
        ("app/uv.toml", 'index-strategy = "unsafe-best-match"\n', "the project asks for something else"),
        ("app/uv.lock", "version = 2\n", "its uv.lock says something else"),
    ],
)
def test_whatever_uv_reads_makes_a_lock_stale(tmp_path: Path, file: str, text: str, says: str) -> None:
    pyproject(tmp_path / "lib", name="lib")
    pyproject(tmp_path / "app", "lib", more='[tool.uv.sources]\nlib = { path = "../lib", editable = true }\n')
    (tmp_path / "app" / "uv.lock").write_text("version = 1\n")
    before = image_of(tmp_path, "app/pyproject.toml").to_json()
    (tmp_path / file).write_text(
        text if file != "app/pyproject.toml" else (tmp_path / file).read_text().replace('"lib"]', '"lib", "a"]')
    )
    after = image_of(tmp_path, "app/pyproject.toml").to_json()
    assert differences(before, after) == [f"step 1 (app/pyproject.toml): {says}"]


def test_a_lock_from_before_uv_was_asked_is_stale_in_words(tmp_path: Path) -> None:
    pyproject(tmp_path)
    new = image_of(tmp_path)
    old = Recipe(new.base, new.platforms, new.python, new.flyte, (PipInstall(()),))
    says = "step 1 (pyproject.toml): uv is asked what it installs"
    assert differences(old.to_json(), new.to_json()) == [says]
    assert differences(new.to_json(), old.to_json()) == ["step 1 (pip): uv is no longer asked what it installs"]


def test_a_workspace_needs_no_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["one"]\n')
    pyproject(tmp_path / "one", name="one")
    assert project_of(image_of(tmp_path, extra_args="--package one")).options[:2] == ("--package", "one")


def test_what_uv_does_not_ask_changes_nothing(tmp_path: Path) -> None:
    pyproject(tmp_path, "a")
    before = image_of(tmp_path)
    with (tmp_path / "pyproject.toml").open("a") as f:
        f.write('# a comment\n[tool.ruff]\nline-length = 99\n[build-system]\nrequires = ["hatchling"]\n')
    assert image_of(tmp_path) == before


def test_members_of_a_workspace_count_wherever_one_starts(tmp_path: Path) -> None:
    workspace = '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'
    pyproject(tmp_path, "a", more=workspace)
    for name in ("one", "two", "old"):
        pyproject(tmp_path / "packages" / name, name=name)
    (tmp_path / "uv.lock").write_text("version = 1\n")
    files = ["pyproject.toml", "packages/one/pyproject.toml"]
    before = [project_of(image_of(tmp_path, file)) for file in files]
    assert all(found.locked is not None and found.lock is None for found in before)
    pyproject(tmp_path / "packages" / "old", "b", name="old")
    assert [project_of(image_of(tmp_path, file)) for file in files] == before
    pyproject(tmp_path / "packages" / "two", "b", name="two")
    assert all(project_of(image_of(tmp_path, f)).asked != old.asked for f, old in zip(files, before, strict=True))
    assert project_of(image_of(tmp_path, "packages/old/pyproject.toml")).locked is None


@pytest.mark.parametrize("members", ['"."', '""', '"./one/"', '"../*/one"', '"one", "[", "**x"'])
def test_members_as_people_write_them(tmp_path: Path, members: str) -> None:
    pyproject(tmp_path / "app", more=f"[tool.uv]\nn = 1.5\n[tool.uv.workspace]\nmembers = [{members}]\n")
    pyproject(tmp_path / "app" / "one", name="one")
    assert project_of(image_of(tmp_path, "app/pyproject.toml")).file == "app/pyproject.toml"


def test_a_lock_from_elsewhere_is_named(tmp_path: Path) -> None:
    pyproject(tmp_path / "app")
    (tmp_path / "other.lock").write_text("version = 1\n")
    recipe = image_of(tmp_path, "app/pyproject.toml", uvlock=tmp_path / "other.lock")
    assert project_of(recipe).lock == "other.lock"


@pytest.mark.parametrize(
    "words", ["--index http://x.example", "--no-binary", "--extra", "--no-dev=1", "--python 3.12", "--upgrade", "junk"]
)
def test_what_has_no_place_in_a_lock(tmp_path: Path, words: str) -> None:
    pyproject(tmp_path)
    with pytest.raises(
        RefusedError, match=f"the argument `{words.split()[0].partition('=')[0]}` has no place in a lock"
    ):
        image_of(tmp_path, extra_args=words)


def test_installing_the_project_is_refused_where_it_would_be_built(tmp_path: Path) -> None:
    pyproject(tmp_path)
    assert project_of(image_of(tmp_path, project_install_mode="install_project")).options == ()
    pyproject(tmp_path, more='[build-system]\nrequires = ["hatchling"]\n')
    with pytest.raises(RefusedError, match="builds the project"):
        image_of(tmp_path, project_install_mode="install_project")


def test_a_wheel_by_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "t-1-py3-none-any.whl").write_bytes(b"")
    pyproject(tmp_path / "app", "t", more='[tool.uv.sources]\nt = { path = "../dist/t-1-py3-none-any.whl" }\n')
    assert step(image_of(tmp_path, "app/pyproject.toml")).wheels == ("dist/t-1-py3-none-any.whl",)


@pytest.mark.parametrize(("text", "says"), [("[project", "not TOML"), ("[tool.x]\n", "expected a [project] table")])
def test_a_project_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(LoadError) as e:
        image_of(tmp_path)
    assert says in e.value.message


# -- scripts -------------------------------------------------------------------------------------------


def test_a_script_that_tells_uv_nothing_is_its_requirements(tmp_path: Path) -> None:
    recipe = script(tmp_path)
    assert recipe.steps == (PipInstall(("flyte", "rich")),)
    assert (recipe.python, recipe.flyte) == ("3.11", None)


@pytest.mark.parametrize(
    "more",
    [
        '# [tool.uv.sources]\n# rich = { git = "https://git.example/rich" }\n',
        '# [[tool.uv.index]]\n# url = "http://ours.example/simple"\n',
        '# [tool.uv]\n# override-dependencies = ["rich<14"]\n',
    ],
)
def test_a_script_that_tells_uv_more_is_answered_by_uv(tmp_path: Path, more: str) -> None:
    found = project_of(script(tmp_path, more))
    assert (found.file, found.locked, found.options) == ("s.py", None, ())
    assert "example" not in str(found.to_json())


def test_a_scripts_lock_is_heeded(tmp_path: Path) -> None:
    (tmp_path / "s.py.lock").write_text("version = 1\n")
    assert project_of(script(tmp_path)).locked is not None


@pytest.mark.parametrize(
    ("python", "fits"), [("==3.12.*", "3, 12"), (">=3.12", "3, 12"), ("<3.11", "3, 10"), ("==3.13", "3, 13")]
)
def test_a_python_that_was_asked_for_and_the_file_does_not_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, fits: str
) -> None:
    monkeypatch.setattr("flyte_build.project.images.HERE", "3.9")
    with pytest.raises(LoadError, match=r"environment e: s\.py requires Python .*, the image has 3\.11") as e:
        script(tmp_path, python=python)
    assert e.value.hint == f"give the image a Python that fits: python_version=({fits})"
    pyproject(tmp_path, python=python)
    with pytest.raises(LoadError, match=r"pyproject\.toml requires Python"):
        image_of(tmp_path)


@pytest.mark.parametrize(
    ("python", "prefer", "chosen"),
    [
        (">=3.11", "debian", "3.11"),
        (">=3.12", "debian", "3.13"),  # which Debian has
        ("==3.12.*", "debian", "3.12"),
        (">=3.12", "registry", "3.12"),
        ("<3.11", "standalone", "3.10"),
    ],
)
def test_where_nobody_chose_the_python_the_file_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, prefer: str, chosen: str
) -> None:
    monkeypatch.setattr("flyte_build.project.images.HERE", "3.11")
    (tmp_path / "s.py").write_text(SCRIPT.format(more="", python=python))
    image = flyte.Image.from_uv_script(tmp_path / "s.py", name="s", python_version=(3, 11))
    found = read_image(image, "environment e", tmp_path, prefer)  # type: ignore[arg-type]
    asked = flyte.Image.from_debian_base(python_version=tuple(map(int, chosen.split("."))), name="s")  # type: ignore[arg-type]
    expected = read_image(asked, "environment e", tmp_path, prefer)  # type: ignore[arg-type]
    assert (found.python, found.base) == (chosen, expected.base)


def test_no_python_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.project.images.HERE", "3.11")
    with pytest.raises(LoadError, match=r"requires Python <3\.9") as e:
        script(tmp_path, python="<3.9")
    assert "change requires-python" in str(e.value.hint)


def test_a_version_is_no_specifier(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"`3\.12` is not a version specifier") as e:
        script(tmp_path, python="3.12")
    assert "`==3.12.*`" in str(e.value.hint)


def test_a_path_is_found_beside_the_file_where_the_current_folder_has_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public projects are run from their own folder, and checked from the repository's."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "requirements.txt").write_text("rich==14.0.0\n")
    monkeypatch.chdir(tmp_path)
    image = flyte.Image.from_debian_base(name="s").with_requirements("requirements.txt")
    code = Code(tmp_path, lambda: [tmp_path / "app" / "main.py"])
    assert step(read_image(image, "environment e", tmp_path, code=code)).requirements == ("rich==14.0.0",)
    (tmp_path / "requirements.txt").write_text("rich==13.0.0\n")
    assert step(read_image(image, "environment e", tmp_path, code=code)).requirements == ("rich==13.0.0",)


@pytest.mark.parametrize("python", [">=3.11", ">=3.11.4", "<3.12", "~=3.11", "==3.11.*"])
def test_a_python_that_fits_in_some_release(tmp_path: Path, python: str) -> None:
    assert script(tmp_path, python=python).python == "3.11"


# -- what pip takes in place of a name -----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "hg+https://me:secret@hg.example/our/tool@v1",
        "tool @ svn+https://me:secret@svn.example/our/tool@1",
        "tool @ bzr+https://me:secret@bzr.example/our/tool",
    ],
)
def test_a_location_is_refused_by_what_it_is(tmp_path: Path, text: str) -> None:
    image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages(text)
    with pytest.raises(RefusedError, match="installs from a location, which a lock cannot name") as e:
        read_image(image, "environment e", tmp_path)
    assert "secret" not in e.value.message
    assert "tool" in e.value.message


@pytest.mark.parametrize("text", ["./tool-1-py3-none-any.whl", "tool @ file:///nowhere/tool-1-py3-none-any.whl"])
def test_a_wheel_that_is_not_where_it_is_said_to_be_is_an_error(tmp_path: Path, text: str) -> None:
    image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages(text)
    with pytest.raises(LoadError, match=r"with_pip_packages: .*tool-1-py3-none-any\.whl: cannot be read: No such file"):
        read_image(image, "environment e", tmp_path)
