"""A run as it is handed to a driver, wherever that is: all of it in the storage, none of it in an argument.

<run>/run.json               what was asked for, for people (see ``driving``)
<run>/request.json           what a driver needs to know besides
<run>/actions/a0.pb          the root action, as a task would enqueue it
<run>/kept/a0/inputs.pb
bundles/<sha256>.tgz         code, by its content
inputs/<sha256>/…            what was uploaded for inputs, by its content
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2
from flyteidl2.task import common_pb2

from ...kernel.documents import parse_object
from ...kernel.errors import RunError
from ..action import ROOT_ACTION, RootAction
from ..attempt import RunFacts
from ..cache import bundle_digest
from ..deployed import DeployedTask, read_document
from ..driving import check_name, described, require_image, start_of
from ..references import references
from ..storage import INPUTS_FOLDER, RunFolder, Storage
from .cluster_apps import ClusterApp
from .mirror import Mirror
from .needs import Needs
from .stored_results import TASKS
from .stored_tasks import BUNDLES, DEPLOYED, bundle_key

__all__ = ["BUNDLES", "REQUEST", "Submission", "read_submission", "store_submission"]

REQUEST = "request.json"
_SHARED = (BUNDLES, DEPLOYED, TASKS, INPUTS_FOLDER)


@dataclass(frozen=True, slots=True)
class Submission:
    """What a driver needs of a run. ``target`` is as the project states it; ``images`` maps references by digest to
    digests, ``needs`` digests to what such an image needs of a node (:class:`~.needs.Needs`); ``carrier`` is the image
    that brings the inputs of container tasks, ``apps`` are served meanwhile, ``own`` are the documents of its file's
    tasks that are called by name. The rest is as in :class:`~..attempt.RunFacts` and :class:`~..run.RunRequest`."""

    run: str
    target_name: str
    target: Mapping[str, Any]
    images: Mapping[str, str]
    bundle: str
    started: str
    org: str
    project: str
    domain: str
    env: Mapping[str, str] = field(default_factory=dict)
    inline: Mapping[str, int] = field(default_factory=dict)
    resume: str | None = None
    overwrite_cache: bool = False
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    carrier: str = ""
    apps: Sequence[Mapping[str, Any]] = ()
    own: Sequence[str] = ()

    def code(self, base: str) -> str:
        """The URI of its code in the storage ``base``."""
        return f"{base}/{bundle_key(self.bundle)}"

    def own_tasks(self) -> dict[str, DeployedTask]:
        """Those of its file that are called by name, by it. Raises :class:`RunError`."""
        found = (read_document(text.encode(), lambda _: Path("/nowhere"), REQUEST) for text in self.own)
        return {task.name: task for task in found}

    def facts(self, folder: RunFolder) -> RunFacts:
        code = self.code(folder.storage.base)
        return RunFacts(
            folder, dict(self.images), self.bundle, self.started, self.org, self.project, self.domain, self.env,
            dict(self.inline), {code: self.bundle},
        )  # fmt: skip


async def store_submission(
    mirror: Mirror,
    name: str,
    target: tuple[str, Mapping[str, Any]],
    root: RootAction,
    references_of: Mapping[str, str],
    *,
    inline: Mapping[str, int],
    docs: Mapping[str, str] | None = None,
    resumed: Mapping[str, Any] | None = None,
    overwrite_cache: bool = False,
    needs: Mapping[str, Needs] | None = None,
    carrier: str = "",
    apps: Sequence[ClusterApp] = (),
    own: Sequence[DeployedTask] = (),
    invocation: Mapping[str, Any],
) -> tuple[Submission, actions_service_pb2.Action]:
    """Put a new run into the storage. ``references_of``: environment → ``repository@sha256:…``; ``resumed`` are the
    facts of the run that is resumed; ``needs`` is what images need of nodes, by digest, and ``carrier`` the image for
    container tasks.

    Raises :class:`RunError` for a name that is taken, or for an environment without an image. ``request.json`` is
    stored last, so a run that has it has everything.
    """
    check_name(name)
    if name in _SHARED:
        raise RunError(f"`{name}` is no name for a run: the storage keeps other things there")
    images = {environment: reference.rpartition("@")[2] for environment, reference in references_of.items()}
    require_image(root, images)
    folder = Storage(mirror.runs, mirror.url).run(name)
    code = await asyncio.to_thread(bundle_digest, root.bundle)
    before = resumed or {}
    run, action = start_of(
        folder, root, images, references_of, bundle=(code, f"{mirror.url}/{bundle_key(code)}"),
        started=before.get("run_start_time"), inline=inline,
    )  # fmt: skip
    facts = {**described(run, root, images, before.get("name"), invocation, docs or {}), "target": target[0]}
    try:
        await mirror.put(f"{name}/run.json", json.dumps(facts, indent=1).encode() + b"\n", new=True)
    except FileExistsError:
        raise RunError(f"run {name} exists in {mirror.url}", hint="choose another name") from None
    for digest, bundle in {code: root.bundle, **{task.code: task.bundle for task in own}}.items():
        if not await mirror.has(bundle_key(digest)):
            await mirror.put(bundle_key(digest), bundle.read_bytes())
    submission = Submission(
        name, target[0], target[1], run.images, code, run.started, run.org, run.project, run.domain, root.env,
        dict(inline), before.get("name"), overwrite_cache,
        {digest: one.to_json() for digest, one in (needs or {}).items()}, carrier,
        [app.to_json() for app in apps], [task.document().decode() for task in own],
    )  # fmt: skip
    await mirror.put(f"{name}/kept/{ROOT_ACTION}/inputs.pb", root.inputs)
    await _upload_inputs(mirror, root.inputs)
    await mirror.put(f"{name}/actions/{ROOT_ACTION}.pb", action.SerializeToString(deterministic=True))
    await mirror.put(f"{name}/{REQUEST}", json.dumps({"schema": 1, **asdict(submission)}).encode())
    return submission, action


async def _upload_inputs(mirror: Mirror, inputs: bytes) -> None:
    """Store what the inputs refer to and only this machine has (see ``uploads``)."""
    base = f"{mirror.url}/"
    for uri in references(common_pb2.Inputs.FromString(inputs)):
        if not uri.startswith(f"{base}{INPUTS_FOLDER}/"):
            continue
        path = mirror.runs / uri.removeprefix(base)
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if not await mirror.has(mirror.key(file)):
                await mirror.up(file)


async def read_submission(mirror: Mirror, name: str) -> Submission:
    """The run ``name`` of the storage; raises :class:`RunError` where it has none that was handed over whole."""
    data = await mirror.get(f"{name}/{REQUEST}")
    if data is None:
        raise RunError(f"no run `{name}` in {mirror.url}", hint="`flyte-build runs --on TARGET` lists them")
    try:
        found = parse_object(data)
        if found.pop("schema") != 1:
            raise ValueError("a schema other than 1")
        return Submission(**found)
    except (ValueError, TypeError, KeyError) as e:
        raise RunError(f"{mirror.url}/{name}/{REQUEST}: expected a run's request, found {e}") from None
