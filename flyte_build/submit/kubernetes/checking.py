"""Whether a target can do what runs need of it, one line a question, each with its way out: the cluster's part.

Asked are its API, what this account may, the namespace's objects, the nodes, what else is installed, and the storage
as it is seen from here. Pods that try for themselves are ``probing``'s. What may not be known is said, and counts as
no failure. Leaves nothing behind.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets as random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ...kernel.errors import FlyteBuildError
from ...kernel.values import dataclass
from .access import Answer, ask
from .api import ApiError, Cluster
from .devices import devices_of
from .kueue import GROUP as KUEUE
from .kueue import installed_groups, queue_trouble
from .mirror import mirror_of
from .preflight import SECRETS, nodes_of
from .target import Target
from .watching import JOBS

__all__ = ["Check", "State", "check_cluster", "check_storage", "failed", "pull_logins"]

State = Literal["ok", "failed", "warning", "untried"]
OLDEST = (1, 30)
"""The oldest Kubernetes that runs are tried with; an older one is worth a warning."""
_GRANT = "have an administrator look at and apply what `flyte-build target manifests {name}` prints"
JOBSET = "jobset.x-k8s.io"
_LOGINS = ".dockerconfigjson"


@dataclass(frozen=True, slots=True)
class Check:
    """``what`` was looked at, how it is, what was ``said`` of it, and the ``hint``: what to do."""

    what: str
    state: State
    said: str
    hint: str | None = None

    def to_json(self) -> dict[str, str]:
        told = {"what": self.what, "state": self.state, "said": self.said}
        return told | ({"hint": self.hint} if self.hint else {})


def failed(what: str, error: Exception) -> Check:
    """An error as a line."""
    if isinstance(error, FlyteBuildError):
        return Check(what, "failed", error.message, error.hint)
    return Check(what, "failed", str(error).splitlines()[0] if str(error) else type(error).__name__)


def check_cluster(cluster: Cluster, target: Target) -> Iterator[Check]:
    """The API and what it knows. Where it is not reached, that is the only line."""
    try:
        version = cluster.request("GET", "/version")
    except FlyteBuildError as e:
        yield failed("API server", e)
        return
    yield _version(cluster, version)
    yield from _rights(ask(cluster), target)
    yield _namespace(cluster)
    yield from _pull_secrets(cluster, target)
    yield _devices(cluster, target)
    yield from _installed(cluster, target)


def _version(cluster: Cluster, version: Mapping[str, Any]) -> Check:
    said = f"Kubernetes {version.get('gitVersion')} at {cluster.host}"
    found = re.fullmatch(r"(\d+)\.(\d+)", f"{version.get('major')}.{str(version.get('minor')).rstrip('+')}")
    if found is not None and (int(found[1]), int(found[2])) < OLDEST:
        return Check("API server", "warning", said, f"runs are tried on {OLDEST[0]}.{OLDEST[1]} and newer")
    return Check("API server", "ok", said)


def _rights(answers: list[Answer], target: Target) -> Iterator[Check]:
    """One line a kind of object: what may be done, or what may not."""
    hint = _GRANT.format(name=target.name)
    groups: dict[tuple[str, str, bool], list[Answer]] = {}
    for answer in answers:
        groups.setdefault((answer.resource, answer.why, answer.needed), []).append(answer)
    for (resource, why, needed), several in groups.items():
        refused = [a.verb for a in several if not a.allowed]
        if refused:
            state: State = "failed" if needed else "warning"
            yield Check(f"may use {resource}", state, f"may not {', '.join(refused)} {resource} ({why})", hint)
        else:
            yield Check(f"may use {resource}", "ok", f"{', '.join(a.verb for a in several)} ({why})")


def _namespace(cluster: Cluster) -> Check:
    """Whether it is there, and takes a Job: the API server is asked to admit one without keeping it."""
    what = f"namespace {cluster.namespace}"
    container = {"name": "check", "image": "check"}
    value = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "flyte-build-check"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }  # fmt: skip
    try:
        cluster.create(JOBS, value, dry_run=True)
    except ApiError as e:
        hint = f"kubectl create namespace {cluster.namespace}" if e.status == 404 else e.hint
        return Check(what, "failed", e.message, hint)
    return Check(what, "ok", "takes Jobs")


def _pull_secrets(cluster: Cluster, target: Target) -> Iterator[Check]:
    for name in target.place.pull_secrets:
        what = f"pull secret {name}"
        try:
            found = cluster.get(SECRETS, name)
        except ApiError as e:
            yield (
                Check(what, "untried", f"this account may not look at it: {e.status}")
                if e.status == 403
                else failed(what, e)
            )
            continue
        namespace = cluster.namespace
        if found is None:
            hint = f"kubectl -n {namespace} create secret docker-registry {name} --docker-server=… --docker-username=…"
            yield Check(what, "failed", f"namespace {namespace} has no Secret {name}", hint)
        elif not (hosts := sorted(pull_logins(found))):
            yield Check(what, "failed", f"it is of type {found.get('type')} and holds no logins of registries",
                        "expected one of type kubernetes.io/dockerconfigjson")  # fmt: skip
        else:
            yield Check(what, "ok", f"logins for {', '.join(hosts)}")


def pull_logins(secret: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The entries of ``auths`` of a Secret that nodes pull with, by host; none for what is no such Secret."""
    try:
        told = json.loads(base64.b64decode((secret.get("data") or {}).get(_LOGINS) or "", validate=True))
        entries = told.get("auths") or {}
    except (ValueError, binascii.Error, AttributeError):
        return {}
    return {k.partition("://")[2] or k: v for k, v in entries.items() if isinstance(v, dict)}


