"""What people are told to type exists: each command line of the pages, of help texts and of messages, with its options.
And what a page shows of an output has been seen by a test.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.site.blocks import Command, steps
from tests.site.typed import blocks, commands, messages, problem, spans

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
FOLLOWED = {
    "adopt": "tests/first_use/test_adopt.py",
    "ci": "tests/test_ci_recipe.py",
    **dict.fromkeys(
        ("air-gap", "company-ca", "debugging", "exports", "gpu", "pins", "private-index", "questions", "start"),
        "tests/site/test_followed.py",
    ),
}
"""Pages whose commands are run, all of them, and by which test."""
SHOWN = {
    ("README", "flyte-build lock"): "tests/cli/test_screen.py::test_commands",
    ("README", "flyte-build plan main.py --check"): "tests/planning/checks/test_constraints.py::test_constraint_2",
    ("remote", "flyte-build deploy"): "tests/cli/test_deploy.py::test_tasks_are_kept_by_the_version_of_their_contents",
    ("kubernetes", "flyte-build run --on"): "tests/cli/test_live.py::test_a_log_has_a_line_a_change",
}
"""Outputs of other pages: the page, how the command begins, and the test that holds an output of that form."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_commands_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    typed = [line for kind, body in blocks(text) for line in commands(kind, body)]
    found = {line: problem(line, whole=True) for line in typed} | {line: problem(line) for line in spans(text)}
    assert {line: wrong for line, wrong in found.items() if wrong} == {}
    lost = [name for line in typed for name in re.findall(r"\bexamples/[\w./-]+", line) if not (ROOT / name).exists()]
    assert lost == [], "files of the checkout"


def test_messages_and_help_name_commands_that_exist() -> None:
    wrong = {
        f"{file.relative_to(ROOT)}:{line}: {said}": found
        for file in sorted((ROOT / "flyte_build").rglob("*.py"))
        for line, said in messages(file)
        if (found := problem(said))
    }
    assert wrong == {}


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in FOLLOWED], ids=lambda page: page.stem)
def test_an_output_that_is_shown_was_seen_by_a_test(page: Path) -> None:
    """A page with a new console block: into FOLLOWED, with its test; or, of one output, into SHOWN."""
    shown = [step.typed for step in steps(page.read_text(encoding="utf-8")) if isinstance(step, Command) and step.shown]
    known = [begin for name, begin in SHOWN if name == page.stem]
    assert [typed for typed in shown if not typed.startswith(tuple(known))] == []
    assert [begin for begin in known if not any(typed.startswith(begin) for typed in shown)] == []


def test_the_tests_that_follow_and_see_are_there() -> None:
    for page, file in FOLLOWED.items():
        assert (ROOT / "docs" / f"{page}.md").is_file()
        assert (ROOT / file).is_file()
    for test in SHOWN.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize(
    ("line", "whole", "wrong"),
    [
        ("cd x && flyte-build plan --frobnicate main.py", True, "No such option '--frobnicate'"),
        ("flyte-build run --on", False, ""),
        ("flyte-build run --on", True, "requires an argument"),
        ("flyte-build frob", False, "no command `frob`"),
        ("flyte-build export FORM FILE", False, ""),
        ("flyte-build ui a b", False, "takes no `b`"),
        ("flyte-build why | cat", True, "PACKAGE: expected"),
        ("flyte-build why", False, ""),
        ("flyte-build export requirements x.json --format toml", True, "is none of requirements, pylock"),
        ("X=1 flyte-build plan -v main.py  # why", True, ""),
    ],
)
def test_what_is_wrong_is_found(line: str, whole: bool, wrong: str) -> None:
    found = problem(line, whole=whole)
    assert wrong in found
    assert bool(found) is bool(wrong)
