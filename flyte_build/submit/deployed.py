"""Tasks that were deployed to this machine: what ``flyte.remote.Task.get`` finds in runs here.

    <state>/tasks/<project>/<domain>/<environment.task>/<version>.json
    <state>/tasks/code/<sha256>.tgz

A version is whole: the task's specification with its image by digest, and its code. It never changes; deployed again it
becomes the latest. Images themselves are the store's, and are made again from locks where that lost them.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote

from ..kernel.documents import parse_object
from ..kernel.errors import InputError, RunError
from ..kernel.files import write_whole
from ..kernel.values import dataclass, field, replace
from ..store.files import storing
from .cache import bundle_digest

__all__ = ["CODE", "DeployedTask", "Deployments", "TaskSource", "check_part", "read_document", "settled"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CODE = "code"


@dataclass(frozen=True, slots=True)
class DeployedTask:
    """One version of a task. ``spec`` is a serialized ``flyteidl2.task.TaskSpec`` whose image is one of ``images``
    (reference → manifest's digest), which are those of all that it may call, too; ``code`` is the digest of ``bundle``.
    ``at`` is when it was deployed last, in seconds since the epoch; ``file`` what it was deployed from. ``needs`` is
    what the images need of a cluster's nodes, by digest, where it was deployed for one, and ``apps`` are those that its
    environment depends on, as whoever runs it serves them (``served``; ``kubernetes/cluster_apps``).
    """

    project: str
    domain: str
    name: str
    version: str
    environment: str
    spec: bytes
    images: Mapping[str, str]
    code: str
    bundle: Path
    at: float
    inline: Mapping[str, int]
    file: str = ""
    needs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    apps: Sequence[Mapping[str, Any]] = ()

    @property
    def image(self) -> str:
        """The digest of its own environment's image."""
        names = (f"/{self.environment}@", f"/{self.environment}:")
        return next((d for r, d in self.images.items() if any(name in r for name in names)), "")

    def to_json(self) -> dict[str, Any]:
        """What is said of it where tasks are listed."""
        return {
            "name": self.name,
            "version": self.version,
            "environment": self.environment,
            "image": self.image,
            "code": self.code,
            "project": self.project,
            "domain": self.domain,
            "deployed": self.at,
            "file": self.file,
        }

    def document(self) -> bytes:
        """All of it but its code, as it is kept."""
        kept = {
            "schema": 1,
            **{key: value for key, value in self.to_json().items() if key != "image"},
            "images": dict(self.images),
            "inline": dict(self.inline),
            "spec": base64.b64encode(self.spec).decode(),
            **({"needs": {digest: dict(one) for digest, one in self.needs.items()}} if self.needs else {}),
            **({"apps": [dict(one) for one in self.apps]} if self.apps else {}),
        }
        return json.dumps(kept, indent=1).encode() + b"\n"


class TaskSource(Protocol):
    """Where a run finds tasks by name."""

    def find(self, project: str, domain: str, name: str, version: str) -> DeployedTask | None:
        """The task; the latest where ``version`` is empty. Raises :class:`RunError`."""

    def listed(self, project: str, domain: str) -> Sequence[DeployedTask]:
        """Every version of every task, the latest first."""


def check_part(what: str, text: str) -> None:
    """Raises :class:`InputError` for what is no name of a version, project or domain."""
    if not _PART.fullmatch(text):
        raise InputError(f"{what}: expected letters, digits, `.`, `_` and `-`, found `{text}`")


class Deployments:
    """The tasks in ``folder``. Safe for several processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, tasks: Iterable[DeployedTask]) -> list[tuple[DeployedTask, bool]]:
        """Deploy, at one time; of each, whether it was there already, and is now the latest again.

        Raises :class:`InputError` where a version is there with other contents, before anything is written, and
        :class:`StoreError`.
        """
        found, now = [], time.time()
        for task in tasks:
            found.append(settled(task, self._read(self._path(task)), now))
        for task, _ in found:
            self._write(task)
        return [(replace(task, bundle=self._code(task.code)), known) for task, known in found]

    def find(self, project: str, domain: str, name: str, version: str) -> DeployedTask | None:
        """See :class:`TaskSource`."""
        folder = self._folder / _quoted(project) / _quoted(domain) / _quoted(name)
        if version:
            return self._read(folder / f"{_quoted(version)}.json")
        versions = [task for path in _files(folder) if (task := self._read(path)) is not None]
        return max(versions, key=lambda task: (task.at, task.version), default=None)

    def listed(self, project: str, domain: str) -> Sequence[DeployedTask]:
        """See :class:`TaskSource`."""
        folder = self._folder / _quoted(project) / _quoted(domain)
        try:
            names = sorted(folder.iterdir())
        except OSError:
            return []
        found = [task for name in names for path in _files(name) if (task := self._read(path)) is not None]
        return sorted(found, key=lambda task: (-task.at, task.name, task.version))

    def _path(self, task: DeployedTask) -> Path:
        parts = (task.project, task.domain, task.name, f"{task.version}.json")
        return self._folder.joinpath(*map(_quoted, parts))

    def _code(self, digest: str) -> Path:
        return self._folder / CODE / f"{digest.removeprefix('sha256:')}.tgz"

    def _write(self, task: DeployedTask) -> None:
        code, path = self._code(task.code), self._path(task)
        with storing(path):
            for folder in (code.parent, path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not code.exists():
                partial = code.with_name(f".{secrets.token_hex(8)}.part")
                shutil.copyfile(task.bundle, partial)
                partial.replace(code)
            write_whole(path, task.document().decode())

    def _read(self, path: Path) -> DeployedTask | None:
        try:
            data = path.read_bytes()
        except OSError:
            return None
        return read_document(data, self._code, str(path))

    def intact(self, task: DeployedTask) -> bool:
        """Whether its code is there, and what it was."""
        try:
            return bundle_digest(task.bundle) == task.code
        except (OSError, EOFError):
            return False


def read_document(data: bytes, bundle: Callable[[str], Path], where: str) -> DeployedTask:
    """The task of a document; ``bundle`` says where the code of a digest is. Raises :class:`RunError`."""
    try:
        found = parse_object(data)
        if found["schema"] != 1:
            raise ValueError(f"schema {found['schema']}, of another version of flyte-build")
        if other := [r for r, digest in found["images"].items() if not r.endswith(f"@{digest}")]:
            raise ValueError(f"the image {other[0]} by another digest")
        return DeployedTask(
            project=str(found["project"]),
            domain=str(found["domain"]),
            name=str(found["name"]),
            version=str(found["version"]),
            environment=str(found["environment"]),
            spec=base64.b64decode(found["spec"], validate=True),
            images={str(k): str(v) for k, v in found["images"].items()},
            code=str(found["code"]),
            bundle=bundle(str(found["code"])),
            at=float(found["deployed"]),
            inline={str(k): int(v) for k, v in found["inline"].items()},
            file=str(found["file"]),
            needs={str(k): dict(v) for k, v in found.get("needs", {}).items()},
            apps=tuple(dict(one) for one in found.get("apps", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise RunError(f"{where}: expected a deployed task, found {e}", hint="deploy it again") from None


def settled(task: DeployedTask, there: DeployedTask | None, now: float) -> tuple[DeployedTask, bool]:
    """``task`` as it is deployed ``now``, and whether that version is ``there`` already, which has to be the same.

    Raises :class:`InputError`.
    """
    if there is not None and _contents(there) != _contents(task):
        raise InputError(
            f"version {task.version} of {task.name} was deployed on {_day(there.at)} with other contents",
            hint="leave out `--version`, which makes one of the contents, or name another",
        )
    return replace(task, at=now), there is not None


def _contents(task: DeployedTask) -> tuple[object, ...]:
    return (task.spec, dict(task.images), task.code, dict(task.inline), [dict(one) for one in task.apps])


def _quoted(part: str) -> str:
    """A part of a path of any name."""
    found = quote(part, safe="")
    return found if not found.startswith(".") else f"%2E{found[1:]}"


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == ".json" and not unquote(p.name).startswith("."))
    except OSError:
        return []


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
