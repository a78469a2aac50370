"""Whole runs: the unmodified runtime of the SDK in sandboxes, against our service."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import Phase
from flyte_build.submit.history import find_logs, list_runs, read_run
from flyte_build.submit.run import RunResult
from flyte_build.submit.sandbox.entrance import Entrance

from .conftest import Runs

pytestmark = pytest.mark.integration

Read = Callable[[RunResult], Any]


def test_a_workflow_over_three_environments(runs: Runs, outputs: Read) -> None:
    """Files between sandboxes, sync and async tasks, gather, map, groups, nesting, traces, override, a report."""
    root = runs.action("pipeline", "main", text="hello")
    first = runs.run(root, "one")
    assert first.phase is Phase.SUCCEEDED, first.error
    assert outputs(first) == "sour in leaf|HELLO|['shout.txt']|[2, 4]|18|7"

    by_task = {a.task: a for a in first.actions}
    assert by_task["leaf.write"].group == "words"
    assert by_task["leaf.double"].image == runs.images["leaf"].digest
    assert by_task["middle.nested"].image == runs.images["middle"].digest
    assert by_task["leaf.slow_square"].parent == by_task["middle.nested"].name
    assert by_task["traced"].kind == "trace"
    assert {a.phase for a in first.actions} == {Phase.SUCCEEDED}
    (report,) = first.reports
    assert "<b>hello</b>" in report.read_text()

    # A second run computes everything again but what asked for a cache.
    second = runs.run(root, "two")
    assert outputs(second) == outputs(first)
    assert {a.task for a in second.actions if a.source == "cache"} == {"leaf.slow_square"}

    # Another image does not answer from the first one's cache.
    runs.images["leaf"] = dataclasses.replace(runs.images["leaf"], digest=f"sha256:{'9' * 64}")
    third = runs.run(runs.action("pipeline", "nested", x=3), "three")
    assert outputs(third) == 18
    assert {a.source for a in third.actions} == {""}

    listed = {run.name: run for run in list_runs(runs.runs_dir)}
    assert {name: run.phase for name, run in listed.items()} == dict.fromkeys(("one", "two", "three"), Phase.SUCCEEDED)
    assert [a.task for a, _ in find_logs(listed["one"], "shout")] == ["middle.shout"]
    assert "Flyte runtime completed" in find_logs(listed["one"], "a0")[0][1].read_text()


def test_messages_are_as_large_as_their_task_says(runs: Runs, outputs: Read) -> None:
    """``max_inline_io_bytes`` is in nothing that the runtime sends: we are told, and the SDK holds it in the parent."""
    root = runs.action("large", "main", size=70)
    told = runs.run(root, "told", inline={"leaf.long": 80 << 20, "leaf.usual": 10 << 20})
    assert told.phase is Phase.SUCCEEDED, told.error
    assert outputs(told) == [(70 << 20) + 1, -1]
    untold = runs.run(root, "untold")
    assert untold.error is not None
    assert (
        "its inputs cannot be taken over: [Errno 27] expected at most 67108864 bytes, found more"
        in untold.error.message
    )


def test_an_environment_may_be_let_off_the_filter_of_system_calls(runs: Runs, outputs: Read) -> None:
    assert outputs(runs.run(runs.action("pipeline", "filters"), "one")) == [2, 2]
    let_off = runs.run(runs.action("pipeline", "filters"), "two", unfiltered=frozenset({"leaf"}))
    assert outputs(let_off) == [2, 0]


def test_what_goes_wrong_reaches_the_parent_as_flyte_says_it(
    runs: Runs, outputs: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.beginning.PATIENCE", 10_000)  # so that timeouts count from the inputs
    result = runs.run(runs.action("trouble", "catches"), "one")
    assert result.phase is Phase.SUCCEEDED, result.error
    said = dict(line.split(": ", 1) for line in outputs(result))
    assert said["broken"] == "RuntimeUserError ValueError: no 1 today"
    assert said["hopeless"] == "RuntimeUserError NonRecoverableError: never"
    assert said["endless"].startswith("MaxRuntimeExceededError")
    limited = Cgroups.detect().memory is not None
    oom = "OOMError OOMKilled: killed at its memory limit of 300 MiB"
    assert said["glutton"] == (oom if limited else "no error")
    assert limited or any("memory" in words for words in runs.observer.warnings), "no limit, and it is said"
    assert said["vanishing"].startswith("RuntimeSystemError ContainerFailed: ended with exit code 3")
    assert "environment stranger of task stranger.unpinned has no image in this run" in said["unpinned"]
    assert said["third_time"] == "3"
    assert said["parent_of_failures"] == "2"

    by_task = {a.task.removeprefix("trouble."): a for a in result.actions}
    assert by_task["hopeless"].attempt == 1  # not recoverable: its three retries are not used
    assert by_task["endless"].phase is Phase.TIMED_OUT
    assert by_task["third_time"].attempt == 3
    assert (result.folder / "meta" / "count-hopeless").read_text() == "x"


def test_an_uncaught_error_keeps_its_type_and_its_traceback(runs: Runs) -> None:
    result = runs.run(runs.action("trouble", "uncaught"), "one")
    assert result.phase is Phase.FAILED
    assert result.error is not None
    assert (result.error.code, result.error.message) == ("ValueError", "no 2 today")
    run = read_run(runs.runs_dir, "one")
    assert run.phase is Phase.FAILED
    ((_, log),) = find_logs(run, "broken")
    assert 'raise ValueError(f"no {x} today")' in log.read_text()


def test_a_secret_comes_from_the_environment_or_is_named(runs: Runs, outputs: Read) -> None:
    root = runs.action("trouble", "reveal")
    missing = runs.run(root, "one", environment={})
    assert missing.error is not None
    assert missing.error.message == (
        "secret 'my-key' of group 'team' is not set: expected its value in the environment variable TEAM_MY_KEY"
    )
    found = runs.run(root, "two", environment={"TEAM_MY_KEY": "hush ", "MY_FILE": "quiet", "OTHER": "x"})
    assert outputs(found) == "hush quiet"
    kept = [p for p in (runs.runs_dir / "two").rglob("*") if p.is_file() and p.name != "outputs.pb"]
    assert kept
    assert not [p for p in kept if b"hush" in p.read_bytes() or b"quiet" in p.read_bytes()]


def test_without_network_on_either_engine(runs: Runs, outputs: Read, engine: Entrance) -> None:
    result = runs.run(runs.action("pipeline", "nested", x=2), "one", network="none", engine=engine.engine)
    assert outputs(result) == 8


def test_a_cancelled_call_ends_its_action(runs: Runs, outputs: Read) -> None:
    result = runs.run(runs.action("trouble", "cancels"), "one")
    assert outputs(result) == "cancelled"
    (child,) = [a for a in result.actions if a.task == "trouble.waiting"]
    assert child.phase is Phase.ABORTED


def test_a_resumed_run_computes_only_what_is_missing(runs: Runs, outputs: Read) -> None:
    root = runs.action("trouble", "resumable", fail=True)
    (runs.runs_dir / "one" / "meta").mkdir(parents=True)
    (runs.runs_dir / "one" / "meta" / "fail").touch()
    (runs.runs_dir / "one" / "run.json").write_text("{}")
    first = runs.run(root, "one", resume="one")
    assert first.phase is Phase.FAILED
    second = runs.run(root, "two", resume="one")
    assert outputs(second) == 1
    assert [a.source for a in second.actions if a.task == "trouble.waiting"] == ["resume", ""]
    assert (second.folder / "meta" / "count-waiting").read_text() == "x"

    # In place: nothing is left to do but the root, which failed; its attempts go on counting.
    (runs.runs_dir / "one" / "meta" / "fail").unlink()
    again = runs.run(root, "one", resume="one")
    assert outputs(again) == 1
    assert {a.task: a.attempt for a in again.actions}["trouble.resumable"] == 2

    # What a resumption did before it was killed hides nothing of the run that it resumed.
    (runs.runs_dir / "three").mkdir()
    (runs.runs_dir / "three" / "run.json").write_text(json.dumps({"name": "three", "resume": "two"}))
    last = runs.run(root, "four", resume="thre")
    assert outputs(last) == 1
    assert {a.source for a in last.actions} == {"resume"}
    assert read_run(runs.runs_dir, "four").facts["resume"] == "three"

    with pytest.raises(RunError, match="run one exists"):
        runs.run(root, "one")


_CHILD = """
import pickle, sys
from flyte_build.submit.observer import Collector
from flyte_build.submit.run import RunRequest, execute
fields, images = pickle.loads(sys.stdin.buffer.read())
try:
    execute(RunRequest(image_roots=images.__getitem__, **fields), Collector())
