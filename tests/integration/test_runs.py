"""Runs from the command line: the example and a workflow of our own, on images built here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, Done
from tests.support.daemons import shell
from tests.support.elsewhere import readable_python
from tests.support.tools import need, need_root

from .conftest import EXAMPLE, LOCKFILES, ROOT, Layout

pytestmark = pytest.mark.integration

WORKFLOW = Path(__file__).with_name("workflows") / "everything.py"
FOLDED = [
    "4 aligned sequences",
    "AAGGTTCCAA: 12 lines",
    """structure = {
    1: (2.3, 0.0, 0.0),
    2: (-0.399, 2.265, 1.5),
    3: (-2.161, -0.787, 3.0),
    4: (1.15, -1.992, 4.5),
    5: (1.762, 1.478, 6.0),
    6: (-1.762, 1.478, 7.5),
    7: (-1.15, -1.992, 9.0),
    8: (2.161, -0.787, 10.5),
    9: (0.399, 2.265, 12.0),
    10: (-2.3, 0.0, 13.5),
}
""",
]
MAIN = (EXAMPLE, "main", "--sequence", "AAGGTTCCAA")


def by_task(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for action in document["actions"]:
        found.setdefault(action["task"].rpartition(".")[2], []).append(action)
    return found


# -- the example ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(cli: Cli, layout: Layout) -> dict[str, Any]:
    """The example's run, as JSON."""
    document: dict[str, Any] = cli.ok("run", "--json", *MAIN).json()
    return document


def test_the_example(first: dict[str, Any], layout: Layout) -> None:
    assert (first["phase"], first["error"], first["outputs"]) == ("succeeded", None, {"o0": FOLDED})
    # Each task ran in the image of its own environment, and in the very one that was built.
    ran = {name: (action["image"], action.get("parent")) for name, (action,) in by_task(first).items()}
    assert ran == {
        "main": (layout.digests["multi_env"], None),
        "run_msa": (layout.digests["msa_env"], "a0"),
        "run_fold": (layout.digests["fold_env"], "a0"),
    }


def test_a_second_run_builds_nothing_and_says_so(first: dict[str, Any], cli: Cli, layout: Layout) -> None:
    before = {p: p.stat().st_mtime_ns for p in (cli.cache / "oci").rglob("*")}
    done = cli.ok("run", *MAIN)
    assert json.loads(done.out) == FOLDED
    assert "nothing to build" in done.err
    assert {p: p.stat().st_mtime_ns for p in (cli.cache / "oci").rglob("*")} == before
    again = cli.ok("build", EXAMPLE, "--json").json()["images"]
    assert {i["environment"]: i["digest"] for i in again} == layout.digests
    assert all(i["reused"] for i in again)


def test_runs_and_logs(first: dict[str, Any], cli: Cli) -> None:
    listed = {run["name"]: run for run in cli.ok("runs", "--json").json()["runs"]}
    assert listed[first["run"]]["phase"] == "succeeded"
    assert first["run"] in cli.ok("runs").out
    assert "Running AlphaFold2 for sequence: AAGGTTCCAA" in cli.ok("logs", first["run"]).out
    said = cli.ok("logs", first["run"], "run_msa").out
    assert "2 passed" in said
    assert "Running AlphaFold2" not in said
    missing = cli("logs", first["run"], "no_such_action")
    assert missing.code != 0
    assert "no_such_action" in missing.err


def test_resume_reuses_what_succeeded(first: dict[str, Any], cli: Cli) -> None:
    second = cli.ok("run", "--json", "--resume", first["run"], *MAIN).json()
    assert second["run"] != first["run"]
    assert second["outputs"] == first["outputs"]
    assert {a["source"] for a in second["actions"]} == {"resume"}


def test_without_network(cli: Cli, layout: Layout) -> None:
    assert cli.ok("run", "--json", "--no-network", *MAIN).json()["outputs"] == {"o0": FOLDED}


def test_with_unshare_where_bubblewrap_is_hidden(cli: Cli, layout: Layout) -> None:
    """In a mount namespace where bubblewrap's program is one that cannot be run."""
    need_root("hiding a program")
    bwrap, unshare = need("bwrap", "bubblewrap"), need("unshare", "util-linux")
    hidden = [unshare, "--mount", "sh", "-c", f'mount --bind /dev/null {bwrap} && exec "$@"', "sh"]
    assert subprocess.run([*hidden, bwrap, "--version"], capture_output=True, check=False).returncode == 126
    masked = Cli(cli.home, wrapper=hidden)
    assert masked.ok("run", "--json", "--no-network", *MAIN).json()["outputs"] == {"o0": FOLDED}


@pytest.fixture
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line of a user who is nobody, with a copy of this tree, an interpreter and a home."""
    need_root("being another user")
    folder = Path(shell("mktemp", "-d", "/tmp/flyte-build-user.XXXXXX").strip())
    try:
        for name in ("flyte_build", "examples", "lockfiles"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        uv = [Path(sys.executable).with_name("uv"), "-q"]
        shell(*uv, "venv", "--python", readable_python(), folder / "venv")
        constraints = ["-c", ROOT / "constraints.txt", "-r", ROOT / "pyproject.toml"]
        shell(*uv, "pip", "install", "-p", folder / "venv/bin/python", *constraints)
        (folder / "home").mkdir()
        shell("chown", "-R", "65534:65534", folder)
        user = [need("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups", "env"]
        variables = {"HOME": str(folder / "home"), "PYTHONPATH": str(folder), "TMPDIR": str(folder / "home")}
        yield Cli(folder / "home", str(folder / "venv/bin/python"), user, variables)
    finally:
        shutil.rmtree(folder)


def test_as_an_ordinary_user_from_nothing(ordinary: Cli, layout: Layout) -> None:
    """Fetches, builds, unpacks and runs without root; the images are the very ones root built."""
    example = Path(ordinary.variables["PYTHONPATH"]) / "examples/af2/main.py"
    document = ordinary.ok("run", "--json", example, *MAIN[1:], cwd=Path("/")).json()
    assert document["outputs"] == {"o0": FOLDED}
    assert {a["environment"]: a["image"] for a in document["actions"]} == layout.digests
    owners = {p.lstat().st_uid for p in ordinary.home.rglob("*")}
    assert owners == {65534}


# -- a workflow of our own -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locks(cli: Cli, layout: Layout, home: Path) -> Path:
    """Locks for the workflow: beside the example's, so that all it has to do is to share them."""
    folder = home / "lockfiles"
    shutil.copytree(LOCKFILES, folder)
    cli.ok("lock", "--lockfiles", folder, WORKFLOW)
    plan = cli.ok("plan", "--json", "--lockfiles", folder, WORKFLOW).json()
    assert (plan["artifacts_to_fetch"], plan["new_layers"]) == (0, 0), "the example's images have all of it"
    return folder


