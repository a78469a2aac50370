"""A task's traceback, found in what its runtime printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.submit.tracebacks import TAIL_BYTES, last_traceback

RUNTIME = '  File "/opt/venv/lib/python3.11/site-packages/flyte/_task.py", line 711, in execute\n    v = await f()\n'
OWN = '  File "/home/flyte/main.py", line 4, in main\n    raise ValueError(x)\n'
OTHER = '  File "/opt/venv/lib/python3.11/site-packages/demo/a.py", line 1, in f\n    g()\n    ^^^\n'
HEAD = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"said\n{HEAD}{RUNTIME}{OWN}ValueError: no\nlater\n", f"{HEAD}{OWN}ValueError: no"),
        (f"{HEAD}{OWN}KeyError: 1\n\nDuring …\n\n{HEAD}{OTHER}ValueError: no\n", f"{HEAD}{OTHER}ValueError: no"),
        (f"{HEAD}{RUNTIME}RuntimeError: ours\n", f"{HEAD}{RUNTIME}RuntimeError: ours"),
        (f"{HEAD}{OWN}", None),
        (f"{HEAD}nothing of the kind\n", None),
        ("all is well\n", None),
        ("", None),
    ],
    ids=["own", "last", "runtime", "cut", "no frames", "none", "empty"],
)
def test_the_last_traceback(tmp_path: Path, text: str, expected: str | None) -> None:
    log = tmp_path / "1.log"
    log.write_text(text)
    assert last_traceback(log) == expected


def test_an_endless_log_is_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log.write_bytes(f"{HEAD}{OWN}KeyError: 1\n".encode() + b"\xff\n" * TAIL_BYTES)
    assert last_traceback(log) is None
    with log.open("a") as f:
        f.write(f"{HEAD}{OWN}ValueError: no\n")
    assert last_traceback(log) == f"{HEAD}{OWN}ValueError: no"


def test_no_log(tmp_path: Path) -> None:
    assert last_traceback(tmp_path / "1.log") is None
    assert last_traceback(tmp_path) is None
