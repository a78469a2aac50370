"""An API server that makes pods of Jobs by itself and has them end, for a driver's own cost where there is no cluster.

What it tells of each Job is what controllers, a scheduler and a hollow node were seen to tell on a real cluster: the
same changes of the same objects in the same order, as large as they are there. It schedules nothing and forgets each
Job with its pod, so that it costs little beside what is measured.

    python -m tests.cluster.loopback PORT OPTIONS

OPTIONS are JSON: ``rate`` (pods made a second), ``log`` (bytes that each has said),
``outputs`` (an S3 store's URL, and its options in ``store``, where each pod leaves its outputs), ``refuse`` (every so
manyth POST is first answered with 429).
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
JOBS, PODS, EVENTS = "jobs", "pods", "events"
_OUTPUTS = b"\x0a\x0a\x0a\x02o0\x12\x04\x0a\x02\x08\x01"


def _managed(manager: str, fields: Object, sub: str = "") -> Object:
    return {
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": _now(), "fieldsType": "FieldsV1",
        "fieldsV1": fields, **({"subresource": sub} if sub else {}),
    }  # fmt: skip


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _fields(value: Any) -> Object:
    """What the API server keeps of who set which field: every one by its name."""
    if isinstance(value, dict):
        return {f"f:{k}": _fields(v) for k, v in value.items()}
    if isinstance(value, list):
        named = [v for v in value if isinstance(v, dict) and "name" in v]
        return {f'k:{{"name":"{v["name"]}"}}': {".": {}, **_fields(v)} for v in named}
    return {}


_ORDER = ("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp")


def _as_go_writes(value: Object) -> Object:
    """In the order of its types' fields."""
    metadata = value["metadata"]
    ordered = {k: metadata[k] for k in _ORDER if k in metadata}
    return {"kind": value["kind"], "apiVersion": value["apiVersion"]} | value | {"metadata": {**ordered, **metadata}}