def run(cli: Cli, locks: Path, *arguments: str | Path) -> Done:
    return cli("run", "--json", "--lockfiles", locks, WORKFLOW, *arguments)


def test_files_dataclasses_maps_retries_caches_and_reports(cli: Cli, locks: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Hello, hello world!")
    options = json.dumps({"ignore": ["e"], "least": 2})
    arguments = ("everything", "--text", tmp_path / "text.txt", "--options", options, "--numbers", "[1, 2, 3]")
    document = run(cli, locks, *arguments).json()
    folder = Path(document["outputs"]["o0"])
    assert {p.name: p.read_text() for p in folder.iterdir()} == {"h.txt": "hh", "l.txt": "lllll", "o.txt": "ooo"}
    assert document["outputs"]["o1"] == "good day: [1, 4, 9], 3 tries, ['h', 'l', 'o']"
    (report,) = document["reports"]
    assert "<b>3 letters</b>" in Path(report).read_text()
    ran = by_task(document)
    assert [a["phase"] for a in ran["square"]] == ["succeeded"] * 3
    assert ran["third_time"][0]["attempt"] == 3
    assert {a["group"] for a in ran["third_time"] + ran["pages"]} == {"stubborn"}

    again = by_task(run(cli, locks, *arguments).json())
    assert [a.get("source") for a in again["square"]] == ["cache"] * 3
    assert {a.get("source") for a in again["letters"]} == {None}


def test_an_error_in_a_task(cli: Cli, locks: Path) -> None:
    """The type that was raised, where it was raised, and what to do next."""
    done = cli("run", "--lockfiles", locks, WORKFLOW, "calls_refuses", "--x", "3")
    assert done.code == 12
    assert done.out == ""
    assert "ValueError: expected nothing above 0, found 12" in done.err
    assert "Traceback (most recent call last):" in done.err
    assert 'everything.py", line' in done.err
    assert 'raise ValueError(f"expected nothing above 0, found {x}")' in done.err
    assert "flyte-build logs" in done.err

    document = json.loads(run(cli, locks, "refuses", "--x", "1").out)
    assert (document["phase"], document["outputs"]) == ("failed", {})
    assert document["error"] == {
        "code": "ValueError",
        "message": "expected nothing above 0, found 1",
        "kind": "user",
    }
    assert run(cli, locks, "refuses", "--x", "0").json()["outputs"] == {"o0": 0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("square", "--x", "three"), "--x: expected INTEGER, found `three`"),
        (("square", "--y", "3"), "--y"),
        (("square",), "--x"),
        (("letters", "--text", "no/such/file", "--options", "{}"), "no such file"),
        (("everything", "--text", str(WORKFLOW), "--options", '{"least": "x"}', "--numbers", "[]"), "least"),
        (("everything", "--text", str(WORKFLOW), "--options", "{}", "--numbers", '[1, "two"]'), "--numbers"),
    ],
    ids=["type", "unknown", "missing", "file", "dataclass", "list"],
)
def test_wrong_arguments(cli: Cli, locks: Path, arguments: tuple[str, ...], words: str) -> None:
    before = set(cli.runs.iterdir()) if cli.runs.exists() else set()
    done = run(cli, locks, *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert "Traceback" not in done.err
    assert (set(cli.runs.iterdir()) if cli.runs.exists() else set()) == before


def living(marker: str) -> list[str]:
    """Processes with ``marker`` among their variables or arguments, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        for name in ("environ", "cmdline"):
            try:
                text = (entry / name).read_bytes() if entry.name.isdigit() else b""
            except OSError:
                continue
            if marker.encode() in text and int(entry.name) != os.getpid():
                found.append(f"{entry.name} {text[:200]!r}")
    return found


@pytest.mark.parametrize("whom", ["the process", "the terminal's whole group"])
def test_an_interrupt_leaves_nothing_running(cli: Cli, locks: Path, whom: str) -> None:
    name = f"interrupted-{len(whom)}"
    process = cli.start("run", "--name", name, "--lockfiles", locks, WORKFLOW, "waits", "--seconds", "600")
    try:
        deadline = time.monotonic() + 120
        logs = cli.runs / name / "logs"
        # The root, and two that wait: seen running by anyone on this machine.
        while len(list(logs.glob("*/*.log"))) < 3 or len(living(f"RUN_NAME={name}")) < 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        if whom == "the process":
            process.send_signal(signal.SIGINT)
        else:
            os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert living(f"RUN_NAME={name}") == []
    (listed,) = [r for r in cli.ok("runs", "--json").json()["runs"] if r["name"] == name]
    assert listed["phase"] == "aborted"
    assert {a["phase"] for a in listed["actions"]} == {"aborted"}
