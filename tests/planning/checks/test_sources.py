"""Which module is the project's own, and which file it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.project.source_files import Sources

FILES = [
    "main.py",
    "pack/__init__.py",
    "pack/inner.py",
    "pack/native.cpython-311-x86_64-linux-gnu.so",
    "space/part.py",
    "space/deep/leaf.py",
    "data/table.csv",
    "src/app/__init__.py",
    "both.py",
    "both/__init__.py",
    ".venv/lib/python3.11/site-packages/installed/__init__.py",
]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    site = tmp_path / ".venv/lib/python3.11/site-packages"
    return Sources(tmp_path, [tmp_path / "src", site, Path("/usr/lib"), Path()])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("main", "main.py"),
        ("pack", "pack/__init__.py"),
        ("pack.inner", "pack/inner.py"),
        ("pack.native", "pack/native.cpython-311-x86_64-linux-gnu.so"),
        ("pack.gone", None),
        ("main.inner", None),
        ("space.part", "space/part.py"),
        ("space.deep.leaf", "space/deep/leaf.py"),
        ("data", None),
        ("app", "src/app/__init__.py"),
        ("both", "both/__init__.py"),
        ("installed", None),
        ("numpy", None),
        ("", None),
        ("..", None),
    ],
)
def test_a_name_is_a_file_of_the_project_or_not(sources: Sources, name: str, file: str | None) -> None:
    found = sources.find(name)
    assert (sources.show(found.file) if found is not None and found.file is not None else None) == file


def test_a_folder_of_modules_without_init_is_a_namespace(sources: Sources) -> None:
    found = sources.find("space")
    assert found is not None
    assert found.file is None
    assert found.package == "space"


def test_a_file_knows_its_module(sources: Sources) -> None:
    root = sources.root
    names = {f: (m.name if (m := sources.of(root / f)) else None) for f in FILES if f.endswith(".py")}
    assert names["pack/__init__.py"] == "pack"
    assert names["pack/inner.py"] == "pack.inner"
    assert names["src/app/__init__.py"] == "app"
    assert names["both.py"] is None, "a package of the same name hides it"
    assert names[".venv/lib/python3.11/site-packages/installed/__init__.py"] is None
    assert not sources.owns(root / ".venv/lib/python3.11/site-packages/installed/__init__.py")


def test_a_file_that_is_no_python_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("x = (\n")
    (tmp_path / "odd.py").write_bytes(b"# coding: nothing\nx = 1\n")
    sources = Sources(tmp_path)
    for _ in range(2):
        assert sources.tree(tmp_path / "bad.py") is None
        assert sources.tree(tmp_path / "odd.py") is None
    assert sources.parses == 2
    assert sources.unreadable[tmp_path / "bad.py"].line == 1
    assert "nothing" in sources.unreadable[tmp_path / "odd.py"].reason
