"""Commands on a real terminal of 80 and of 200 columns, with colours and without: what is left on the screen.

No line is wider than the terminal, nothing that was drawn over is left behind or stands there twice, and the cursor is
given back.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from ..support.offline import Offline, workflow
from ..support.screen import Seen, on_terminal, seen

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
END = b"\x1e"

# All in one process, as they come one after the other; each ends with a mark and its exit code.
COMMANDS = """
import os, sys
from flyte_build.cli import main
from flyte_build.locking.apt import index
from flyte_build.sources import mirrors
from flyte_build.sources.apt_sources import HostApt
mirrors._host_apt = HostApt
for line in sys.argv[1:]:
    code = main(line.split())
    sys.stdout.flush(); sys.stderr.flush()
    os.write(1, b"\\x1e%d\\x1e" % code)
"""

DRAWN = """
import time
from flyte_build.cli.live import RunView
from flyte_build.cli.progress import make_reporter
from tests.cli.test_live import BOOM, ROOT, record
from flyte_build.submit.action import ErrorInfo, Phase
reporter = make_reporter()
with reporter.work("unpack image " + "0123456789ab " * 12, 3000, unit="bytes") as outer:
    with reporter.work("compile " + "a long title " * 20, 40) as inner:
        for _ in range(40):
            inner.advance()
            outer.advance(75)
            time.sleep(0.02)
        reporter.note("a note of many words " * 12)
        reporter.warn("a warning of many words " * 12)
view = RunView("r1 top.main").started()
view.on_action(ROOT)
for i in range(70):
    view.on_action(record(f"s{i}", queued=i, phase=Phase.RUNNING, group="squares" if i % 2 else ""))
    time.sleep(0.01)
view.on_line("s1", 1, "pulling an image with a long name " * 8)
view.warn("a limit is not kept " * 12)
for i in range(70):
    error = ErrorInfo("ValueError", "a reason " * 40) if i == 3 else BOOM
    phase = Phase.FAILED if i < 5 else Phase.SUCCEEDED
    view.on_action(record(f"s{i}", queued=i, phase=phase, error=error, group="squares" if i % 2 else ""))
view.stop()
print("done")
"""

ASKED = """
from flyte_build.cli.console import stderr
from flyte_build.cli.live import RunView
from tests.cli.test_live import ROOT, record
from flyte_build.submit.action import Phase
view = RunView("r1 top.main").started()
view.on_action(ROOT)
view.on_action(record("c", "approve", kind="condition", phase=Phase.PAUSED))
view.hold()
stderr().print("? approve")
view.on_action(record("c", "approve", kind="condition", phase=Phase.ABORTED))
view.go_on()
view.stop()
"""

VARIANTS = [(80, True), (80, False), (200, True), (200, False)]


def terminal(coloured: bool) -> dict[str, str]:
    own = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CI")}
    return {**own, "TERM": "xterm-256color", **({} if coloured else {"NO_COLOR": "1"})}


def sound(shown: Seen, *allowed: str) -> None:
    """Paths and addresses are whole, for whoever copies one: ``allowed`` are in lines that may be wider."""
    assert [line for line in shown.wrapped if not any(word in line for word in allowed)] == []
    assert shown.cursor, "the cursor is given back, at the start of a line"


@pytest.mark.parametrize(("columns", "coloured"), VARIANTS)
def test_commands(offline: Offline, columns: int, coloured: bool) -> None:
    offline.write(workflow("other: no-such-package-anywhere gamma>7"), "bad.py")
    asked = [
        "lock flow.py", "lock flow.py", "plan flow.py", "plan flow.py --layers", "build flow.py", "build flow.py",
        "plan flow.py --explain", "images", "why beta flow.py", "tree flow.py --env top", "outdated flow.py",
        "verify flow.py", "runs", "plan flow.py --env no-such-environment-in-this-file", "lock bad.py",
        "build bad.py --locked", "plan", "frobnicate", "plan --help", "--help",
    ]  # fmt: skip
    raw = on_terminal([sys.executable, "-c", COMMANDS, *asked], columns, terminal(coloured), offline.project)
    parts = raw.split(END)
    shown = {f"{i} {line}": seen(parts[2 * i], columns) for i, line in enumerate(asked)}
    codes = [int(code) for code in parts[1::2]]
    assert codes == [0] * 13 + [3, 5, 4, 2, 2, 0, 0], "\n".join(s.text for s in shown.values())
    for name, one in shown.items():
        sound(one, str(offline.home), offline.index.url, *(["no-such"] if "bad.py" in name else []))
        twice = [line for line, n in Counter(filter(str.strip, one.lines)).items() if n > 1]
        # A table of layers for each image, a paragraph for each option.
        assert not twice or any(word in name for word in ("--layers", "--help", "--explain", "tree")), (name, twice)
        assert one.text, name
    assert shown["0 lock flow.py"].text.count("written") >= 2
    assert shown["5 build flow.py"].lines == ("nothing to build: 2 images are cached",)
    for name in (
        "13 plan flow.py --env no-such-environment-in-this-file",
        "14 lock bad.py",
        "15 build bad.py --locked",
    ):
        assert sum(line.startswith("error: ") for line in shown[name].lines) == 1
    assert any(one.colours for one in shown.values()) is coloured


@pytest.mark.parametrize(("columns", "coloured"), VARIANTS)
def test_what_is_drawn_over(columns: int, coloured: bool) -> None:
    shown = seen(on_terminal([sys.executable, "-c", DRAWN], columns, terminal(coloured), ROOT), columns)
    sound(shown)
    assert shown.lines[-1] == "done"
    assert shown.colours is coloured
    # Bars vanish; of the work that took a while a line is left, cut or broken at words.
    assert "━" not in shown.text
    assert sum(line.startswith("✓ compile") for line in shown.lines) == 1
    # The last picture of the tree, once, whole.
    assert shown.text.count("r1 top.main") == 1
    assert sum("group squares" in line for line in shown.lines) == 1
    assert "▶ square" not in shown.text
    assert sum("✗ square" in line for line in shown.lines) == 5


def test_the_tree_goes_while_somebody_is_asked_and_is_there_once_at_the_end() -> None:
    shown = seen(on_terminal([sys.executable, "-c", ASKED], 80, terminal(False), ROOT), 80)
    sound(shown)
    assert shown.lines[:2] == ("? approve", "r1 top.main")
    assert shown.text.count("approve") == 2
    assert "‖" not in shown.text
    assert "■ approve" in shown.lines[-1]