def _devices(cluster: Cluster, target: Target) -> Check:
    what, profile = "accelerators", target.place.profile
    try:
        nodes = nodes_of(cluster)
    except ApiError as e:
        return failed(what, e)
    if nodes is None:
        return Check(
            what, "untried", "this account may not list nodes, so what no node could hold is found while waiting"
        )
    found = devices_of(nodes, profile)
    if not found:
        asked = ", ".join(sorted(set(profile.resources.values())))
        said = f"none of {len(nodes)} nodes offers {asked}" if nodes else "there are no nodes now"
        return Check(what, "warning", said, "without a device plug-in, or where nodes come on demand, none are seen")
    said = "; ".join(map(str, found))
    if hidden := [d for d in found if d.device is None and d.label]:
        hint = f'tasks that name a device ask for the label {hidden[0].label}: is `profile = "{profile.name}"` right?'
        return Check(what, "warning", said, hint)
    return Check(what, "ok", said)


def _installed(cluster: Cluster, target: Target) -> Iterator[Check]:
    """Kueue and JobSet, which clusters may have; and the queue, which has to be there once it is set."""
    try:
        groups = installed_groups(cluster)
    except ApiError as e:
        yield failed("Kueue", e)
        return
    yield _queue(cluster, target, groups)
    there = JOBSET in groups
    said = "installed" if there else "not installed: tasks of several nodes are refused"
    yield Check("JobSet", "ok" if there else "untried", said)


def _queue(cluster: Cluster, target: Target, groups: Mapping[str, Sequence[str]]) -> Check:
    queue = target.place.queue
    if not queue:
        there = KUEUE in groups
        return Check("Kueue", "ok" if there else "untried", "installed" if there else "not installed")
    try:
        trouble = queue_trouble(cluster, queue, groups)
    except ApiError as e:
        if e.status == 403:
            return Check("Kueue", "untried", f"this account may not look at queue {queue}")
        return failed("Kueue", e)
    if trouble is not None:
        return Check("Kueue", "failed", *trouble)
    return Check("Kueue", "ok", f"queue {queue} admits")


def check_storage(target: Target) -> Check:
    """Written, read and removed from here."""
    import obstore
    from obstore.exceptions import BaseError

    what = "storage from here"
    try:
        store = mirror_of(target.storage, Path("/"), target.options).store
        key, text = f"flyte-build-check-{random.token_hex(8)}", b"flyte-build target check\n"
        obstore.put(store, key, text)
        try:
            same = bytes(obstore.get(store, key).bytes()) == text
        finally:
            obstore.delete(store, key)
    except FlyteBuildError as e:
        return failed(what, e)
    except (BaseError, OSError) as e:
        words = str(e).splitlines()[0] if str(e) else type(e).__name__
        return Check(what, "failed", f"{target.storage}: {words}",
                     "credentials come from the environment, as the object store's own tools have them")  # fmt: skip
    if not same:
        return Check(what, "failed", f"{target.storage}: other bytes were read than had been written")
    return Check(what, "ok", f"written, read and removed in {target.storage}")
