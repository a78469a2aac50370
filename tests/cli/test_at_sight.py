"""A machine that reaches a target's cluster, not its storage: what the cluster tells, and why the rest is missing."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flyte_build.cli import main
from flyte_build.submit.kubernetes import reading
from flyte_build.submit.kubernetes.mirror import Mirror, Unreachable, mirror_of
from flyte_build.workbench import seen_pages
from flyte_build.workbench.seen_pages import Sight, serving_at_sight
from tests.support import apiserver
from tests.support.apiserver import NAMESPACE, ApiServer
from tests.support.kubeconfig import write_kubeconfig
from tests.support.mute import Mute

JOBS = "batch/v1/jobs"
OURS = {"app.kubernetes.io/managed-by": "flyte-build"}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The cluster of the target `prod`, whose storage is not reached."""
    with apiserver.serving() as api:
        write_kubeconfig(tmp_path / "kube", api.url)
        (tmp_path / "storage").mkdir()
        (tmp_path / "pyproject.toml").write_text(
            f'[tool.flyte-build.targets.prod]\nnamespace = "{NAMESPACE}"\nstorage = "file://{tmp_path}/storage"\n'
            'kubeconfig = "kube"\n'
        )
        monkeypatch.setenv("FLYTE_BUILD_STATE", str(tmp_path / "state"))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(tmp_path)

        async def silent(mirror: Mirror, seconds: float = 0.0) -> None:
            raise Unreachable(f"{mirror.url}: refused", hint="`flyte-build target check TARGET` tries it")

        monkeypatch.setattr(reading, "answers", silent)
        yield api


def attempt(api: ApiServer, run: str, action: str, task: str, began: str, **status: Any) -> str:
    name = f"{run}-{action}-1"
    labels = {**OURS, "run": run, "action": action, "attempt": "1", "task-name": task}
    metadata = {"name": name, "labels": labels, "creationTimestamp": f"2026-11-20T{began}Z"}
    api.put(JOBS, {"metadata": metadata, "spec": {}, "status": {"active": 1, **status}})
    return name


def driver(api: ApiServer, run: str, began: str, **condition: str) -> None:
    labels = {**OURS, "run": run, "app.kubernetes.io/component": "driver"}
    metadata = {"name": f"run-{run}", "labels": labels, "creationTimestamp": f"2026-11-20T{began}Z"}
    api.put(JOBS, {"metadata": metadata, "spec": {}, "status": {"conditions": [condition] if condition else []}})


def container(**state: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "primary", "image": "x", "state": state}]}


@pytest.fixture
def two(api: ApiServer) -> ApiServer:
    """A run that goes on, and one that has ended."""
    driver(api, "r2", "10:00:00")
    api.pod(
        attempt(api, "r2", "a0", "env.main", "10:00:01"),
        "Running",
        **container(running={"startedAt": "2026-11-20T10:00:02Z"}),
    )
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    api.pod(attempt(api, "r2", "b1", "env.work", "10:00:03"), "Pending", **container(waiting=waiting))
    driver(api, "r1", "09:00:00", type="Complete", status="True")
    ends = {"exitCode": 0, "startedAt": "2026-11-20T09:00:02Z", "finishedAt": "2026-11-20T09:00:05Z"}
    api.pod(attempt(api, "r1", "a0", "env.main", "09:00:01"), "Succeeded", **container(terminated=ends))
    return api


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    return out, err


def test_runs_are_listed_by_their_labels(two: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "runs", "--on", "prod")
    rows = [line.split() for line in out.splitlines()]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows[1:]] == [
        ("r2", "env.main", "running", "2"), ("r1", "env.main", "ended", "1")
    ]  # fmt: skip
    assert "the storage of prod is not reached from here: file://" in err
    assert "without who called whom, values, reports" in " ".join(err.split())


def test_one_run_is_shown_with_what_it_waits_for(two: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "runs", "show", "--on", "prod", "r2")
    lines = out.splitlines()
    assert lines[0].startswith("r2 env.main  running, started ")
    assert [line.split()[:4] for line in lines[2:]] == [
        ["a0", "env.main", "1", "running"], ["b1", "env.work", "1", "starting"]
    ]  # fmt: skip
    assert "no such image" in lines[3]
    out, _ = said(capsys, "runs", "show", "--on", "prod", "r1")
    row = out.splitlines()[2].split()
    assert (row[3], row[-2:]) == ("ended", ["3.0", "s"]), "how its task ended is not known"


def test_machines_are_told_where_it_is_from(two: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "runs", "--on", "prod", "--json")[0])
    assert (found["from"], [run["name"] for run in found["runs"]]) == ("cluster", ["r2", "r1"])
    assert found["storage_error"].endswith(": refused")
    one = json.loads(said(capsys, "runs", "show", "--on", "prod", "--json", "r1")[0])
    assert (one["name"], one["going"]) == ("r1", False)
    assert [(a["action"], a["stage"], a["ended"] - a["started"]) for a in one["attempts"]] == [("a0", "ended", 3.0)]


