"""docs/parity.md: every row names a test, and every test that is named is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from .house import PACKAGE

ROOT = PACKAGE.parent
PAGE = ROOT / "docs" / "parity.md"
_NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[A-Za-z0-9_]+)`")
HEAD = ["", "here", "on Kubernetes", "on a Flyte backend", "test"]


def rows(text: str) -> list[list[str]]:
    """The cells of every table's rows, without heads and rules."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row != HEAD and set("".join(row)) != {"-"}]


@cache
def _names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def wrong(text: str) -> list[str]:
    """What is wrong with the page's rows, one line each."""
    found = []
    for row in rows(text):
        title = row[0] if row else ""
        if len(row) != len(HEAD) or not all(row):
            found.append(f"{title}: expected {len(HEAD)} cells with something in each")
            continue
        named = _NAMED.findall(row[-1])
        if not named or _NAMED.sub("", row[-1]).replace("<br>", "").strip():
            found.append(f"{title}: expected the names of tests, found {row[-1]}")
        for file, test in named:
            if not (ROOT / file).is_file() or test not in _names_in(ROOT / file):
                found.append(f"{title}: there is no {file}::{test}")
    return found


def test_every_row_names_tests_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert wrong(text) == []
    assert len(rows(text)) >= 90


def test_a_row_without_one_is_refused() -> None:
    head = f"| {' | '.join(HEAD)} |\n|---|---|---|---|---|\n"
    good = "| a | b | c | d | `tests/laws/test_parity.py::test_a_row_without_one_is_refused` |\n"
    assert wrong(head + good) == []
    assert len(wrong(head + "| a | b | c | d | none |\n")) == 1
    assert len(wrong(head + "| a | b |  | d | `tests/laws/test_parity.py::test_x` |\n")) == 1
    assert wrong(head + "| a | b | c | d | `tests/laws/test_parity.py::test_nothing` |\n") == [
        "a: there is no tests/laws/test_parity.py::test_nothing"
    ]
    assert len(wrong(head + good.replace("refused` |", "refused` and more |"))) == 1
