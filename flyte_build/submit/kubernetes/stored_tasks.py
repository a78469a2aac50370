"""Tasks that were deployed to a target: what ``flyte.remote.Task.get`` finds in runs there, whoever started them.

    deployed/<project>/<domain>/<environment.task>/<version>.json
    bundles/<sha256>.tgz

As ``deployed`` has them on one machine, but in the target's storage, with images by the references that nodes pull.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError, NotFoundError

from ...kernel.errors import RunError
from .. import door
from ..deployed import DeployedTask, read_document, settled
from .mirror import Mirror

__all__ = ["BUNDLES", "DEPLOYED", "StoredDeployments", "bundle_key"]

BUNDLES, DEPLOYED = "bundles", "deployed"
_MOST = 16 << 20
_NOWHERE = Path("/nowhere")


def bundle_key(code: str) -> str:
    """The key of the bundle whose code has this digest."""
    return f"{BUNDLES}/{code.removeprefix('sha256:')}.tgz"


class StoredDeployments:
    """The tasks in ``mirror``; see :class:`~..deployed.Deployments`. For threads that may wait. The ``bundle`` of what
    is found is none of this machine's."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def put(self, tasks: Iterable[DeployedTask]) -> list[tuple[DeployedTask, bool]]:
        """Deploy, at one time; of each, whether it was there already, and is now the latest again.

        Raises :class:`InputError` where a version is there with other contents, before anything is written, and
        :class:`RunError`. A task is there only once its code is.
        """
        now = time.time()
        found = [settled(task, self._read(_key(task)), now) for task in tasks]
        store = self._mirror.store
        for code, bundle in {task.code: task.bundle for task, _ in found}.items():
            with self._said(bundle_key(code)):
                try:
                    obstore.head(store, bundle_key(code))
                except (NotFoundError, FileNotFoundError):
                    obstore.put(store, bundle_key(code), bundle)
        for task, _ in found:
            with self._said(_key(task)):
                obstore.put(store, _key(task), task.document())
        return found

    def find(self, project: str, domain: str, name: str, version: str) -> DeployedTask | None:
        """See :class:`~..deployed.TaskSource`."""
        folder = "/".join((DEPLOYED, *map(_quoted, (project, domain, name))))
        if version:
            return self._read(f"{folder}/{_quoted(version)}.json")
        return max(self._below(folder), key=lambda task: (task.at, task.version), default=None)

    def listed(self, project: str, domain: str) -> Sequence[DeployedTask]:
        """See :class:`~..deployed.TaskSource`."""
        found = self._below("/".join((DEPLOYED, _quoted(project), _quoted(domain))))
        return sorted(found, key=lambda task: (-task.at, task.name, task.version))

    def _below(self, folder: str) -> list[DeployedTask]:
        with self._said(folder):
            keys = [
                str(meta["path"]) for page in obstore.list(self._mirror.store, prefix=f"{folder}/") for meta in page
            ]
        with ThreadPoolExecutor(16) as reading:
            return [task for task in reading.map(self._read, sorted(keys)) if task is not None]

    def _read(self, key: str) -> DeployedTask | None:
        where = f"{self._mirror.url}/{key}"
        with self._said(key):
            try:
                found = obstore.get(self._mirror.store, key)
            except (NotFoundError, FileNotFoundError):
                return None
            if found.meta["size"] > _MOST:
                raise door.Refused(f"{where} has {found.meta['size']:,} bytes, and may have {_MOST:,}")
            data = bytes(found.bytes())
        return read_document(data, lambda _: _NOWHERE, where)

    @contextlib.contextmanager
    def _said(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as e:
            words = str(e).splitlines()[0] if str(e) else type(e).__name__
            raise RunError(
                f"{self._mirror.url}/{key}: {words}",
                hint="`flyte-build target check TARGET` tries the target's storage",
            ) from None


def _key(task: DeployedTask) -> str:
    return "/".join((DEPLOYED, *map(_quoted, (task.project, task.domain, task.name, task.version)))) + ".json"


def _quoted(part: str) -> str:
    """A part of a key, of any name: the object store has its own meaning of `%`."""
    found = quote(part, safe="").replace("%", "=")
    return found if not found.startswith(".") else f"=2E{found[1:]}"