def test_logs_are_those_of_pods_that_are_there(two: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = said(capsys, "logs", "--on", "prod", "r2", "main")
    assert "not reached from here" in err
    assert f"GET /api/v1/namespaces/{NAMESPACE}/pods/r2-a0-1-abcde/log" in " ".join(two.asked)
    assert (
        "the cluster has nothing of an action `other`"
        in said(capsys, "logs", "--on", "prod", "r2", "other", code=12)[1]
    )
    hint = " ".join(said(capsys, "logs", "--on", "prod", "-f", "r2", code=12)[1].split())
    assert "`flyte-build target check prod` tries it; `flyte-build runs show --on prod RUN`" in hint


def test_a_page_has_what_the_cluster_tells(two: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, name in (
        (("page", "--on", "prod"), "r2"),
        (("runs", "show", "--html", "--on", "prod", "r1"), "r1"),
    ):
        out, err = said(capsys, *words)
        assert out.startswith(f"written to {name}.html: env.main, ")
        assert "the storage of prod is not reached from here: file://" in err
    going, over = (_document(tmp_path / f"{name}.html") for name in ("r2", "r1"))
    assert (going["phase"], going["ended"], over["phase"]) == ("running", None, "ended")
    assert over["ended"] - over["actions"][0]["started"] == 3.0
    assert going["told"].startswith("Only what the cluster of prod tells: its storage is not reached (file://")
    found = {a["name"]: (a["task"], a["environment"], a["phase"]) for a in going["actions"]}
    assert found == {"a0": ("env.main", "env", "running"), "b1": ("env.work", "env", "queued")}
    waits = next(a["later"] for a in going["actions"] if a["name"] == "b1")
    assert "no such image" in waits
    assert waits.endswith("Values and reports are in the storage")
    (root,) = over["actions"]
    assert (root["phase"], [t["phase"] for t in root["attempts"]]) == ("ended", ["ended"]), "how is not known"


def _document(page: Path) -> dict[str, Any]:
    line = next(x for x in page.read_text().splitlines() if x.startswith("let RUN = "))
    found: dict[str, Any] = json.loads(line.removeprefix("let RUN = ").removesuffix(";"))
    return found


def test_runs_are_served_as_the_cluster_tells_of_them(two: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_pages, "seen_log", lambda _, attempt, **query: f"{attempt.job} {query}".encode())
    why = Unreachable("file://x: refused", hint="")
    with serving_at_sight("prod", why) as pages:
        threading.Thread(target=pages.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

        def asked(path: str) -> str:
            with urllib.request.urlopen(pages.url + path, timeout=30) as answer:
                return str(answer.read().decode())

        listed = asked("")
        assert "Only what the cluster of prod tells: its storage is not reached (file://x: refused)" in listed
        assert [listed.count(f">{name}<") for name in ("r2", "r1")] == [1, 1]
        assert "· ended" in listed
        now = json.loads(asked("api/r2"))
        assert [a["phase"] for a in now["actions"]] == ["running", "queued"]
        log = json.loads(asked("api/r2/a0"))
        said = "r2-a0-1 {'tailLines': '2000'}"
        assert log["logs"] == [{"number": 1, "text": said, "size": len(said)}]
        pages.shutdown()


def test_who_asks_again_within_a_moment_gets_the_same_answer(two: ApiServer) -> None:
    now = [0.0]
    sight = Sight("prod", Unreachable("refused", hint=""), lambda: now[0])
    sight.runs()
    before = len(two.asked)
    assert sight.find(None).name == "r2"
    assert len(two.asked) == before
    now[0] += 2
    sight.find("r1")
    assert len(two.asked) > before


def test_where_the_cluster_has_none_nothing_is_written(
    api: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    err = " ".join(said(capsys, "page", "--on", "prod", code=12)[1].split())
    assert "the cluster of prod has no runs, and its storage is not reached: file://" in err
    assert "the cluster has nothing of a run `r9`" in said(capsys, "ui", "--no-open", "--on", "prod", "r9", code=12)[1]
    assert not list(tmp_path.glob("*.html"))


def test_neither_is_reached(api: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kube").unlink()
    err = said(capsys, "runs", "--on", "prod", code=12)[1]
    assert "error: file://" in err
    assert "nor is the cluster asked: the kubeconfig " in " ".join(err.split())


def test_no_runs_at_all(api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "runs", "--on", "prod")[0] == "the cluster of prod has no runs\n"
    assert (
        "the cluster of prod has no runs, and its storage is not reached"
        in said(capsys, "logs", "--on", "prod", code=12)[1]
    )


def test_a_storage_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    options = {"endpoint": "", "allow_http": "true", "access_key_id": "x", "secret_access_key": "x", "region": "here"}
    with Mute() as mute:
        mirror = mirror_of("s3://bucket/runs", tmp_path, {**options, "endpoint": f"http://{mute.host}"})
        with pytest.raises(Unreachable, match=r"s3://bucket/runs: no answer within 0\.05 s"):
            asyncio.run(reading.answers(mirror, 0.05))
    asyncio.run(reading.answers(mirror_of(f"file://{tmp_path}", tmp_path, {})))
