"""`flyte-build run --on`, as people type it, on the real cluster: whole runs, by drivers that are killed in them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyte_build.locks.sidecars import write_sidecars
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space
from tests.cluster.runs import Project, kill_drivers

pytestmark = pytest.mark.integration

MAIN = ("main.py", "main", "--sequence", "AAGG")
# As many kills as a run of docs/kubernetes.md's figures has; a handful where nobody asks for more.
KILLS = int(os.environ.get("FLYTE_BUILD_TEST_KILLS", "6"))
ACTIONS = 50 if KILLS > 6 else 8


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runs", numbered=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(cluster: Cluster, api: Api, space: Space, home: Path, tmp_path: Path) -> Iterator[Project]:
    made = Project(home, tmp_path / "project", cluster, space)
    yield made
    made.close()


def asked(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def test_the_example_whose_api_server_goes_away_meanwhile(project: Project, cluster: Cluster) -> None:
    """Detached; then read, listed and resumed by the storage."""
    name = project.ok("run", "--on", "test", "--detach", *MAIN).strip()
    project.until(lambda: any(a["task"] == "msa_env.run_msa" for a in project.newest()["actions"]))
    cluster.processes.stop("apiserver")
    time.sleep(10)  # an outage has a length
    cluster.up(say=print)
    project.until(lambda: project.newest()["phase"] not in ("running", "killed"))
    run = project.newest()
    assert (run["name"], run["phase"]) == (name, "succeeded")
    assert [(a["task"], a["phase"], a["attempt"]) for a in run["actions"]] == [
        ("multi_env.main", "succeeded", 1), ("msa_env.run_msa", "succeeded", 1), ("fold_env.run_fold", "succeeded", 1),
    ]  # fmt: skip
    assert "Running AlphaFold2 for sequence: AAGG" in project.ok("logs", "--on", "test", name)
    done = json.loads(project.ok("run", "--on", "test", "--resume", name, "--json"))
    assert [a["source"] for a in done["actions"]] == ["resume"]
    assert done["outputs"]["o0"][1] == "AAGG: 6 lines"


def test_runs_whose_drivers_are_killed_again_and_again(project: Project) -> None:
    """No action runs twice, none is lost, and the result is right."""
    chance = random.Random(7)
    killed = runs = 0
    while killed < KILLS:
        name = project.ok("run", "--on", "test", "--detach", "fan.py", "main", "--count", str(ACTIONS)).strip()
        runs += 1
        while project.newest()["phase"] in ("running", "killed"):
            if killed < KILLS:
                killed += kill_drivers()
            time.sleep(chance.uniform(0.0, 4.0))
        run = project.newest()
        assert (run["name"], run["phase"]) == (name, "succeeded"), run
        assert {(a["phase"], a["attempt"]) for a in run["actions"]} == {("succeeded", 1)}
        assert len(run["actions"]) == ACTIONS + 1
        assert project.jobs(name) == sorted((a["name"], "1", 1) for a in run["actions"])
        done = json.loads(project.ok("run", "--on", "test", "--resume", name, "--json"))
        assert done["outputs"] == {"o0": sum(x * x for x in range(ACTIONS))}
    print(f"{killed} kills in {runs} runs of {ACTIONS + 1} actions")


def test_what_a_run_does_besides_calling_tasks(project: Project) -> None:
    """A file that is uploaded, a cache, a retry, a report, a secret, and a condition that somebody answers."""
    secret = {"metadata": {"name": "flyte-secrets"}, "stringData": {"word": "hush"}}
    project.space.api.create(f"/api/v1/namespaces/{project.space.name}/secrets", secret)
    (project.folder / "words.txt").write_text("some words")
    running = project.start("run", "--on", "test", "--json", "more.py", "main", "--text", "words.txt")
    project.until(lambda: running.poll() is not None or any(a.get("asks") for a in project.newest()["actions"]))
    assert running.poll() is None, running.communicate()
    name = project.newest()["name"]
    looking = project.start("ui", "--on", "test", "--no-open", name)
    assert looking.stdout is not None
    page = looking.stdout.readline().strip()
    state = page.replace(f"/run/{name}", f"/api/{name}")
    assert "more.py main" in asked(page)
    assert json.loads(asked(state))["phase"] == "running"
    of_main = json.loads(asked(f"{state}/a0"))
    assert ["read: some words" in log["text"] for log in of_main["logs"]] == [True], "of a pod that runs"
    assert name in asked(page.partition("run/")[0])
    wrong = project.start("signal", "--on", "test", name, "approve", "maybe")
    assert "expected true or false, found 'maybe'" in wrong.communicate(timeout=60)[1]
    project.ok("signal", "--on", "test", name, "approve", "true")
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    run = json.loads(out)
    assert run["outputs"] == {"o0": ["some words", "42", "1", "True", "hush"]}
    assert json.loads(asked(state))["phase"] == "succeeded"
    assert "some words" in json.loads(asked(f"{state}/a0"))["outputs"]["o0"]
    looking.send_signal(signal.SIGINT)
    assert looking.wait(60) == 0
    assert [Path(report).read_text() for report in run["reports"] if "hello" in Path(report).read_text()] != []
    assert {a["task"]: a["attempt"] for a in run["actions"]} == {
        "msa_env.main": 1, "msa_env.double": 1, "msa_env.flaky": 2, "approve": 0,
    }  # fmt: skip


def test_a_container_task_in_an_image_of_its_own(project: Project) -> None:
    """With a pod template of the cluster, whose other container runs beside it and has no end of its own."""
    own = {"name": "primary", "image": "any", "env": [{"name": "FROM", "value": "template"}]}
    beside = {"name": "beside", "image": project.space.image, "args": ["sleep=1h"]}
    spec = {"containers": [own, beside], "terminationGracePeriodSeconds": 1}
    template = {"metadata": {"name": "loud"}, "template": {"spec": spec}}
    project.space.api.create(f"/api/v1/namespaces/{project.space.name}/podtemplates", template)
    (project.folder / "words.txt").write_text("some words")
    done = json.loads(project.ok("run", "--on", "test", "--json", "raw.py", "main", "--text", "words.txt"))
    assert done["outputs"] == {"o0": ["SOME WORDS", "10"]}
    assert "this is printed" in project.ok("logs", "--on", "test", project.newest()["name"], "loud")


def test_a_task_starts_runs_and_calls_what_was_deployed(project: Project) -> None:
    """By TLS, which is heard of by all that a runtime calls, and by uploads."""
    settings = project.folder / "pyproject.toml"
    settings.write_text(f"{settings.read_text().rstrip()}\n            tls = true\n")
    deployed = json.loads(project.ok("deploy", "--on", "test", "--json", "shout.py"))
    assert [(t["name"], t["known"]) for t in deployed["tasks"]] == [("msa_env.shout", False)]
    running = project.start("run", "--on", "test", "--json", "starts.py", "main")
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    assert "was deployed" not in err
    run = json.loads(out)
    assert run["outputs"] == {"o0": ["HELLO!", "42", "WHAT?"]}
    assert sorted((a["task"], bool(a.get("run"))) for a in run["actions"]) == [
        ("msa_env.double", True), ("msa_env.main", False), ("msa_env.shout", False), ("msa_env.shout", True),
    ]  # fmt: skip
    assert {a.get("run") for a in run["actions"] if a["task"] == "msa_env.double"} == {"doubled"}


def _drivers(project: Project) -> list[dict[str, Any]]:
    """The Jobs of drivers that there are."""
    jobs = project.space.api.items(project.space.jobs)
    return [job for job in jobs if job["metadata"]["labels"].get("app.kubernetes.io/component") == "driver"]


def test_an_app_answers_inside_of_the_cluster_while_the_run_lasts(project: Project) -> None:
    locks = project.folder / "lockfiles"
    lock = json.loads((locks / "msa_env.json").read_text())
    (locks / "front.json").write_text(json.dumps({**lock, "environment": "front"}))
    # A tag that no registry has: the lock says which image it was.
    name, _, digest = project.space.image.partition("@")
    write_sidecars(locks, {f"{name}:gone": digest})
    asks = (project.folder / "asks.py").read_text()
    (project.folder / "asks.py").write_text(asks.replace('SIDECAR = ""', f'SIDECAR = "{name}:gone"'))
    project.ok("deploy", "--on", "test", "asks.py")
    # Tasks of the run's own code have the run's apps, however they are called.
    with (project.folder / "asks.py").open("a") as f:
        f.write("# Changed since.\n")
    running = project.start("run", "--on", "test", "--json", "asks.py", "main")
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    endpoint, status, other, answered = json.loads(out)["outputs"]["o0"]
    assert endpoint.startswith("http://front-")
    assert endpoint.endswith(f".{project.space.name}.svc")
    assert (status, answered) == ("200", "200")
    assert other.startswith("http://front-")
    assert other != endpoint, "what is called by name has the app that it was deployed with"
    # The driver says so once the run has ended, which is told before.
    project.until(lambda: [job["spec"]["ttlSecondsAfterFinished"] for job in _drivers(project)] == [86400])
    apps = f"/apis/apps/v1/namespaces/{project.space.name}/deployments"
    project.until(lambda: not project.space.api.items(apps))
    serving = project.start("serve", "--on", "test", "--json", "asks.py", "front")
    assert serving.stdout is not None
    told = json.loads(serving.stdout.readline())
    assert (told["event"], told["url"].partition("-")[0]) == ("ready", "http://front")
    (made,) = project.space.api.items(apps)
    images = [c["image"] for c in made["spec"]["template"]["spec"]["containers"]]
    assert images[1:] == [f"{name}:gone@{digest}"], "beside it runs what the lock pins"
    serving.send_signal(signal.SIGINT)
    _, said = serving.communicate(timeout=120)
    assert serving.returncode == 0, said
    project.until(lambda: not project.space.api.items(apps))
    project.until(lambda: not [name for name in project.left() if "serve" in name])


def test_replicas_are_pods_also_when_their_driver_is_killed(project: Project) -> None:
    """A parent and its children share one process, and that of a driver which is gone is followed by another."""
    name = project.ok("run", "--on", "test", "--detach", "reuse.py", "main").strip()
    project.until(lambda: any(a.get("asks") for a in project.newest()["actions"]))
    (before,) = [left for left in project.left() if "replica1" in left and left.startswith(f"{name}-")][:1]
    project.until(lambda: "parent waits" in project.ok("logs", "--on", "test", name, "main"))
    assert kill_drivers() == 1
    project.ok("signal", "--on", "test", name, "go", "true")
    project.until(lambda: project.newest()["phase"] not in ("running", "killed"))
    run = project.newest()
    assert (run["name"], run["phase"]) == (name, "succeeded"), run
    assert {(a["phase"], a["attempt"]) for a in run["actions"] if a["task"] != "go"} == {("succeeded", 1)}
    assert "child " in project.ok("logs", "--on", "test", name, "child")
    assert project.jobs(name) == [], "no action has a Job of its own"
    assert before not in project.left()
    project.until(lambda: not [left for left in project.left() if "replica" in left])
    *children, parent = json.loads(project.ok("run", "--on", "test", "--resume", name, "--json"))["outputs"]["o0"]
    assert len(set(children)) == 1
    assert parent != children[0], "what ran in the replica ran again, and what had ended did not"


@pytest.mark.usefixtures("jobset")
def test_a_clustered_task_whose_pods_meet_after_they_were_begun_anew(project: Project) -> None:
    """By the SDK's own launcher in them, JobSet's controllers, and the failure policy that the task has."""
    done = json.loads(project.ok("run", "--on", "test", "--json", "gang.py", "meet"))
    assert done["outputs"] == {"o0": ["0 of 2", "1 of 2"]}
    assert [(a["task"], a["attempt"]) for a in done["actions"]] == [("msa_env.meet", 1)]
    said = project.ok("logs", "--on", "test", project.newest()["name"])
    assert ["rank 0" in said, "rank 1" in said] == [True, True]


def test_an_interrupt_aborts_and_leaves_nothing_that_runs(project: Project) -> None:
    running = project.start("run", "--on", "test", *MAIN)
    project.until(lambda: [a for a in project.newest()["actions"] if a["phase"] == "running"], 300)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    run = project.newest()
    assert run["phase"] == "aborted"
    project.until(lambda: not project.jobs(run["name"]))


def test_a_run_that_is_driven_from_here_leaves_nothing(project: Project) -> None:
    done = project.ok("run", "--on", "test", "--driver", "here", "--address", project.gateway, "--json", *MAIN)
    assert json.loads(done)["outputs"]["o0"][1] == "AAGG: 6 lines"
    project.until(lambda: not project.left())
