"""The benchmark of a first run measures what it says; what it measures is not tested."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import first
from benchmarks.context import Context
from benchmarks.measure import Sample, command


def test_a_first_run_is_measured_to_its_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once with nothing unpacked, once with all; of the whole command there is the end, too."""
    [case] = first.cases(Context(tmp_path, tmp_path, 1, quick=True, peers=False))
    assert case.skipped is not None
    assert case.skipped.startswith("not measured: --quick --no-peers")
    asked = []

    def run(words: Sequence[str], **_: object) -> Sample:
        asked.append("run" if "run" in words else "build")
        return Sample(9.0, 2.0, 1, '{"line": 1.0, "whole": 3.0}')

    monkeypatch.setattr(first, "command", run)
    (tmp_path / "store").mkdir()
    [case] = first.cases(Context(tmp_path, tmp_path / "scratch", 2, quick=False))
    assert [(s.label, s.wall, s.cpu) for s in case.series] == [
        (first.FIRST, 1.0, 2.0), (first.AGAIN, 1.0, 2.0), (first.WHOLE, 3.0, 2.0),
    ]  # fmt: skip
    assert asked == ["build", *["build", "run", "run"] * 2]
    # A first line is waited for, in the only run of its folder.
    script = (
        "import pathlib, sys\nlogs = pathlib.Path(sys.argv[1], 'runs', 'r', 'logs', 'a0')\n"
        "logs.mkdir(parents=True)\n(logs / '1.log').write_text('x')"
    )
    done = command((sys.executable, "-c", first.WAITING, str(tmp_path), sys.executable, "-c", script, str(tmp_path)))
    assert sorted(json.loads(done.output)) == ["line", "whole"]
