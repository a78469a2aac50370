"""Apps for the time of a run on a cluster: each a Deployment and a Service, which go with the run's driver.

A Service's name is the app's and a mark of the run, so two runs serve apps of one name beside each other, and the
pattern of the SDK's ``app.endpoint``, in which only the app's name is filled in, leads to this run's. The mark is made
of a series' name: the run's own apps are one, those that a task brings that is called by name another (see
``called_apps``). A pod of an app is made as an attempt's is (image by digest, accelerators, secrets, what its image
needs of a node), and looked at in the same way while it does not answer. The first action waits until every app does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...kernel.values import dataclass, field
from ..action import LaunchRequest, Outcome, SecretRef
from ..template import fill
from .api import ApiError, Cluster
from .errors import Unplaceable
from .mirror import Mirror
from .names import MAIN, label_value
from .needs import NOTHING, Needs
from .pod import MANAGED_BY, Place, job
from .room import Room
from .sight import look
from .templates import named_template
from .watching import EVENTS, PODS, log_query

__all__ = ["DEPLOYMENTS", "PATTERN", "ClusterApp", "ClusterApps", "app_object", "app_request", "deployment", "service"]

DEPLOYMENTS, SERVICES = "apps/v1/deployments", "v1/services"
PATTERN = "INTERNAL_APP_ENDPOINT_PATTERN"
# Seconds in which an app that runs has to answer.
PATIENCE = 300.0
_LOOK = 1.0
_MARK = 8
# A Service is called as RFC 1035 has it: it begins with a letter.
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_MOST_NAME = 63 - 1 - _MARK
_TAIL = 20


@dataclass(frozen=True, slots=True)
class ClusterApp:
    """``spec`` is its container as the SDK describes a task's; ``argv`` may name ``{{.codeBundle}}`` and
    ``{{.rawOutputDataPrefix}}``; ``image`` is a manifest's digest."""

    name: str
    image: str
    spec: bytes
    argv: tuple[str, ...]
    port: int
    secrets: tuple[SecretRef, ...] = ()
    replicas: int = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "image": self.image, "spec": base64.b64encode(self.spec).decode(),
            "argv": list(self.argv), "port": self.port, "replicas": self.replicas,
            "secrets": [[s.key, s.group, s.env] for s in self.secrets],
        }  # fmt: skip

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> ClusterApp:
        return cls(
            str(told["name"]), str(told["image"]), base64.b64decode(told["spec"]), tuple(map(str, told["argv"])),
            int(told["port"]), tuple(SecretRef(*s) for s in told["secrets"]), int(told["replicas"]),
        )  # fmt: skip


def _mark(series: str) -> str:
    return hashlib.sha256(series.encode()).hexdigest()[:_MARK]


def _action(name: str, run: str, series: str) -> str:
    """What its pods are told from others of the run by."""
    return f"app-{name}" if series == run else f"app-{name}-{_mark(series)}"


def app_object(series: str, name: str) -> str:
    """What an app's objects are called; raises :class:`Unplaceable` for a name that no Service has."""
    if not _NAME.fullmatch(name) or len(name) > _MOST_NAME:
        raise Unplaceable(
            f"app {name} can be no Service of a cluster",
            hint=f"expected a letter, then lower case letters, digits and `-`, at most {_MOST_NAME}",
        )
    return f"{name}-{_mark(series)}"


def app_request(
    app: ClusterApp, run: str, image: str, env: Mapping[str, str] | None = None, series: str = ""
) -> LaunchRequest:
    """``app`` as an attempt, which its pod is made as."""
    return LaunchRequest(
        run, _action(app.name, run, series or run), 1, app.name, image, (), env or {}, Path("/dev/null"),
        secrets=app.secrets, task_spec=app.spec, environment=app.name,
    )  # fmt: skip


def _labels(run: str, action: str) -> dict[str, str]:
    return {"run": label_value(run), "action": label_value(action), MANAGED_BY: "flyte-build"}


