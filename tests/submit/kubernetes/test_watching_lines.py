"""Lines of a watch as an API server writes them: those that say nothing new are passed over, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from flyte_build.submit.kubernetes.api import Cluster
from flyte_build.submit.kubernetes.known import slim
from flyte_build.submit.kubernetes.watching import EVENTS, JOBS, PODS, Watcher
from tests.support.apiserver import ApiServer


class _Lines(Cluster):
    """Answers each watch with lines that are there already."""

    def __init__(self) -> None:
        super().__init__("http://nowhere", None)
        self.told: list[bytes] = []

    def lines(self, path: str, query: Mapping[str, str], seconds: float) -> Iterator[bytes]:
        yield from self.told


class _Bench:
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.cluster = _Lines()
        self.changed: list[str] = []
        self.watcher = Watcher(self.cluster, "run=r", self.changed.append)
        self.version = 1

    def line(self, what: str, name: str = "a", *, suspend: bool = False, **status: Any) -> bytes:
        self.version += 1
        metadata: dict[str, Any] = {"name": name, "namespace": "team", "uid": f"u-{name}"}
        metadata["resourceVersion"] = str(self.version)
        # What is set by whom is named as what is set.
        metadata["managedFields"] = [{"manager": "x", "fieldsV1": {"f:status": {"f:conditions": {}}}}]
        kind = {"kind": "Job", "apiVersion": "batch/v1"}
        if self.kind == PODS:
            metadata = {"name": f"{name}-x", "generateName": f"{name}-", **{k: metadata[k] for k in list(metadata)[1:]}}
            metadata["labels"] = {"batch.kubernetes.io/job-name": name, "job-name": name}
            kind = {"kind": "Pod", "apiVersion": "v1"}
        value = {**kind, "metadata": metadata, "spec": {"suspend": suspend}, "status": status}
        return json.dumps({"type": what, "object": value}, separators=(",", ":")).encode()

    def tell(self, *lines: bytes) -> list[str]:
        """Of whom something was new. It is gone on from the last line, whatever that said."""
        self.changed.clear()
        self.cluster.told = list(lines)
        assert self.watcher._watch(self.kind, "1") == str(self.version)
        return list(self.changed)


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


def test_of_a_job_that_goes_its_way_only_its_end_is_new() -> None:
    bench = _Bench(JOBS)
    bench.watcher.ask("a")
    assert bench.tell(bench.line("ADDED")) == ["a"]
    assert bench.tell(bench.line("MODIFIED", active=1), bench.line("MODIFIED", active=1, ready=1)) == []
    assert bench.tell(bench.line("MODIFIED", **COMPLETE)) == ["a"]
    job = bench.watcher.known("a").job
    assert job is not None
    assert job["status"] == COMPLETE
    assert bench.tell(bench.line("MODIFIED")) == ["a"], "a condition that is there no more"
    assert bench.tell(bench.line("DELETED")) == ["a"]
    assert bench.watcher.known("a").job is None


def test_a_job_that_is_held_back_and_let_go_is_told_of_both() -> None:
    bench = _Bench(JOBS)
    bench.watcher.ask("a")
    assert bench.tell(bench.line("ADDED")) == ["a"]
    assert bench.tell(bench.line("MODIFIED", suspend=True)) == ["a"]
    assert bench.tell(bench.line("MODIFIED")) == ["a"]


def test_each_change_of_a_pod_is_told() -> None:
    bench = _Bench(PODS)
    bench.watcher.ask("a")
    assert bench.tell(bench.line("ADDED", phase="Pending"), bench.line("MODIFIED", phase="Running")) == ["a", "a"]
    (pod,) = bench.watcher.known("a").pods.values()
    assert pod["status"] == {"phase": "Running"}


@pytest.mark.parametrize("kind", [JOBS, PODS])
def test_what_nobody_asks_for_is_passed_over(kind: str) -> None:
    bench = _Bench(kind)
    bench.watcher.ask("b")
    assert bench.tell(bench.line("ADDED"), bench.line("MODIFIED", **COMPLETE), bench.line("DELETED")) == []
    assert bench.watcher._attempts.keys() == {"b"}


def _ordered(**status: Any) -> dict[str, Any]:
    """What a pod's line says, in the order of Go's fields."""
    value: dict[str, Any] = json.loads(_Bench(PODS).line("ADDED", **status))
    metadata = value["object"]["metadata"]
    metadata["managedFields"] = metadata.pop("managedFields") * 2
    return value


def _written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def test_who_set_which_field_is_not_read() -> None:
    value = _ordered(phase="Pending", message='"managedFields":[{ and }]},"spec":{')
    line = _written(value)
    managed = _written(value["object"]["metadata"]["managedFields"])
    assert len(slim(line)) == len(line) - len(managed) + 2
    value["object"]["metadata"]["managedFields"] = []
    assert slim(line) == slim(slim(line)) == _written(value)


@pytest.mark.parametrize("behind", [{"ownerReferences": [{"name": "b"}]}, {"labels": {"job-name": "a"}}])
def test_what_comes_behind_it_is_read(behind: dict[str, Any]) -> None:
    value = _ordered(phase="Pending")
    value["object"]["metadata"] |= behind
    value["object"]["metadata"]["more"] = [{}]
    line = _written(value)
    assert json.loads(slim(line)) == value


@pytest.mark.parametrize("field", ["}]", '}]},"spec":{', "a]"])
def test_one_with_its_marks_in_a_string_is_read(field: str) -> None:
    value = _ordered(phase="Pending")
    value["object"]["metadata"]["managedFields"][0]["fieldsV1"] = {f"v:{field}": {}}
    bench = _Bench(PODS)
    bench.watcher.ask("a")
    bench.version += 1
    assert bench.tell(_written(value)) == ["a"]
    (pod,) = bench.watcher.known("a").pods.values()
    assert pod["status"] == {"phase": "Pending"}


def test_one_with_lists_in_it_is_read() -> None:
    value = _ordered(phase="Pending")
    value["object"]["metadata"]["managedFields"] = [{"a": {"b": [{}]}, "spec": {"c": 1}}]
    line = _written(value)
    assert slim(line) != line, "its end is not the one that was taken for it"
    bench = _Bench(PODS)
    bench.watcher.ask("a")
    bench.version += 1
    assert json.loads(line) == value
    assert bench.tell(line) == ["a"]


def test_a_line_that_is_written_otherwise_is_read() -> None:
    bench = _Bench(JOBS)
    bench.watcher.ask("a")
    bench.tell(bench.line("ADDED"))
    other = json.dumps(json.loads(bench.line("MODIFIED", active=1)), indent=None).encode()
    assert bench.tell(other) == ["a"]


def test_events_of_what_goes_well_are_not_asked_for(api: ApiServer) -> None:
    watcher = Watcher(api.cluster(), "run=r", lambda job: None)
    watcher.start()
    try:
        with api.changed:
            path = f"/{EVENTS.rpartition('/')[2]}?"
            assert api.changed.wait_for(lambda: sum(path in a and "reason%21%3DScheduled" in a for a in api.asked) == 2)
    finally:
        watcher.close()
