"""``--full``: whole digests and every column on a terminal that has no room for them, and for that command alone."""

from __future__ import annotations

import re

import click
import pytest

from flyte_build.cli.app import cli

from ..support.offline import Offline

_WHOLE = re.compile(r"sha256:[0-9a-f]{64}")


@pytest.mark.slow
def test_a_narrow_terminal_is_shown_whole_ones(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    offline.locked()
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm-256color"), ("COLUMNS", "60")):
        monkeypatch.setenv(name, value)
    whole = offline.ok("plan", "flow.py", "--full").out
    assert len(_WHOLE.findall(whole)) == 2
    assert "platform" in whole
    short = offline.ok("plan", "flow.py").out
    assert not _WHOLE.search(short), "only of the command that asked"
    assert len(_WHOLE.findall(offline.ok("plan", "flow.py", "--full").out)) == 2, "nor is it another's record"
    assert len(_WHOLE.findall(offline.ok("build", "flow.py", "--full").out)) == 2
    for arguments in (("images",), ("verify", "flow.py")):
        assert not _WHOLE.search(offline.ok(*arguments).out)
        assert _WHOLE.search(offline.ok(*arguments, "--full").out), arguments


COMMANDS = (
    "lock", "plan", "build", "push", "load", "verify", "diff", "outdated", "sbom", "bundle", "unbundle", "images",
    "runs",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_with_digests_have_it(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for one in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
        assert [p.name for p in one.params if "--full" in p.opts] == ["full"]