def deployment(
    app: ClusterApp, request: LaunchRequest, place: Place, argv: Sequence[str], template: Mapping[str, Any] | None,
    needs: Needs = NOTHING, series: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The Deployment of ``app``, of which ``request`` is (see :func:`app_request`). Raises :class:`Unplaceable`."""
    made = job(request, request.image, place, template=template, needs=needs)
    pod = made["spec"]["template"]
    own = pod["metadata"]["annotations"].get(MAIN)
    main = next(c for c in pod["spec"]["containers"] if own in (None, c["name"]))
    main.pop("args", None)
    main["command"] = list(argv)
    main["ports"] = [
        *(p for p in main.get("ports") or () if p.get("containerPort") != app.port),
        {"containerPort": app.port},
    ]
    main.setdefault("readinessProbe", {"tcpSocket": {"port": app.port}, "periodSeconds": 1, "failureThreshold": 1})
    pod["spec"]["restartPolicy"] = "Always"
    labels = _labels(request.run, request.action)
    metadata = {
        "name": app_object(series or request.run, app.name),
        "labels": labels,
        **({"ownerReferences": [dict(place.owner)]} if place.owner is not None else {}),
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": app.replicas, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
            "template": pod,
        },
    }  # fmt: skip


def service(app: ClusterApp, run: str, owner: Mapping[str, Any] | None, series: str = "") -> dict[str, Any]:
    """Its Service, on port 80: the SDK's pattern of endpoints has no place for a port of each app's own."""
    owned = {"ownerReferences": [dict(owner)]} if owner is not None else {}
    series = series or run
    labels = _labels(run, _action(app.name, run, series))
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": app_object(series, app.name), "labels": labels, **owned},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": app.port}]},
    }  # fmt: skip


@dataclass(slots=True)
class ClusterApps:
    """A series of apps of one run. ``place`` has the owner with which they go; ``images`` maps digests to references,
    ``needs`` digests to what they need of a node; ``code`` is the bundle's URI, ``env`` holds for every pod. ``said``
    hears one line about an app whenever it is another. ``series`` is its name, for other apps than the run's own;
    ``room`` knows what is free."""

    cluster: Cluster
    mirror: Mirror
    run: str
    place: Place
    apps: list[ClusterApp]
    images: dict[str, str]
    needs: dict[str, Needs]
    code: str
    env: Mapping[str, str]
    unscheduled: float
    said: Callable[[str, int, str], None]
    clock: Callable[[], float] = time.monotonic
    series: str = ""
    room: Room | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _started: set[str] = field(default_factory=set, init=False)
    _failed: Outcome | None = field(default=None, init=False)

    @property
    def variables(self) -> dict[str, str]:
        """What tasks and apps are told."""
        if not self.apps:
            return {}
        return {PATTERN: f"http://{{app_fqdn}}-{_mark(self.series or self.run)}.{self.cluster.namespace}.svc"}

    def add(self, apps: Iterable[ClusterApp]) -> None:
        """Serve these, too; those that are there by their names stay as they are."""
        there = {app.name for app in self.apps}
        self.apps += [app for app in apps if app.name not in there]

    async def ready(self) -> Outcome | None:
        """Every app answers; else the outcome of whoever wanted them."""
        if not self.apps:
            return None
        async with self._starting:
            new = [app for app in self.apps if app.name not in self._started]
            if new and self._failed is None:
                self._started |= {app.name for app in new}
                self._failed = await self._start(new)
        return self._failed

    async def _start(self, apps: Sequence[ClusterApp]) -> Outcome | None:
        try:
            await asyncio.gather(*(asyncio.to_thread(self._make, app) for app in apps))
            ended = await asyncio.gather(*(self._answers(app) for app in apps))
            return next((outcome for outcome in ended if outcome is not None), None)
        except Unplaceable as e:
            return Outcome(1, "error", f"{e}{f'; {e.hint}' if e.hint else ''}", "Unplaceable", "user")
        except ApiError as e:
            return Outcome(1, "error", e.message, e.reason or "ClusterRefused")

    async def close(self) -> None:
        """Keep what they printed, and end them all."""
        for app in self.apps:
            text = await asyncio.to_thread(self._log, app)
            if text:
                await self.mirror.put(f"{self.run}/workers/{self._action(app)}.log", text)
            for kind in (DEPLOYMENTS, SERVICES):
                await asyncio.to_thread(self.cluster.delete, kind, self._name(app))

    def _name(self, app: ClusterApp) -> str:
        return app_object(self.series or self.run, app.name)

    def _action(self, app: ClusterApp) -> str:
        return _action(app.name, self.run, self.series or self.run)

    def _make(self, app: ClusterApp) -> None:
        """Its objects, or those that an earlier driver of the run made."""
        reference = self.images.get(app.image, "")
        request = app_request(app, self.run, reference, {**self.env, **self.variables}, self.series)
        places = {"codeBundle": self.code, "rawOutputDataPrefix": f"{self.mirror.url}/{self.run}/raw/{request.action}"}
        template = named_template(self.cluster, app.name, app.spec)
        needs = self.needs.get(app.image, NOTHING)
        made = deployment(app, request, self.place, fill(app.argv, places), template, needs, self.series)
        for kind, value in (
            (DEPLOYMENTS, made),
            (SERVICES, service(app, self.run, self.place.owner, self.series)),
        ):
            try:
                self.cluster.create(kind, value)
            except ApiError as e:
                if e.status != 409:
                    raise

    async def _answers(self, app: ClusterApp) -> Outcome | None:
        """Wait until one of its pods is ready; why none is, as an outcome."""
        key, since, line = "", self.clock(), ""
        while True:
            found = await asyncio.to_thread(self.cluster.get, DEPLOYMENTS, self._name(app))
            if ((found or {}).get("status") or {}).get("readyReplicas"):
                self.said("", 0, f"app {app.name} answers")
                return None
            pods, events = await asyncio.to_thread(self._seen, app)
            sight = look({"metadata": {}}, pods, events, unscheduled=self.unscheduled)
            if self.room is not None:
                sight = await self.room.told(self._name(app), sight)
            if sight.line != line:
                line = sight.line
                self.said("", 0, f"app {app.name}: {line}")
            if sight.key != key:
                key, since = sight.key, self.clock()
            patience = PATIENCE if sight.stage == "running" else sight.patience
            if sight.stage == "ended" or found is None or (patience is not None and self.clock() - since >= patience):
                return await asyncio.to_thread(self._why, app, "was deleted" if found is None else line)
            await asyncio.sleep(_LOOK)

    def _seen(self, app: ClusterApp) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        name = self._name(app)
        events = [
            {"reason": e.get("reason"), "message": e.get("message")}
            for page in self.cluster.pages(EVENTS, {})
            for e in page.get("items") or ()
            if str((e.get("involvedObject") or {}).get("name")).startswith(name)
        ]
        return self.pods(app), events

    def pods(self, app: ClusterApp) -> list[dict[str, Any]]:
        """Those of ``app`` that there are. Raises :class:`ApiError`."""
        selector = ",".join(f"{k}={v}" for k, v in _labels(self.run, self._action(app)).items())
        return [p for page in self.cluster.pages(PODS, {"labelSelector": selector}) for p in page.get("items") or ()]

    def _why(self, app: ClusterApp, line: str) -> Outcome:
        said = "\n".join(self._log(app).decode(errors="replace").rstrip().splitlines()[-_TAIL:])
        message = f"app {app.name} does not answer on port {app.port}: {line}{f'{chr(10)}{said}' if said else ''}"
        return Outcome(1, "error", message, "AppFailed", "user")

    def _log(self, app: ClusterApp) -> bytes:
        """What its pods printed, each one's last process that printed anything."""
        texts = []
        for pod in self.pods(app):
            path, query = f"{self.cluster.path(PODS, pod['metadata']['name'])}/log", {"limitBytes": str(1 << 20)}
            for more in ({}, {"previous": "true"}):
                try:
                    text = self.cluster.text(path, {**log_query(pod), **query, **more}, 30.0)
                except (ApiError, OSError):
                    continue
                if text:
                    texts.append(text)
                    break
        return b"".join(texts)
