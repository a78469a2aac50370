"""What a task of a cold action finds, with the runtime as it is: what the bare ``a0`` of its image gives it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import Phase
from flyte_build.submit.run import RunResult
from tests.support.flyte_files import dry_run

from ..conftest import Runs

pytestmark = pytest.mark.integration

# As much as a process can say of itself; module objects and addresses differ with each.
LOOKING = """
import atexit, contextvars, gc, json, logging, os, signal, sys, threading
import flyte

env = flyte.TaskEnvironment(name="leaf")
held = open("/tmp/held", "w")


class Last:
    def __init__(self, whose):
        self.whose = whose

    def __del__(self, write=os.write):
        write(1, f"gone: {self.whose}\\n".encode())


last = Last("its module's")
logging.kept = flyte.kept = json.JSONEncoder.kept = Last("the runtime's modules'")
kept = contextvars.ContextVar("kept")
kept.set(Last("a context's"))


def going():
    try:
        yield
    finally:
        os.write(1, b"gone: a generator\\n")


goes = going()
next(goes)


@env.task
async def look(how: str) -> str:
    turning = [Last("a cycle's")]
    turning.append(turning)
    atexit.register(lambda own=Last("what is called at exit"): os.write(1, b"gone: nothing yet\\n"))
    import wave  # which the runtime does not

    wave.kept = Last("another module's")
    status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    main = sys.modules["__main__"]
    found = {
        "argv": sys.argv, "orig_argv": sys.orig_argv, "flags": str(sys.flags), "path": sys.path, "main": sorted(vars(main)),
        "file": main.__file__, "loader": type(main.__loader__).__name__, "command": open("/proc/self/cmdline").read(),
        "env": sorted(os.environ), "cwd": os.getcwd(), "executable": sys.executable, "prefix": sys.prefix,
        "handlers": {int(n): str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals()},
        "signals": [status[n] for n in ("SigBlk", "SigIgn", "SigCgt")], "threads": sorted(t.name for t in threading.enumerate()),
        "modules": sorted(sys.modules), "collected": gc.isenabled(), "threshold": gc.get_threshold(),
        "sys": sorted(vars(sys)), "files": len(os.listdir("/proc/self/fd")), "hook": sys.excepthook.__name__,
    }
    if how == "raise":
        raise ValueError(json.dumps(found))
    if how == "exit":
        print("LOOK", json.dumps(found), flush=True)
        raise SystemExit(3)
    print("frozen", gc.get_freeze_count() > 100_000)
    return json.dumps(found)
"""  # noqa: E501


@pytest.mark.parametrize("how", ["return", "raise", "exit"])
def test_it_is_what_the_bare_script_gives_it(
    runs: Runs, outputs: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "looking.py").write_text(LOOKING)
    root = dry_run(tmp_path / "flow", "looking", "look", tmp_path / "bundle", how=how)

    def ran(name: str) -> tuple[RunResult, str]:
        result = runs.run(root, name, warm=False)
        return result, (result.folder / "logs" / "a0" / "1.log").read_text()

    quiet, its_log = ran("same")
    result = quiet.folder.rename(quiet.folder.with_name("first"))  # the same name again, which is in what is found
    monkeypatch.setattr("flyte_build.submit.local.collecting_late", lambda *given: None)
    bare, log = ran("same")
    assert (result / "logs").is_dir()
    assert quiet.phase is bare.phase is (Phase.SUCCEEDED if how == "return" else Phase.FAILED)
    ends = [sorted(line for line in text.splitlines() if "gone: " in line) for text in (its_log, log)]
    assert ends[0] == ends[1]
    assert {"gone: a cycle's", "gone: nothing yet", "gone: another module's"} <= {*ends[0]}
    if how == "return":
        assert ("frozen True" in its_log, "frozen False" in log) == (True, True)
        texts = [outputs(quiet), outputs(bare)]
    elif how == "raise":
        assert quiet.error is not None
        assert bare.error is not None
        texts = [r.error.message.split("ValueError: ")[-1] for r in (quiet, bare) if r.error]
        assert (quiet.error.code, quiet.error.kind) == (bare.error.code, bare.error.kind)
    else:
        texts = [next(x[5:] for x in text.splitlines() if x.startswith("LOOK ")) for text in (its_log, log)]
        assert quiet.error is not None
        assert quiet.error.message.startswith("ended with exit code 3 and left neither outputs nor an error")
    # Each run has a start of its own.
    found, plain = (json.loads(re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]*Z?", "THEN", text)) for text in texts)
    assert found == plain
    assert found["collected"] is True
