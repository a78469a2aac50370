"""The checks through the command line: what plan says, what it exits with, and what build and run refuse."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from ..support.offline import Offline

IMAGE = 'base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))\n'

CALLEE = f"""
import flyte
{IMAGE}
low = flyte.TaskEnvironment("low", image=base.with_pip_packages("alpha"))
@low.task
def work(x: int) -> int:
    return x
"""

CALLER = """
import flyte
from callee import base, low, work

top = flyte.TaskEnvironment("top", image=base, depends_on=[low])

@top.task
def main(x: int) -> int:
    return work(x)
"""


@pytest.fixture
def calls(offline: Offline) -> Offline:
    """`top` calls a task of `low`; nothing is wrong yet."""
    offline.write(CALLEE, "callee.py")
    offline.write(CALLER, "caller.py")
    offline.ok("lock", "caller.py")
    return offline


def without_dependency(calls: Offline) -> None:
    calls.write(CALLER.replace(", depends_on=[low]", ""), "caller.py")


def with_import(calls: Offline) -> None:
    calls.write(CALLEE.replace("import flyte\n", "import flyte\nimport alpha\n", 1), "callee.py")


def test_nothing_wrong_is_said_so(calls: Offline) -> None:
    done = calls.ok("plan", "caller.py", "--check")
    assert "checked: every call of 2 images is provided for\n" in done.out


def test_a_missing_depends_on(calls: Offline) -> None:
    without_dependency(calls)
    done = calls("plan", "caller.py", "main", "--check")
    assert done.code == 10
    said = "caller.py:9: main (top) calls work (low), but top does not depend on low"
    assert f"error: {said}" in done.out
    assert "depends_on=[low]" in done.out
    assert done.err.startswith("error: 1 call would fail when run\n")
    for command in (("build", "caller.py", "main"), ("run", "caller.py", "main", "--x", "1")):
        assert said in calls.refused(10, *command)
    assert not (calls.store / "artifacts").exists(), "refused before anything was fetched"


def test_a_plan_without_check_shows_it_and_goes_on(calls: Offline) -> None:
    without_dependency(calls)
    done = calls.ok("plan", "caller.py")
    assert "error: caller.py:9: " in done.out
    assert calls.ok("build", "caller.py", "main", "--no-check").code == 0


def test_an_import_that_the_callers_image_lacks(calls: Offline) -> None:
    with_import(calls)
    done = calls("plan", "caller.py", "main", "--check")
    assert done.code == 10
    assert "top calls work (low), whose module imports alpha (alpha 1.0): " in done.out
    assert "not installed here, and stood in for: alpha\n" in done.err, "and that stopped nothing"


def test_annotations_for_github(calls: Offline) -> None:
    without_dependency(calls)
    done = calls("plan", "caller.py", "main", "--check", "--format", "github")
    assert done.code == 10
    (line,) = done.out.splitlines()
    assert line.startswith("::error file=caller.py,line=9,title=depends-on-missing::main (top) calls work (low), but ")


def test_findings_are_in_the_json(calls: Offline) -> None:
    without_dependency(calls)
    findings = calls.ok("plan", "caller.py", "main", "--json").json()["findings"]
    assert [(f["code"], f["line"]) for f in findings if f["severity"] == "error"] == [("depends-on-missing", 9)]


def test_what_environments_and_tasks_ask_for_is_told(calls: Offline) -> None:
    asks = 'resources=flyte.Resources(cpu=1, gpu="A100:2"), reusable=flyte.ReusePolicy(replicas=(2, 5)), queue="slow"'
    calls.write(CALLEE.replace('"alpha"))', f'"alpha"), {asks})'), "callee.py")
    calls.write(CALLER.replace("@top.task", "@top.task(queue='fast')"), "caller.py")
    found = {a["name"]: a for a in calls.ok("plan", "caller.py", "main", "--json").json()["asks"]}
    assert found["low"] == {
        "name": "low",
        "resources": {"cpu": "1"},
        "accelerator": "A100:2",
        "reuse": {"replicas": [2, 5], "concurrency": 1},
        "queue": "slow",
    }
    assert (found["top"]["resources"], found["top"]["reuse"], found["top.main"]["queue"]) == ({}, None, "fast")
    shown = calls.ok("plan", "caller.py", "main").out
    assert "low asks for cpu 1 · A100:2 · reused 2–5 × 1 · queue slow\n" in shown
    assert "top.main asks for queue fast\n" in shown
    assert "top asks" not in shown


def test_a_stale_lock_fails_the_check_with_its_own_code(calls: Offline) -> None:
    calls.write(CALLEE.replace('"alpha"', '"alpha<9"'), "callee.py")
    assert "stale" in calls.refused(4, "plan", "caller.py", "--check")


@pytest.mark.parametrize("name", ["plan.svg", "plan.html"])
def test_a_picture(calls: Offline, name: str) -> None:
    done = calls.ok("plan", "caller.py", "main", "--graph", name)
    text = (calls.project / name).read_text()
    assert "data-name=&quot;top&quot;" in text or 'data-name="top"' in text
    assert f"drawn to {name}\n" in done.err


def test_a_picture_of_another_kind_is_refused(calls: Offline) -> None:
    assert "expected a name that ends in .svg, .html, .dot or .png, or `-`, found `plan.pdf`" in calls.refused(
        2, "plan", "caller.py", "--graph", "plan.pdf"
    )
    assert "cannot be written" in calls.refused(9, "plan", "caller.py", "--graph", "caller.py/plan.svg")


def test_explanations(calls: Offline) -> None:
    calls.ok("build", "caller.py")
    calls.write(CALLEE.replace('with_pip_packages("alpha")', 'with_pip_packages("alpha", "beta")'), "callee.py")
    calls.publish("beta", "2.0")
    calls.ok("lock", "caller.py")
    told = calls.ok("plan", "caller.py", "--explain", "low").out
    assert "+ beta 2.0" in told
    (explained,) = calls.ok("plan", "caller.py", "--explain", "low", "--json").json()["explanations"]
    assert explained["environment"] == "low"
    assert "no environment `nobody` in this plan" in calls.refused(2, "plan", "caller.py", "--explain", "nobody")


def test_all_is_every_environment_and_nothing_beside_it(calls: Offline) -> None:
    assert len(calls.ok("plan", "caller.py", "--all", "--json").json()["images"]) == 2
    assert "--all is every environment" in calls.refused(2, "plan", "caller.py", "main", "--all")


def plan_process(calls: Offline, *more: str) -> subprocess.CompletedProcess[str]:
    """`plan` as a process of its own, telling what it imported."""
    script = (
        "import atexit, sys; sys.argv[0] = 'flyte-build'\nfrom flyte_build.cli import entry\n"
        "slow = ('flyte', 'click', 'rich', 'httpx', 'pydantic')\n"
        "atexit.register(lambda: print([m for m in slow if m in sys.modules], file=sys.stderr))\nentry()\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script, "plan", "caller.py", "main", *more],
        cwd=calls.project, capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_nothing_changed_is_answered_without_importing_the_sdk(calls: Offline) -> None:
    first = plan_process(calls)
    again = [plan_process(calls) for _ in range(3)]
    assert {p.stdout for p in again} == {first.stdout}
    assert json.loads(again[-1].stderr.splitlines()[-1].replace("'", '"')) == []
    without_dependency(calls)
    changed = plan_process(calls)
    assert "does not depend on low" in changed.stdout
    assert "flyte" in changed.stderr


def test_what_a_build_changed_is_noticed(calls: Offline) -> None:
    assert all("to build" in plan_process(calls).stdout for _ in range(3))
    calls.ok("build", "caller.py")
    assert "nothing to build" in plan_process(calls).stdout
    for blob in (calls.store / "oci" / "blobs" / "sha256").iterdir():
        blob.unlink()
    assert "2 of 2 images to build" in plan_process(calls).stdout


def test_a_build_with_nothing_to_do_is_answered_from_the_record(calls: Offline) -> None:
    calls.ok("build", "caller.py")
    script = "import sys; sys.argv[0] = 'flyte-build'\nfrom flyte_build.cli import entry\nentry()\n"

    def build() -> str:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", script, "build", "caller.py"],
            cwd=calls.project, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.endswith("nothing to build: 2 images are cached\n")
        return done.stderr

    time.sleep(2.1)  # what is younger is not trusted by its times
    imported = [build() for _ in range(2)][-1]
    assert "flyte_build.planning.noop" in imported
    assert "flyte._image" not in imported
    (calls.store / "artifacts").rename(calls.store / "elsewhere")
    assert "flyte_build.planning.noop" in build(), "artifacts are no longer needed"
    blob = max((calls.store / "oci" / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    blob.unlink()
    (calls.store / "elsewhere").rename(calls.store / "artifacts")
    assert "built " in calls.ok("build", "caller.py").out
