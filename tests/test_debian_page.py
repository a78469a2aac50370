"""The table of ``docs/debian.md``, and the comparison of trees that is held against it in ``test_debian_peer.py``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.peer_groups import GROUPS
from tests.support.trees import Difference, Row, differences, owned, rows, unexplained

PAGE = Path(__file__).parents[1] / "docs" / "debian.md"
TABLE = """\
# Page

| in the image | which | why |
|---|---|---|
| more | `/of/another/table` | no |

## What differs

| in the image | which | why |
|---|---|---|
| missing | `/usr/share/man/*`, `apt`, `libapt` | nobody reads them |
| other | `/etc/ld.so.cache` | another order |

## Next

| other | `/of/another` | no |
"""
Tree = Mapping[str, str | None]


def tree(root: Path, entries: Tree) -> Path:
    """Files with a text, folders (``None``) and links (``-> target``) below ``root``."""
    root.mkdir()
    for path, text in entries.items():
        at = root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            at.mkdir()
        elif text.startswith("-> "):
            at.symlink_to(text[3:])
        else:
            at.write_text(text)
    return root


def test_every_row_of_the_page_is_read() -> None:
    table = rows(PAGE.read_text(), "What differs")
    written = [line for line in PAGE.read_text().splitlines() if line.startswith(("| missing", "| more", "| other"))]
    assert len(table) == len(written) > 10
    assert {row.kind for row in table} == {"missing", "more", "other"}
    assert "apt" in table[0].names
    everywhere = Difference("/usr/bin/dot", "other", "other bytes"), Difference("/usr/bin/dot", "missing", "")
    assert unexplained(everywhere, table, {"/usr/bin/dot": frozenset({"graphviz"})}) == (list(everywhere), set())


def test_only_the_table_below_the_heading_counts() -> None:
    assert rows(TABLE, "What differs") == [
        Row("missing", ("/usr/share/man/*",), "nobody reads them", frozenset({"apt", "libapt"})),
        Row("other", ("/etc/ld.so.cache",), "another order"),
    ]
    assert rows(TABLE, "Not there") == []


@pytest.mark.parametrize(
    "row", ["| gone | `/x` | why |", "| more | /x | why |", "| more | `/x` |  |", "| more | `/x` |"]
)
def test_a_row_that_explains_nothing_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="no row of three cells"):
        rows(f"\n## What differs\n\n{row}\n", "What differs")


def test_what_differs_is_said_by_path(tmp_path: Path) -> None:
    same: Tree = {"etc/same": "1", "etc/empty": None, "bin": "-> usr/bin"}
    ours = tree(tmp_path / "ours", {**same, "a": "1", "b": "22", "link": "-> x", "kind": "", "mine/x": "", "mode": ""})
    theirs = tree(
        tmp_path / "theirs", {**same, "a": "2", "b": "1", "link": "-> y", "kind": None, "its": "", "mode": ""}
    )
    for root, mode in ((ours, 0o755), (theirs, 0o4755)):
        (root / "mode").chmod(mode)
        os.utime(root / "etc/same", (mode, mode))
    assert [(one.kind, one.path, one.what) for one in differences(ours, theirs)] == [
        ("other", "/a", "other bytes"),
        ("other", "/b", "other bytes"),
        ("missing", "/its", "-rw-r--r--"),
        ("other", "/kind", "-rw-r--r--, not drwxr-xr-x"),
        ("other", "/link", "leads to x, not y"),
        ("more", "/mine", "drwxr-xr-x"),
        ("more", "/mine/x", "-rw-r--r--"),
        ("other", "/mode", "-rwxr-xr-x, not -rwsr-xr-x"),
    ]


def test_a_package_stands_for_its_files_and_no_other_packages(tmp_path: Path) -> None:
    lists = {"apt.list": "/.\n/bin/apt\n/usr/lib/both\n", "libapt:amd64.list": "/lib/libapt.so\n/usr/lib/both\n",
             "other.list": "/usr/lib/both\n", "apt.postinst": ""}  # fmt: skip
    peer = tree(tmp_path / "peer", {f"var/lib/dpkg/info/{name}": text for name, text in lists.items()})
    owners = owned(tmp_path / "none", peer)
    assert owners["/usr/bin/apt"] == {"apt"}
    table, info = rows(TABLE, "What differs"), "/var/lib/dpkg/info"
    missing = ["/usr/bin/apt", "/usr/lib/libapt.so", f"{info}/apt.postinst", f"{info}/libapt:amd64.list"]
    found = [Difference(path, "missing", "") for path in [*missing, "/usr/share/man/man1/x.1.gz"]]
    assert unexplained(found, table, owners) == ([], {table[0]})
    unlike = [Difference("/usr/lib/both", "missing", ""), Difference("/usr/bin/apt", "other", "other bytes"),
              Difference("/etc/ld.so.cache", "missing", ""), Difference("/nobodys", "missing", "")]  # fmt: skip
    assert unexplained(unlike, table, owners) == (unlike, set())


def test_every_question_has_its_answer() -> None:
    asked = [question for group in GROUPS.values() for question in group.questions]
    assert all(part.strip() for _, part in asked)
    assert all(len({command for command, _ in group.questions}) == len(group.questions) for group in GROUPS.values())