@dataclass
class Server:
    """``refused`` counts the answers 429."""

    rate: float = 100.0
    log: int = 0
    refuse: int = 0
    store: Any = None
    refused: int = 0
    objects: dict[str, dict[str, Object]] = field(default_factory=lambda: collections.defaultdict(dict))
    watching: dict[str, list[tuple[dict[str, str], set[str], asyncio.StreamWriter]]] = field(
        default_factory=lambda: collections.defaultdict(list)
    )
    version: int = 1
    _posts: int = 0
    _next: float = 0.0
    _names: Any = field(default_factory=itertools.count)
    _playing: set[asyncio.Task[None]] = field(default_factory=set)
    _backlog: dict[str, collections.deque[tuple[int, Object, Any, bytes]]] = field(
        default_factory=lambda: collections.defaultdict(lambda: collections.deque(maxlen=4096))
    )

    def tell(self, kind: str, what: str, value: Object) -> None:
        self.version += 1
        value["metadata"]["resourceVersion"] = str(self.version)
        if what == "DELETED":
            self.objects[kind].pop(value["metadata"]["name"], None)
        elif kind != EVENTS:
            self.objects[kind][value["metadata"]["name"]] = value
        told = {"type": what, "object": _as_go_writes(value)}
        line = json.dumps(told, separators=(",", ":")).encode() + b"\n"
        labels = value["metadata"].get("labels", {})
        self._backlog[kind].append((self.version, labels, value.get("reason"), line))
        for wanted, passed, writer in self.watching[kind]:
            if wanted.items() <= labels.items() and value.get("reason") not in passed:
                _chunk(writer, line)

    # -- controllers, scheduler, node ----------------------------------------------------------------------

    def created(self, job: Object) -> Object:
        spec, metadata = job["spec"], job["metadata"]
        uid = f"00000000-0000-4000-8000-{next(self._names):012d}"
        template = spec["template"]
        own = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": metadata["name"]}
        own |= {"controller-uid": uid, "job-name": metadata["name"]}
        template["metadata"]["labels"] = {**template["metadata"].get("labels", {}), **own}
        for container in template["spec"]["containers"]:
            container |= {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
        template["spec"] |= {
            "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        }  # fmt: skip
        spec |= {
            "completionMode": "NonIndexed", "completions": 1, "parallelism": 1, "manualSelector": False,
            "podReplacementPolicy": "TerminatingOrFailed", "suspend": False,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}},
        }  # fmt: skip
        metadata |= {"uid": uid, "generation": 1, "creationTimestamp": _now(), "annotations": {}}
        metadata["managedFields"] = [
            _managed("flyte-build", {"f:metadata": _fields(metadata), "f:spec": _fields(spec)})
        ]
        job["status"] = {}
        self.tell(JOBS, "ADDED", job)
        task = asyncio.create_task(self._play(job))
        self._playing.add(task)
        task.add_done_callback(self._playing.discard)
        return job

    def _job(self, job: Object, **status: Any) -> None:
        job["status"] = status
        managed = job["metadata"]["managedFields"][:1]
        job["metadata"]["managedFields"] = [*managed, _managed("kube", {"f:status": _fields(status)}, "status")]
        self.tell(JOBS, "MODIFIED", job)

    def _event(self, about: Object, kind: str, reason: str, message: str, component: str) -> None:
        metadata = about["metadata"]
        name = f"{metadata['name']}.{next(self._names):016x}"
        value = {
            "kind": "Event", "apiVersion": "v1",
            "metadata": {
                "name": name, "namespace": metadata["namespace"], "uid": name, "creationTimestamp": _now(),
                "managedFields": [_managed(component, {"f:count": {}, "f:firstTimestamp": {}, "f:involvedObject": {},
                                                       "f:lastTimestamp": {}, "f:message": {}, "f:reason": {},
                                                       "f:source": {"f:component": {}}, "f:type": {}})],
            },
            "involvedObject": {
                "kind": kind, "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"],
                "apiVersion": "v1", "resourceVersion": metadata["resourceVersion"],
            },
            "reason": reason, "message": message, "source": {"component": component}, "firstTimestamp": _now(),
            "lastTimestamp": _now(), "count": 1, "type": "Normal", "eventTime": None, "reportingComponent": component,
            "reportingInstance": "",
        }  # fmt: skip
        self.tell(EVENTS, "ADDED", value)

    async def _play(self, job: Object) -> None:
        now = time.monotonic()
        self._next = max(self._next, now) + 1 / self.rate
        await asyncio.sleep(self._next - now)
        metadata, template = job["metadata"], job["spec"]["template"]
        name = f"{metadata['name']}-{next(self._names) % 60466176:05d}"
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
        uid = f"11111111-0000-4000-8000-{next(self._names):012d}"
        pod: Object = {
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {
                "name": name, "generateName": f"{metadata['name']}-", "namespace": metadata["namespace"], "uid": uid,
                "creationTimestamp": _now(), "labels": template["metadata"]["labels"],
                "annotations": template["metadata"].get("annotations", {}),
                "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
                "finalizers": ["batch.kubernetes.io/job-tracking"],
                "managedFields": [_managed("kube-controller-manager", {"f:metadata": _fields(template["metadata"]),
                                                                       "f:spec": _fields(template["spec"])})],
            },
            "spec": {**template["spec"], "preemptionPolicy": "PreemptLowerPriority", "priority": 0},
            "status": {"phase": "Pending", "qosClass": "Guaranteed"},
        }  # fmt: skip
        self.tell(PODS, "ADDED", pod)
        self._event(job, "Job", "SuccessfulCreate", f"Created pod: {name}", "job-controller")
        started = {"active": 1, "ready": 0, "startTime": _now(), "terminating": 0, "uncountedTerminatedPods": {}}
        self._job(job, **started)
        pod["spec"]["nodeName"] = "hollow-0001"
        condition = {"lastProbeTime": None, "lastTransitionTime": _now(), "status": "True", "type": "PodScheduled"}
        pod["status"]["conditions"] = [condition]
        self.tell(PODS, "MODIFIED", pod)
        self._event(pod, "Pod", "Scheduled", f"Successfully assigned {name} to hollow-0001", "default-scheduler")
        await asyncio.sleep(0.05)
        self._at(pod, {"running": {"startedAt": _now()}}, "Running")
        self._job(job, **{**started, "ready": 1})
        await asyncio.sleep(float(template["metadata"].get("annotations", {}).get("hollow/runs", "0s").rstrip("s")))
        if metadata["name"] not in self.objects[JOBS]:
            return
        await self._leave(metadata["labels"])
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": _now(), "finishedAt": _now()}
        self._at(pod, {"terminated": ended}, "Succeeded")
        self._job(job, **{**started, "active": 0, "uncountedTerminatedPods": {"succeeded": [uid]}})
        pod["metadata"]["finalizers"] = []
        self.tell(PODS, "MODIFIED", pod)
        done = {**started, "active": 0, "succeeded": 1}
        met = {"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached",
               "message": "Reached expected number of succeeded pods", "lastProbeTime": _now(),
               "lastTransitionTime": _now()}  # fmt: skip
        self._job(job, **done, conditions=[met])
        self._event(job, "Job", "Completed", "Job completed", "job-controller")
        self._job(job, **done, conditions=[met, {**met, "type": "Complete"}], completionTime=_now())

    def _at(self, pod: Object, state: Object, phase: str) -> None:
        container = pod["spec"]["containers"][0]
        told = {"name": container["name"], "image": container["image"], "state": state, "ready": phase == "Running",
                "lastState": {}, "restartCount": 0, "imageID": "", "started": None}  # fmt: skip
        pod["status"] |= {"phase": phase, "startTime": _now(), "containerStatuses": [told]}
        managed = pod["metadata"]["managedFields"][:1]
        pod["metadata"]["managedFields"] = [*managed, _managed("kube", {"f:status": _fields(pod["status"])}, "status")]
        self.tell(PODS, "MODIFIED", pod)

    async def _leave(self, labels: Object) -> None:
        if self.store is not None:
            import obstore

            place = f"{labels['run']}/meta/{labels['action']}/{labels['attempt']}/outputs.pb"
            await obstore.put_async(self.store, place, _OUTPUTS)

    # -- what is asked -------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._one(reader, writer):
                await writer.drain()
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.partition("\r\n")[0].split(" ")
        told = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(told.get("content-length", "0")))
        where = urlsplit(target)
        query = {k: v[-1] for k, v in parse_qs(where.query).items()}
        rest = where.path.partition("/namespaces/")[2].split("/")
        kind, name, sub = (*rest[1:], "", "", "")[:3]
        held = self.objects[kind]
        if method == "POST":
            self._posts += 1
            if self.refuse and self._posts % self.refuse == 0:
                self.refused += 1
                _answer(writer, 429, {"message": "too many"}, "Retry-After: 1\r\n")
                return True
            value = json.loads(body)
            if value["metadata"]["name"] in held:
                _answer(writer, 409, {"reason": "AlreadyExists", "message": "exists"})
            elif kind == JOBS:
                _answer(writer, 201, self.created(value))
            else:
                value["metadata"]["uid"] = f"uid-{next(self._names)}"
                self.tell(kind, "ADDED", value)
                _answer(writer, 201, value)
        elif method == "DELETE":
            if name in held:
                self.tell(kind, "DELETED", held[name])
            _answer(writer, 200, {})
        elif query.get("watch"):
            self._watch(kind, query, writer)
        elif sub == "log":
            _answer(writer, 200, b"x" * (self.log - 1) + b"\n" if self.log else b"")
        elif name:
            _answer(writer, 200, held[name]) if name in held else _answer(writer, 404, {"message": "not found"})
        else:
            wanted = _wanted(query)
            items = [v for v in held.values() if wanted.items() <= v["metadata"].get("labels", {}).items()]
            _answer(writer, 200, {"metadata": {"resourceVersion": str(self.version)}, "items": items})
        return True

    def _watch(self, kind: str, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        wanted, since = _wanted(query), int(query.get("resourceVersion") or 0)
        selected = [part.partition("!=") for part in query.get("fieldSelector", "").split(",")]
        passed = {value for name, _, value in selected if name == "reason"}
        for version, labels, reason, line in self._backlog[kind]:
            if version > since and wanted.items() <= labels.items() and reason not in passed:
                _chunk(writer, line)
        self.watching[kind].append((wanted, passed, writer))


def _wanted(query: dict[str, str]) -> dict[str, str]:
    return dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)


def _chunk(writer: asyncio.StreamWriter, line: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(line), line))


def _answer(writer: asyncio.StreamWriter, status: int, value: Object | bytes, more: str = "") -> None:
    data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\n{more}Content-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)


async def _main(port: int, options: Object) -> None:
    if url := options.pop("outputs", ""):
        from obstore.store import from_url

        told = options.pop("store", {})
        client: Any = {"allow_http": True} if told.pop("allow_http", "") == "true" else None
        options["store"] = from_url(url, client_options=client, **told)
    server = Server(**options)
    async with await asyncio.start_server(server.serve, "127.0.0.1", port, limit=1 << 24) as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), json.loads(sys.argv[2])))
