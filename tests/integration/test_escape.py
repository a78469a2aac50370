"""Tasks that try to leave their sandbox: the host, the image and other runs stay as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli

from .conftest import LOCKFILES, Layout

pytestmark = pytest.mark.integration

WORKFLOW = Path(__file__).with_name("workflows") / "escape.py"


def run(cli: Cli, task: str, *arguments: str | Path, network: bool = True) -> tuple[int, dict[str, Any]]:
    options = ["--lockfiles", LOCKFILES, "--json", *([] if network else ["--no-network"])]
    done = cli("run", *options, WORKFLOW, task, *arguments)
    return done.code, json.loads(done.out)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/victim").write_text("of the host")
    return tmp_path / "host"


def untouched(host: Path) -> None:
    assert sorted(p.name for p in host.rglob("*")) == ["victim"]
    assert (host / "victim").read_text() == "of the host"


@pytest.mark.parametrize("network", [True, False])
def test_an_images_file_that_is_handed_on_is_a_copy(cli: Cli, layout: Layout, network: bool) -> None:
    code, document = run(cli, "poison", network=network)
    assert code == 0
    assert document["outputs"]["o0"] == "Read-only file system"
    assert run(cli, "innocent", network=network)[1]["outputs"]["o0"] == "clean"


@pytest.mark.parametrize("task", ["settled_name", "hostile_dir"])
@pytest.mark.parametrize("network", [True, False])
def test_a_link_beside_the_outputs_leads_nowhere(
    cli: Cli, layout: Layout, host: Path, task: str, network: bool
) -> None:
    code, document = run(cli, task, "--victim", host / "victim", network=network)
    untouched(host)
    assert code == 0
    kept = Path(document["outputs"]["o0"])
    assert kept.is_relative_to(Path(document["folder"]) / "kept")
    if task == "settled_name":
        assert kept.read_text() == "written by a task"
    else:
        assert sorted(p.name for p in kept.rglob("*") if p.is_file()) == ["plain"]


def test_a_folder_that_is_a_link_is_not_written_to(cli: Cli, layout: Layout, host: Path) -> None:
    code, document = run(cli, "linked_folder", "--victim-dir", host)
    untouched(host)
    assert code == 0
    kept = Path(document["outputs"]["o0"])
    assert kept.read_text() == "written by a task"
    assert kept.stat().st_mode & 0o7777 == 0o644, "no mode of a task's gets out"


def test_folders_of_other_actions_that_are_links(cli: Cli, layout: Layout, host: Path) -> None:
    run(cli, "linked_child", "--victim-dir", host)
    untouched(host)


def test_a_pipe_in_the_place_of_a_document_is_the_tasks_failure(cli: Cli, layout: Layout) -> None:
    code, document = run(cli, "pipe")
    assert code == 12
    assert (document["error"]["code"], document["error"]["kind"]) == ("BadErrorFile", "user")
    assert "expected a regular file, found a named pipe" in document["error"]["message"]


def test_a_task_sees_its_own_run(cli: Cli, layout: Layout) -> None:
    code, document = run(cli, "look_around")
    assert code == 0
    name = document["run"]
    assert document["outputs"]["o0"]
    assert all(
        path.startswith((f"{name}/meta/", f"{name}/kept/", f"{name}/raw/")) for path in document["outputs"]["o0"]
    )
