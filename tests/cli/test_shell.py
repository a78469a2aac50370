"""The words of ``shell`` and ``exec``, and what is said of those that are wrong."""

from __future__ import annotations

import pytest

from flyte_build.cli.commands.shell import _variables
from flyte_build.cli.terminal import Shown

from ..support.offline import Offline, workflow


def test_what_is_wrong_is_said(offline: Offline) -> None:
    offline.write(workflow("low: alpha", "top(low): alpha"))
    assert "expected a command after `--`" in offline.refused(2, "exec", "flow.py", "low")
    assert "expected the name of an environment; there are: low, top" in offline.refused(2, "shell", "flow.py")
    assert "no environment `lwo`" in offline.refused(3, "exec", "flow.py", "lwo", "--", "true")
    assert "did you mean `low`?" in offline.refused(3, "exec", "flow.py", "lwo", "--", "true")
    assert "--help" not in offline.refused(3, "exec", "flow.py", "lwo", "--", "--help")
    assert "`--var UNSET_HERE`: expected NAME=VALUE" in offline.refused(
        2, "exec", "--var", "UNSET_HERE", "flow.py", "low", "--", "true"
    )
    said = " ".join(offline.refused(11, "exec", "--gpus", "99", "flow.py", "low", "--", "true").split())
    assert "--gpus: expected 99 NVIDIA GPUs on this machine, found " in said
    assert "no lock" in offline.refused(4, "exec", "--locked", "flow.py", "low", "--", "true")


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "a=b")
    assert _variables(("MINE", "X=1=2", "EMPTY=")) == {"MINE": "a=b", "X": "1=2", "EMPTY": ""}


def test_lines_that_come_in_pieces_are_no_commands(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    shown = Shown(own_terminal=False)
    for piece in (b":", b":set-env::x\n\xc3", b"\xa4 :", b":"):
        shown(1, piece)
    shown.end()
    assert capfdbinary.readouterr().out == "\\u003a:set-env::x\nä \\u003a:".encode()


def test_what_is_kept_is_the_last(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    shown = Shown(own_terminal=False, keep=True)
    shown(1, bytes(10 << 20))
    shown(1, bytes(10 << 20) + b"end")
    assert (len(shown.kept[1]), bytes(shown.kept[1][-3:])) == (16 << 20, b"end")
    assert capfdbinary.readouterr().out == b""
