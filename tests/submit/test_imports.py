"""What importing leads to, told from texts."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from flyte_build.submit.imports import imported_by_bundle, modules_below, names_in, reached


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a", ["a"]),
        ("import a.b as c, d  # e\n", ["a.b", "d"]),
        ("from a import b, c as d\n", ["a", "a.b", "a.c"]),
        ("from a import *\n", ["a"]),
        ("from a import (\n    b,  # one\n    # two\n    c as d,\n)\nimport e", ["a", "a.b", "a.c", "e"]),
        ("from a import b, \\\n    c\n", ["a", "a.b", "a.c"]),
        ("from a import(b)", ["a", "a.b"]),
        ("from . import b\n", ["p.q", "p.q.b"]),
        ("from ..r import b\n", ["p.r", "p.r.b"]),
        ("from .... import b\n", []),
        ("x = 1; import a\n", []),  # not at a line's beginning
        ("importer = 1\nfromage = 2\n", []),
        ("try:\n    import a\nexcept ImportError:\n    import b\n", ["a", "b"]),
        ("if sys.version_info > (3, 8):\n    x = 1\n\n    import a\n", ["a"]),
        ("if TYPE_CHECKING:\n    import a\n    import b\nelse:\n    import c\n", ["c"]),
        ("if typing.TYPE_CHECKING:\n    import a\n", []),
        ("def f():\n    import a\n\nclass C:\n    import b\n", []),
        ("with suppress(ImportError):\n    import a\n    import b\ndef f():\n    import c\n", ["a", "b"]),
        ("import z\nfrom a import (b,\n", ["z"]),  # never closed: no Python takes it
        ("from a import b\r\nimport c\r\n", ["a", "a.b", "c"]),
    ],
)
def test_names_in_a_source(source: str, expected: list[str]) -> None:
    assert list(names_in(source.encode(), "p.q")) == expected


def test_a_tasks_functions_are_looked_into() -> None:
    source = b"def task():\n    import pandas\n    from sklearn import svm\n"
    assert list(names_in(source, "", deep=True)) == ["pandas", "sklearn", "sklearn.svm"]


@pytest.mark.parametrize(
    "hostile",
    [b"from x import (\n" * 200_000, b"if x:\n" + b"    import y\n" * 200_000, b"import a\\\n" * 200_000],
    ids=["never closed", "one long block", "one long line"],
)
def test_a_hostile_source_takes_no_longer_than_its_bytes(hostile: bytes) -> None:
    """Were each statement to look at all of the source, this would take hours."""
    assert set(names_in(hostile, "p")) <= {"a", "y"}


def test_what_imports_lead_to_is_followed() -> None:
    sources = {
        "/s/a/__init__.py": "from . import b",
        "/s/a/b.py": "import c, nowhere\nfrom a.d import thing",
        "/s/a/d.py": "import a",
        "/s/c.py": "",
        "/s/e.py": "",
    }
    modules = {"a": "/s/a/__init__.py", "a.b": "/s/a/b.py", "a.d": "/s/a/d.py", "c": "/s/c.py", "e": "/s/e.py"}
    found = reached(["a.b", "gone"], modules, lambda path, package: list(names_in(sources[path].encode(), package)))
    assert found == {"/s/a/__init__.py", "/s/a/b.py", "/s/a/d.py", "/s/c.py"}


def test_modules_below_an_entry_of_the_search_path(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("site/a/__init__.py", "site/a/b.py", "site/c.py", "site/__pycache__/c.cpython-311.pyc", "site/d.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "site/away").symlink_to(tmp_path)
    (tmp_path / "outside.py").write_text("")
    (root / "link").symlink_to("/site")
    found = {("a", "/site/a/__init__.py", False), ("a.b", "/site/a/b.py", False), ("c", "/site/c.py", True)}
    assert set(modules_below(root, "/link", "cpython-311")) == found
    assert list(modules_below(root, "/nowhere", "cpython-311")) == []
    assert list(modules_below(root, "/", "cpython-311")) == []


def test_what_a_bundle_imports(tmp_path: Path) -> None:
    bundle = tmp_path / "code.tgz"
    with tarfile.open(bundle, "w:gz") as tar:
        for name, text in (("main.py", "import flyte\ndef f():\n    import numpy\n"), ("notes.txt", "import never\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    assert imported_by_bundle(bundle) == {"flyte", "numpy"}
