"""What a recorded plan depends on: all that it asked. What cannot be told so leaves no record."""

from __future__ import annotations

import os
import sys
import time
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from flyte_build.planning import noop
from flyte_build.planning.recording import Recording
from flyte_build.planning.watching import recording
from flyte_build.project.loading import load, load_module
from flyte_build.project.modules import Modules
from tests.support.noop import KEY, MAIN, Bench, edit_keeping_times


def plan_with(bench: Bench, text: str) -> Recording:
    """Plan with one more line at the file's end."""
    (bench.root / "main_of_noop.py").write_text(MAIN + text + "\n")
    with bench.recorded() as (recorder, answer):
        assert recorder.save(KEY, answer) is (recorder.unrepeatable is None)
        assert (bench.recall() is None) is (recorder.unrepeatable is not None)
        return recorder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import time; stamp = time.time()", "asks time.time"),
        ("import datetime; stamp = datetime.datetime.now()", "asks datetime.now"),
        ("import random; number = random.random()", "asks random"),
        ("import uuid; name = uuid.uuid4()", "asks uuid.uuid4"),
        ("import subprocess; subprocess.run(['true'])", "a process was started"),
        ("os.system('true')", "a process was started"),
        ("import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); s.close()", "the network was used"),
        ("os.environ['NOOP_USE_B'] = 'later'", "the variable NOOP_USE_B was changed"),
        ("(here / 'one.txt').write_text('new')", "changed while it was planned"),
    ],
)
def test_what_cannot_be_written_down_leaves_no_record(bench: Bench, text: str, said: str) -> None:
    why = plan_with(bench, text).unrepeatable
    assert why is not None
    assert said in why


def test_clocks_are_watched_for_while_the_users_code_runs(tmp_path: Path) -> None:
    """Not while their files are read: a plan that is profiled takes three times as long."""
    names = [f"{name}_{tmp_path.name}" for name in ("first", "second")]
    for name in names:
        (tmp_path / f"{name}.py").write_text("import time\nimport flyte\nenv = flyte.TaskEnvironment(name='env')\n")
    (tmp_path / f"{names[1]}.py").write_text("import time\nnow = time.time()\n")
    with Modules(tmp_path).entered(), recording(tmp_path) as recorder:
        project = load(tmp_path / f"{names[0]}.py", tmp_path)
        (tmp_path / f"{names[0]}.py").read_text()
        assert sys.getprofile() is None
        assert recorder.unrepeatable is None
        load_module(project, names[1])
        assert sys.getprofile() is None
    assert recorder.unrepeatable == f"{tmp_path / names[1]}.py:2 asks time.time"


def test_what_a_library_does_while_it_is_imported_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not profiled, warns and fails as ever; the user's own code behind it is watched as before."""
    name, library = f"flow_{tmp_path.name}", f"library_{tmp_path.name}"
    project, installed = tmp_path / "project", tmp_path / "installed"
    project.mkdir()
    installed.mkdir()
    (installed / f"{library}.py").write_text(
        "import sys, warnings\nprofile = sys.getprofile()\nwarnings.warn('old', UserWarning, stacklevel=2)\n"
    )
    (project / f"{name}.py").write_text(
        f"import sys, time\nimport flyte\nimport {library}\nprofile = sys.getprofile()\nnow = time.time()\n"
        "env = flyte.TaskEnvironment(name='env')\n"
    )
    monkeypatch.syspath_prepend(installed)
    with Modules(project).entered(), warnings.catch_warnings(record=True) as warned, recording(project) as recorder:
        warnings.simplefilter("always")
        load(project / f"{name}.py", project)
        assert sys.modules[library].profile is None
        assert sys.modules[name].profile == recorder.called
    assert [(w.filename, w.lineno) for w in warned if str(w.message) == "old"] == [(str(project / f"{name}.py"), 3)]
    assert recorder.unrepeatable == f"{project / name}.py:5 asks time.time"
    assert "exec_module" not in vars(SourceFileLoader)


@pytest.mark.parametrize(
    "text",
    [
        "import datetime; day = datetime.timedelta(days=1)",
        "import random; random.seed(1)",
        "import time",
        "import uuid",
    ],
)
def test_what_is_steady_of_unsteady_modules_is_no_obstacle(bench: Bench, text: str) -> None:
    assert plan_with(bench, text).unrepeatable is None


def test_an_environment_that_is_walked_through_is_recorded_whole(bench: Bench) -> None:
    plan_with(bench, "known = {k: v for k, v in os.environ.items() if k.startswith('NOOP_')}")
    assert bench.recall() is not None
    os.environ["NOOP_NEW"] = "1"
    try:
        assert bench.recall() is None
    finally:
        del os.environ["NOOP_NEW"]


