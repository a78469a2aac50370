"""Shell completion through click's own interface: files are read, never imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from flyte_build.cli.app import cli
from flyte_build.cli.completion import OUTPUT_FORMS
from flyte_build.delivery.destination import FORMS

from ..support.offline import Offline, workflow


def complete(*typed: str) -> list[str]:
    """What is offered for the last word."""
    *words, incomplete = typed
    return [i.value for i in ShellComplete(cli, {}, "flyte-build", "_X").get_completions(words, incomplete)]


def kinds(*typed: str) -> list[str]:
    *words, incomplete = typed
    return [i.type for i in ShellComplete(cli, {}, "flyte-build", "_X").get_completions(words, incomplete)]


def test_commands_and_options() -> None:
    assert {"lock", "plan", "build", "run", "runs", "logs", "store", "completion"} <= set(complete(""))
    assert complete("ru") == ["run", "runs"]
    assert complete("store", "") == ["gc", "path", "verify"]
    assert "--upgrade" in complete("lock", "--up")
    assert complete("completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("command", ["lock", "plan", "build", "run"])
def test_files_are_the_shells_to_complete(command: str) -> None:
    assert kinds(command, "fl") == ["file"]


def test_tasks_of_a_file_and_of_what_it_imports(offline: Offline) -> None:
    offline.write(workflow("other: alpha"), "part/other.py")
    offline.write("raise SystemExit('never imported')\nimport part.other\nfrom absent import nothing\n", "bad.py")
    offline.write("def broken(:\n", "broken.py")
    for command in ("plan", "build", "run"):
        assert complete(command, "flow.py", "") == ["do_low", "main"]
        assert complete(command, "flow.py", "m") == ["main"]
        assert complete(command, "bad.py", "") == ["main"]
        assert complete(command, "broken.py", "") == []
        assert complete(command, "absent.py", "") == []
    assert "flow" not in sys.modules


def test_environments_and_platforms(offline: Offline) -> None:
    assert complete("plan", "flow.py", "--env", "") == ["low", "top"]
    assert complete("build", "flow.py", "-e", "t") == ["top"]
    assert complete("plan", "flow.py", "--platform", "linux/a") == ["linux/amd64", "linux/arm64"]


def test_outputs(offline: Offline) -> None:
    (offline.project / "images").mkdir()
    (offline.project / "images" / "old.tar").touch()
    assert complete("build", "flow.py", "--output", "") == ["oci:", "oci-archive:", "docker-archive:"]
    assert complete("build", "flow.py", "--output", "oci-") == ["oci-archive:"]
    assert complete("build", "flow.py", "--output", "oci:im") == ["oci:images"]
    assert complete("build", "flow.py", "--output", "oci:images/") == [], "it is written to a folder"
    assert complete("build", "flow.py", "--output", "docker-archive:fl") == ["docker-archive:flow.py"]
    assert complete("build", "flow.py", "--output", "oci-archive:images/o") == ["oci-archive:images/old.tar"]
    assert complete("build", "flow.py", "--output", "oci:absent/x") == []
    assert complete("build", "flow.py", "--output", "tar:im") == []


def test_every_form_of_output_is_offered() -> None:
    assert list(OUTPUT_FORMS) == [text.partition(":")[0].strip() for text in FORMS.split("|")]


def test_a_tasks_own_options(offline: Offline) -> None:
    assert complete("run", "flow.py", "main", "") == ["--x", "--words", "--help"]
    assert complete("run", "flow.py", "main", "--w") == ["--words"]
    assert complete("run", "flow.py", "main", "--x", "1", "--") == ["--x", "--words", "--help"]
    assert "--locked" in complete("run", "--lo"), "before TASK, run's own"


def test_runs_and_their_actions(offline: Offline) -> None:
    for name in ("r20260101-1", "r20260102-1"):
        folder = offline.home / "state" / "runs" / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"schema": 1, "name": name, "task": "top.main"}))
        records = [{"name": "a0", "task": "top.main"}, {"name": "4zk", "task": "low.do_low", "parent": "a0"}]
        lines = [json.dumps({"action": {"phase": "succeeded", **r}}) + "\n" for r in records]
        (folder / "journal.jsonl").write_text("".join(lines))
    (offline.home / "state" / "runs" / "no-run").mkdir()
    assert complete("logs", "") == ["r20260102-1", "r20260101-1"]
    assert complete("run", "--resume", "r20260101") == ["r20260101-1"]
    assert complete("logs", "r20260102-1", "") == ["top.main", "low.do_low", "a0", "4zk"]
    assert complete("logs", "absent", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(offline: Offline, shell: str) -> None:
    out = offline.ok("completion", shell).out
    assert f"_FLYTE_BUILD_COMPLETE={shell}_complete" in out
    assert "flyte-build" in out


def test_the_process_that_answers_a_shell_is_quick_and_says_nothing_else(offline: Offline) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from flyte_build.cli import entry; entry()"],
        env={
            **offline.variables,
            "PATH": "/usr/bin:/bin",
            "_FLYTE_BUILD_COMPLETE": "bash_complete",
            "COMP_WORDS": "flyte-build plan flow.py ",
            "COMP_CWORD": "3",
        },
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["plain,do_low", "plain,main"]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert sorted(loaded & {"flyte", "rich", "httpx", "pydantic"}) == [], "a shell waits for the answer"