except KeyboardInterrupt:
    sys.exit(130)
"""


def _background(runs: Runs, name: str) -> subprocess.Popen[bytes]:
    """The run in a process of its own, which then can be killed."""
    import pickle

    request = runs.request(runs.action("trouble", "long"), name)
    skipped = ("image_roots", "environment")
    fields = {f.name: getattr(request, f.name) for f in dataclasses.fields(request) if f.name not in skipped}
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(_CHILD)], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(pickle.dumps((fields, {i.digest: i for i in runs.images.values()})))
    child.stdin.close()
    counter = runs.runs_dir / name / "meta" / "count-waiting"
    deadline = time.monotonic() + 60
    while not (counter.exists() and len(counter.read_text()) == 2):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return child


def _living(marker: str) -> list[str]:
    """Processes of this machine with ``marker`` in their command line or variables."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            for name in ("cmdline", "environ"):
                try:
                    text = (entry / name).read_bytes()
                except OSError:
                    continue
                if marker.encode() in text:
                    found.append(f"{entry.name} {text[:200]!r}")
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_survives_the_launcher(runs: Runs, how: signal.Signals) -> None:
    name = f"ends-by-{how.name.lower()}"
    child = _background(runs, name)
    assert len(_living(f"RUN_NAME={name}")) >= 3  # the root and two children, seen from outside
    child.send_signal(how)
    assert child.wait(30) == (130 if how is signal.SIGINT else -signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (left := _living(f"RUN_NAME={name}")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    run = read_run(runs.runs_dir, name)
    assert not run.running
    if how is signal.SIGINT:
        assert run.phase is Phase.ABORTED
        assert {a.phase for a in run.actions} == {Phase.ABORTED}
        assert not any((runs.runs_dir / name / "scratch").glob("*"))
    else:
        assert run.phase is None
        assert {a.phase for a in run.actions} == {Phase.RUNNING}
        left_behind = runs.runs_dir / name / "scratch"
        assert any(left_behind.iterdir())
        runs.run(runs.action("pipeline", "double", x=1), "next")
        assert not left_behind.exists()


def test_the_facts_of_a_run_are_written_down(runs: Runs) -> None:
    runs.run(runs.action("pipeline", "nested", x=1), "one")
    facts = json.loads((runs.runs_dir / "one" / "run.json").read_text())
    assert (facts["schema"], facts["task"], facts["environment"]) == (1, "middle.nested", "middle")
    assert facts["images"]["leaf"] == runs.images["leaf"].digest
    assert (runs.runs_dir / "one").stat().st_mode & 0o777 == 0o700


def test_the_root_is_cached_as_any_task_is(runs: Runs, outputs: Read) -> None:
    """By the key that a call of it has; a version that a person gave holds over an edit, and the cache can be passed
    over."""
    sources = []
    for number, options in enumerate(({}, {}, {"overwrite_cache": True}, {})):
        root = runs.action("pipeline", "slow_square", x=5)
        # Other code, whose cache version is the same.
        if number == 1:
            root = dataclasses.replace(root, bundle=edited(root.bundle))
        result = runs.run(root, f"r{number}", **options)
        assert outputs(result) == 25
        sources.append(result.actions[0].source)
    assert sources == ["", "cache", "", "cache"]


def edited(bundle: Path) -> Path:
    """The same code with a file more."""
    made = bundle.with_name("edited.tgz")
    with tarfile.open(bundle) as before, tarfile.open(made, "w:gz") as after:
        for member in before.getmembers():
            after.addfile(member, before.extractfile(member))
        after.addfile(tarfile.TarInfo("more.py"))
    return made