@pytest.mark.parametrize(
    ("looks", "values"),
    [
        ("{**os.environ}", True),
        ("os.environ.copy()", True),
        ("sorted(os.environ.values())", True),
        ("[os.environ[name] for name in os.environ if name == 'HOME']", False),
        ("len(os.environ)", False),
    ],
)
@pytest.mark.parametrize("whose", ["a library", "the user"])
def test_who_looks_through_all_variables_for_some(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, whose: str, looks: str, values: bool
) -> None:
    """A library's own are none that a job's steps have each of their own, nor a password for pushing."""
    library = bench.installed / "installed_of_noop.py"
    if whose == "a library":
        library.write_text(f"import os\nREQUIREMENT = 'x==1'\nFOUND = {looks}\n")
    monkeypatch.setattr("flyte_build.planning.recording._TICK", -1e9)
    for name in ("GITHUB_OUTPUT", "FLYTE_BUILD_REGISTRY_PASSWORD", "NOOP_OTHER"):
        monkeypatch.setenv(name, "one")
    plan_with(bench, f"found = {looks}" if whose == "the user" else "")
    assert bench.recall() is not None
    for name in ("GITHUB_OUTPUT", "FLYTE_BUILD_REGISTRY_PASSWORD", "NOOP_OTHER"):
        monkeypatch.setenv(name, "two")
        matters = values and (whose == "the user" or name == "NOOP_OTHER")
        assert (bench.recall() is None) is matters, name
        monkeypatch.setenv(name, "one")
    monkeypatch.setenv("NOOP_NEW", "one")
    assert bench.recall() is None


def test_bytes_of_variables_are_variables(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_with(bench, "found = os.environb.get(b'NOOP_OTHER')")
    assert bench.recall() is not None
    monkeypatch.setenv("NOOP_OTHER", "one")
    assert bench.recall() is None


@pytest.mark.parametrize(
    "reading",
    [
        "import threading; t = threading.Thread(target=lambda: packages.append(open(here / 'two.txt').read()));"
        " t.start(); t.join()",
        "import os; handle = os.open(here / 'two.txt', os.O_RDONLY); os.close(handle)",
        "import io; io.FileIO(here / 'two.txt').close()",
        "import linecache; linecache.getline(str(here / 'two.txt'), 1)",
        "import sqlite3; sqlite3.connect(str(here / 'two.txt')).close()",
    ],
)
def test_a_file_read_in_another_way_is_seen_too(bench: Bench, reading: str) -> None:
    assert plan_with(bench, reading).unrepeatable is None
    assert bench.recall() is not None
    edit_keeping_times(bench.root / "two.txt", "9")
    assert bench.recall() is None


def test_no_variables_value_is_written_down(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOOP_TOKEN", "hunter2-hunter2")
    plan_with(bench, "token = os.environ['NOOP_TOKEN']")
    assert "hunter2" not in Path(noop.record_path(KEY)).read_text()


def test_a_damaged_record_is_no_answer(bench: Bench) -> None:
    plan_with(bench, "")
    path = Path(noop.record_path(KEY))
    whole = path.read_bytes()
    for damaged in (
        b"",
        b"{",
        whole[: len(whole) // 2],
        b"[]",
        b'{"schema": 1}',
        whole.replace(f'"schema": {noop.SCHEMA}'.encode(), b'"schema": 9'),
    ):
        path.write_bytes(damaged)
        assert bench.recall() is None
    path.write_bytes(whole)
    assert bench.recall() is not None
    assert noop.load("x" * 64) is None


def test_a_file_that_changed_a_moment_ago_is_not_trusted_by_its_times(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was installed, which is not read again. The moment lies ahead: all else that this process loaded,
    large libraries among it, which are not read again either, may have been installed just before the test."""
    file = bench.installed / "installed_of_noop.py"
    monkeypatch.setattr("flyte_build.planning.recording.installation", lambda: (f"{os.path.realpath(file.parent)}/",))
    monkeypatch.setattr("flyte_build.planning.recording._TICK", -3600.0)
    assert plan_with(bench, "").unrepeatable is None
    ahead = time.time() + 7200
    os.utime(file, (ahead, ahead))
    assert plan_with(bench, "").unrepeatable == f"{file} changed a moment ago"


def test_a_file_that_may_not_be_read_is_recorded_as_that(bench: Bench) -> None:
    """Here one that is a link to itself, which root may not read either; others': a store that somebody else filled."""
    shut = bench.root / "shut.txt"
    shut.symlink_to(shut)
    plan_with(bench, "try: open(here / 'shut.txt')\nexcept OSError: pass")
    assert bench.recall() is not None
    shut.unlink()
    shut.write_text("open now")
    assert bench.recall() is None
