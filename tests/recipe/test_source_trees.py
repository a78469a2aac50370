"""What a requirement that is a repository or a folder says, in every spelling that pip and uv take."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.recipe import PipInstall, SourceTree
from flyte_build.recipe.requirements import parse_requirements, parse_requirements_file
from flyte_build.recipe.source_trees import source_tree, tree_files
from tests.support.recipes import lock_of, recipe_of

GIT = "https://git.example/our/tool.git"


def read(text: str, base: Path = Path("/base")) -> SourceTree | None:
    return source_tree(text, "here", base, lambda path: os.path.relpath(path, base))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"git+{GIT}@v1", SourceTree(git=GIT, rev="v1")),
        (f"git+{GIT}", SourceTree(git=GIT)),
        (f"tool @ git+{GIT}@feature/x", SourceTree("tool", git=GIT, rev="feature/x")),
        (f"Our.Tool[b,a]@git+{GIT}@v1", SourceTree("our-tool", ("a", "b"), git=GIT, rev="v1")),
        (
            f"tool @ git+{GIT}@v1#subdirectory=pkgs/tool&egg=other ; python_version < '3.12'",
            SourceTree("tool", (), 'python_version < "3.12"', GIT, "v1", "pkgs/tool"),
        ),
        (f"git+{GIT}#egg=tool[x]", SourceTree("tool", ("x",), git=GIT)),
        ("git+ssh://git@git.example/our/tool@v1", SourceTree(git="ssh://git@git.example/our/tool", rev="v1")),
        ("git+ssh://git@git.example/our/tool", SourceTree(git="ssh://git@git.example/our/tool")),
        ("tool>=1", None),
        ("hg+https://x.example/tool", None),
    ],
)
def test_repositories(text: str, found: SourceTree | None) -> None:
    assert read(text) == found


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "libs/tool").mkdir(parents=True)
    (tmp_path / "libs/tool/setup.py").write_text("")
    trees = [read(text, tmp_path) for text in ("./libs/tool", "tool @ ./libs/tool", f"t @ file://{tmp_path}/libs/tool")]
    assert [(t.name, t.path) for t in trees if t is not None] == [
        (None, "libs/tool"),
        ("tool", "libs/tool"),
        ("t", "libs/tool"),
    ]
    assert len({t.tree for t in trees if t is not None}) == 1
    with pytest.raises(LoadError, match=r"`\./libs`: .*libs is no Python project"):
        read("./libs", tmp_path)


WHEEL = "https://x.example/a/Tool-1.0%2Bcu1-py3-none-any.whl"
FILE = "Tool-1.0+cu1-py3-none-any.whl"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (WHEEL, SourceTree("tool", url=WHEEL, file=FILE)),
        (f"tool[x] @ {WHEEL}", SourceTree("tool", ("x",), url=WHEEL, file=FILE)),
        (f"{WHEEL}#sha256={'a' * 64}", SourceTree("tool", url=WHEEL, file=FILE, sha256="a" * 64)),
        (
            f"tool @ {WHEEL} ; sys_platform == 'linux'",
            SourceTree("tool", (), 'sys_platform == "linux"', url=WHEEL, file=FILE),
        ),
        ("https://x.example/v1.zip?raw=1", SourceTree(url="https://x.example/v1.zip?raw=1", file="v1.zip")),
        (
            "https://x.example/v1.tar.gz#egg=tool",
            SourceTree("tool", url="https://x.example/v1.tar.gz", file="v1.tar.gz"),
        ),
    ],
)
def test_addresses_of_files(text: str, found: SourceTree) -> None:
    assert read(text) == found
    # As a lock has it: a digest, and nothing of who logs in.
    assert "x.example" not in str(found.to_json())
    private = read(text.replace("https://", "https://user:secret@"))
    assert private is not None
    assert private.to_json() == found.to_json()
    assert "secret" not in repr(private)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("https://u:secret@x.example/tool", RefusedError, "names neither a wheel nor a source archive"),
        ("https://x.example/tool-1.0.exe", RefusedError, "names neither a wheel nor a source archive"),
        (f"{WHEEL}#md5=0", RefusedError, "expected #sha256= and 64 hexadecimal digits"),
        (f"{WHEEL}#sha256=abc", RefusedError, "expected #sha256= and 64 hexadecimal digits"),
        ("https://x.example/v1.zip#subdirectory=a", RefusedError, "a part of an archive is not built"),
        (f"other @ {WHEEL}", LoadError, "is a wheel of tool"),
        ("https://x.example/tool.whl", LoadError, "tool.whl"),
        ("./nowhere-1.0-py3-none-any.whl", LoadError, "cannot be read"),
    ],
)
def test_addresses_that_are_refused(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        read(text)
    assert "secret" not in str(caught.value)


def test_files_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "tool-1.0-py3-none-any.whl").write_bytes(b"one")
    found = read("./tool-1.0-py3-none-any.whl", tmp_path)
    assert found is not None
    assert (found.name, found.path, found.file) == ("tool", "tool-1.0-py3-none-any.whl", "tool-1.0-py3-none-any.whl")
    assert found.tree == "sha256:" + hashlib.sha256(b"one").hexdigest()
    with pytest.raises(LoadError, match=r"expected SHA-256 0{64}, found"):
        read(f"tool @ file://{tmp_path}/tool-1.0-py3-none-any.whl#sha256={'0' * 64}", tmp_path)


def test_what_belongs_to_a_folder(tmp_path: Path) -> None:
    wanted = {"pyproject.toml": "[project]", "src/a.py": "", "data/x.bin": "1", "data/builder.txt": "2", ".hidden": "3"}
    others = {".git/config": "", "build/x": "", "src/__pycache__/a.pyc": "", "env/pyvenv.cfg": "", "env/lib/x": ""}
    for path, text in (wanted | others | {"src/a.egg-info/PKG-INFO": ""}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert [path for path, _ in tree_files(tmp_path)] == sorted(wanted)

    def digest() -> str | None:
        found = read(".//", tmp_path)
        assert found is not None
        return found.tree

    first = digest()
    (tmp_path / "build/y").write_text("made")
    assert digest() == first
    (tmp_path / "src/a.py").chmod(0o755)
    second = digest()
    assert second != first
    (tmp_path / "src/a.py").rename(tmp_path / "src/b.py")
    assert digest() not in (first, second)


def test_an_address_is_in_no_lock_and_the_recipe_is_read_back() -> None:
    tree = SourceTree("tool", ("x",), None, GIT, "v1", "pkgs")
    recipe = recipe_of(PipInstall(("a",), sources=(tree,)))
    lock = lock_of(recipe)
    assert "git.example" not in lock.text()
    assert "git.example" not in repr(tree)
    back = recorded_recipe(lock)
    assert back.fingerprint == recipe.fingerprint
    assert back.pip_steps[0].sources[0].rev == "v1"
    other = dataclasses.replace(tree, git="https://elsewhere.example/tool.git")
    assert recipe_of(PipInstall(("a",), sources=(other,))).fingerprint != recipe.fingerprint


def test_in_a_requirements_file(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool/setup.cfg").write_text("")
    file = tmp_path / "r.txt"
    file.write_text(f"a==1\n./tool  # ours\ntool2 @ git+{GIT}@v1\n")
    found = parse_requirements_file(file, lambda path: os.path.relpath(path, tmp_path))
    assert found.requirements == ["a==1"]
    assert [(t.name, t.path or t.rev) for t in found.sources] == [(None, "tool"), ("tool2", "v1")]
    (tmp_path / "c.txt").write_text(f"tool2 @ git+{GIT}@v1\n")
    file.write_text("a\n-c c.txt\n")
    with pytest.raises(RefusedError, match=r"c\.txt` installs from a location"):
        parse_requirements_file(file, str)
    with pytest.raises(RefusedError, match="installs from a location"):
        parse_requirements(["x @ hg+https://x.example/x"], "here", tmp_path, str)


def test_hashes_and_variables_of_a_requirements_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.txt"
    monkeypatch.setenv("OUR_TOKEN", "secret")
    monkeypatch.delenv("UNSET_TOKEN", raising=False)
    file.write_text(
        f"tool @ {WHEEL} \\\n  --hash=sha256:{'a' * 64}\nother @ git+https://${{OUR_TOKEN}}@git.example/x\n"
        "third @ git+https://${UNSET_TOKEN}@git.example/x\n"
    )
    first, second, third = parse_requirements_file(file, str).sources
    assert first.sha256 == "a" * 64
    assert second.git == "https://secret@git.example/x"
    assert third.git == "https://${UNSET_TOKEN}@git.example/x"
    assert second.to_json()["git"] == third.to_json()["git"]
    for text in (f"tool @ git+{GIT}", f"{WHEEL}#sha256={'b' * 64}"):
        file.write_text(f"{text} --hash=sha256:{'a' * 64}\n")
        with pytest.raises(RefusedError, match="expected one --hash, of a file by its address"):
            parse_requirements_file(file, str)
