"""What pods print while they run, and what is printed of it once: of one pod, of several, and once they have ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import Phase
from flyte_build.submit.history import Run
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.workbench import tailing
from flyte_build.workbench.tailing import pod_log, pod_logs, tail
from tests.support.apiserver import NAMESPACE, ApiServer, serving

RECORD = ActionRecord("a1", task="gpu.train", phase=Phase.RUNNING, attempt=2)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with serving() as made:
        yield made


def put_pod(api: ApiServer, name: str, log: bytes, **labels: str) -> None:
    whose = {"run": "r1", "action": "a1", "attempt": "2", **labels}
    api.put(JOBS, {"metadata": {"name": name, "labels": whose}})
    api.pod(name, "Running", containerStatuses=[])
    api.documents[f"/api/v1/namespaces/{NAMESPACE}/pods/{name}-abcde/log"] = log


def test_the_pods_of_an_attempt_are_those_with_its_labels(api: ApiServer) -> None:
    put_pod(api, "gang-1", b"one\n")
    put_pod(api, "gang-0", b"nought\n")
    put_pod(api, "before", b"of another attempt\n", attempt="1")
    put_pod(api, "replica", b"of everybody\n", action="")
    cluster = api.cluster()
    assert pod_logs(cluster, "r1", RECORD) == {"gang-0-abcde": b"nought\n", "gang-1-abcde": b"one\n"}
    assert pod_log(cluster, "r1", RECORD) == b"nought\none\n"
    assert pod_logs(cluster, "r2", RECORD) == {}


def told(monkeypatch: pytest.MonkeyPatch, folder: Path, looks: list[dict[str, bytes]], stored: bytes) -> list[bytes]:
    """What is printed of an attempt whose pods have printed these at each look, and whose log is that in the end."""
    run = Run("r1", folder, {}, (RECORD,), running=True, phase=None)
    left = list(looks)

    def looked(*_: Any, **__: Any) -> Run:
        if left:
            return run
        log = folder / "logs" / "a1" / "2.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(stored)
        return replace(run, running=False, actions=(replace(RECORD, phase=Phase.SUCCEEDED),))

    monkeypatch.setattr(tailing, "target_run", looked)
    monkeypatch.setattr(tailing, "cluster_of", lambda on: object())
    monkeypatch.setattr(tailing, "pod_logs", lambda cluster, name, record: left.pop(0))
    return [data for _, _, data in tail("r1", None, "prod", lambda _: None)]


def test_what_one_pod_prints_is_printed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = [{}, {"p": b"one\n"}, {}, {"p": b"one\n"}, {"p": b"one\ntwo\n"}]
    assert told(monkeypatch, tmp_path, looks, b"one\ntwo\nthree\n") == [b"one\n", b"two\n", b"three\n"]


def test_lines_of_several_pods_are_printed_once_though_their_log_is_in_another_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = [{"p0": b"up\n"}, {"p0": b"up\nloss 3\n", "p1": b"up\n"}, {"p0": b"up\nloss 3\n", "p1": b"up\nloss 3\n"}]
    pieces = told(monkeypatch, tmp_path, looks, b"up\nloss 3\nloss 2\nup\nloss 3\nloss 2\n")
    assert pieces == [b"up\n", b"loss 3\nup\n", b"loss 3\n", b"loss 2\nloss 2\n"]


def test_pods_that_were_begun_anew_say_it_all_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = [{"p0": b"up\n", "p1": b"up\n"}, {"q0": b"up\n"}]
    assert told(monkeypatch, tmp_path, looks, b"up\nup\n") == [b"up\nup\n", b"up\n", b"up\n"]
