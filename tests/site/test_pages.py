"""The pages before a site is made of them: each is in the menu, and each link leads to a file of the checkout."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from flyte_build.cli.app import cli
from flyte_build.cli.manual import leaves
from tests.site.commands import command_pages, exit_codes
from tests.site.compose import ROOT, pages, targets

DOCS = sorted(p.name for p in (ROOT / "docs").glob("*.md"))
READ = [f"docs/{name}" for name in DOCS] + ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]


def test_every_page_is_in_the_menu_once() -> None:
    """A page of docs/ that is new: into docs/menu.json, where a reader looks for it."""
    named = [name for names in pages().values() for name in names]
    assert sorted(n for n in named if (ROOT / "docs" / n).is_file()) == DOCS
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("page", READ)
def test_links_lead_to_files_of_the_checkout(page: str) -> None:
    assert [target for target in targets(page) if not (ROOT / target).exists()] == []


def test_commands_that_speak_json_say_what() -> None:
    context = click.Context(cli, info_name="flyte-build", **cli.context_settings)
    text = (ROOT / "docs" / "json.md").read_text()
    table = " ".join(re.findall(r"^\| (.*?) \|", text, re.MULTILINE))
    named = set(re.findall(r"`([a-z ]+?)(?: --[^`]*)?`", table))
    speaking = {path for path, command in leaves(cli, context) if any("--json" in p.opts for p in command.params)}
    assert speaking - named == set()


def test_a_command_has_a_page_with_its_options() -> None:
    made = dict(command_pages(cli, "flyte-build"))
    assert "| `--keep-days FLOAT RANGE` | Keep images used within this many days" in made["store gc"]
    assert made["plan"].startswith("# plan\n\n```text\nflyte-build plan [OPTIONS] [FILE] [TASK]\n```")
    assert "flyte-build plan main.py --explain" in made["plan"]
    assert set(made) >= {"init", "run", "target check", "export pex"}


def test_exit_codes_are_a_table() -> None:
    table = exit_codes(cli, {4: ("LockError", "A lock is missing.")})
    assert (
        "| 4 | a lock is missing, stale, hand-edited or from a future schema | `LockError`: A lock is missing. |"
        in table
    )
    assert "| 130 | interrupted |  |" in table


def test_figures_of_the_comparison_are_those_of_the_readme() -> None:
    text = (ROOT / "docs" / "comparisons.md").read_text()
    measured = (ROOT / "README.md").read_text().partition("## How fast")[2]
    for said, row in {
        "4.9 to 24 times": ("4.9×", "24×"),
        "24 to 173 times": ("24×", "173×"),
        "costs `flyte build` 14 times": ("14×",),
        "0.56 times": ("0.56×",),
        "1.0 times": ("1.0×",),
    }.items():
        assert said in text
        assert [figure for figure in row if figure not in measured] == []


def test_nothing_of_a_page_is_loaded_from_elsewhere() -> None:
    for path in Path(ROOT / "docs").glob("*.md"):
        assert re.findall(r"!\[[^\]]*\]\((?:https?:)?//", path.read_text()) == [], path.name
