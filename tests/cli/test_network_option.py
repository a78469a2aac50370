"""What `run` makes of `--network`, `--no-network`, the variable and the settings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.settings.table import TABLE

from ..support.offline import Offline
from .test_completion import complete


@pytest.fixture
def asked(offline: Offline) -> list[Any]:
    """What every `run` that gets so far is asked for; it ends there."""
    found: list[Any] = []

    def prepared(*arguments: Any, **_options: Any) -> Any:
        found.append(arguments[5].network)
        raise InputError("far enough")

    offline.patch.setattr("flyte_build.cli.commands.run.prepared", prepared)
    return found


@pytest.mark.parametrize(
    ("options", "means"),
    [
        ([], None),
        (["--no-network"], "none"),
        (["--network", "none"], "none"),
        (["--no-network", "--network", "none"], "none"),
        (["--network", "host"], "host"),
        (["--network", "internet"], "internet"),
    ],
)
def test_the_options_mean_a_mode(offline: Offline, asked: list[Any], options: list[str], means: str | None) -> None:
    assert "far enough" in offline.refused(2, "run", *options, "flow.py", "main")
    assert asked == [means]


def test_what_contradicts_itself_or_is_no_mode_is_refused(offline: Offline, asked: list[Any]) -> None:
    said = offline("run", "--no-network", "--network", "host", "flow.py", "main")
    assert said.code == 2
    assert "`--no-network` and `--network host` say different things" in said.err
    said = offline("run", "--network", "some", "flow.py", "main")
    assert said.code == 2
    assert "'some' is not one of 'internet', 'host', 'none'" in said.err
    assert asked == []


def test_the_modes_are_the_settings_own_and_are_completed() -> None:
    assert tuple(complete("run", "--network", "")) == TABLE["network"].choices
    assert complete("run", "--network", "ho") == ["host"]


def test_a_variable_and_a_table_with_no_mode_are_named(offline: Offline) -> None:
    offline.locked()
    offline.patch.setenv("FLYTE_BUILD_NETWORK", "some")
    said = offline.refused(2, "run", "flow.py", "main", "--x", "1")
    assert "error: $FLYTE_BUILD_NETWORK: network: expected internet or host or none, found 'some'\n" in said


def test_a_run_is_repeated_with_its_network_unless_another_is_said(offline: Offline, asked: list[Any]) -> None:
    folder = offline.home / "state" / "runs" / "r1"
    folder.mkdir(parents=True)
    said = {"file": "flow.py", "root": ".", "lockfiles": "lockfiles", "task": "main", "arguments": ["--x", "1"]}
    facts = {"schema": 1, "name": "r1", "task": "top.main", "environment": "top", "started": 0.0, "images": {}}
    for network in ({}, {"network": "none"}):
        (folder / "run.json").write_text(json.dumps(facts | {"invocation": said | network}))
        offline.refused(2, "run", "--resume", "r1")
        offline.refused(2, "run", "--resume", "r1", "--network", "host")
    assert asked == [None, "host", "none", "host"]
