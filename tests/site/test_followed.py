"""The pages that lead by the hand, followed: every command of their console blocks, and what they say comes of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site.blocks import Command, follow, steps
from tests.site.compose import ROOT
from tests.support.index import SimpleIndex
from tests.support.wheels import build_wheel

pytestmark = pytest.mark.integration

AFTER = ("air-gap", "company-ca", "debugging", "gpu", "pins", "questions")
"""Pages that go on in the project of docs/start.md."""


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def followed(text: str, folder: Path, home: Path, *, before: str = "") -> None:
    """``before``: folders of programs that win over those of the machine, with a ``:`` behind each."""
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith("FLYTE_BUILD_")},
        "PATH": f"{before}{Path(sys.executable).parent}:{os.environ['PATH']}",
        "FLYTE_BUILD_CACHE": str(home / "cache"),
        "FLYTE_BUILD_STATE": str(home / "state"),
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    for command, output in follow(text, folder, variables):
        assert command.missing(output) == [], f"$ {command.typed}\n{output}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A store and runs, and the project of docs/start.md as that page leaves it."""
    folder = tmp_path_factory.mktemp("followed")
    (folder / "project").mkdir()
    followed(page("start"), folder / "project", folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(home / "project", folder)
    shutil.copytree(ROOT / "examples" / "gpu", folder / "examples" / "gpu")
    return folder


@pytest.mark.parametrize("name", AFTER)
def test_a_page_is_true(home: Path, project: Path, name: str) -> None:
    followed(page(name), project, home)


def test_the_page_of_private_indexes_is_true(home: Path, project: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    build_wheel(wheels, "company-tools")
    with SimpleIndex(wheels) as index:
        index.login = "ci:secret"
        text = page("private-index").replace("https://packages.company.example/simple", index.url.rstrip("/"))
        followed(text.replace("packages.company.example", index.url.split("/")[2]), project, home)
        assert any("company-tools" in asked for asked in index.asked)


def test_the_page_of_exports_is_true(home: Path, project: Path, tmp_path: Path) -> None:
    """Installers are stood in for: that they take what is written, tests/exporting see to."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("pip", "uv"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{programs}/asked"\n')
        (programs / name).chmod(0o755)
    followed(page("exports"), project, home, before=f"{programs}:")
    asked = (programs / "asked").read_text().splitlines()
    assert [line.split()[:3] for line in asked] == [
        ["pip", "install", "--require-hashes"], ["pip", "install", "--require-hashes"], ["uv", "pip", "sync"],
    ]  # fmt: skip
    assert (project / "requirements.txt").read_text().count("--hash=sha256:") == len(
        list((project / "wheels").iterdir())
    )


def test_every_page_that_leads_by_the_hand_is_followed() -> None:
    """start and how-to pages with commands; adopt is followed by tests/first_use, ci by tests/test_ci_recipe.py."""
    for name in ("start", "private-index", "exports", *AFTER):
        assert [s for s in steps(page(name)) if isinstance(s, Command)], name
