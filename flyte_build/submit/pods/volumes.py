"""A pod's volumes as folders of this machine, or memory of a sandbox, and where its containers see them.

Folders lie in the attempt's scratch, so that what is written there counts as the task's and goes with it. Secrets are
handed over to process 1 and are on no disk. What a volume would bring from elsewhere is an empty folder, and is said.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...kernel.values import dataclass, field
from ..kubernetes.errors import Unplaceable
from ..sandbox.spec import Mount, Tmpfs
from ..template import quantity
from .facts import PodFacts, expand
from .given import Given
from .variables import config, secret

__all__ = ["Seen", "Volumes"]

_WRITTEN = ("configMap", "secret", "downwardAPI", "projected")
_ROOM = 1 << 20


@dataclass(slots=True)
class Seen:
    """What one container sees of the volumes. ``files`` are paths inside → text, on one of ``memory``."""

    mounts: list[Mount] = field(default_factory=list)
    memory: list[Tmpfs] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Content:
    """Files by their names in the volume; ``hidden``: a secret's value is among them."""

    files: Mapping[str, str]
    hidden: bool


class Volumes:
    """The volumes of ``pod``, made in ``scratch``; ``say`` hears what has no meaning here.

    Raises :class:`MissingSecret`, and :class:`Unplaceable` for what cannot be made.
    """

    def __init__(
        self, pod: Mapping[str, Any], scratch: Path, facts: PodFacts, given: Given, say: Callable[[str], object]
    ) -> None:
        self._facts, self.given, self._say = facts, given, say
        self._volumes = {str(v.get("name")): v for v in pod.get("volumes") or ()}
        users = [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]
        named = [str(m.get("name")) for c in users for m in c.get("volumeMounts") or ()]
        self._scratch = scratch
        self._folders: dict[str, Path] = {}
        self._contents: dict[str, _Content] = {}
        self._count = {name: named.count(name) for name in named}

    def seen_by(self, container: Mapping[str, Any], variables: Mapping[str, str]) -> Seen:
        """What ``container`` mounts."""
        found = Seen()
        for mount in container.get("volumeMounts") or ():
            name, target = str(mount.get("name")), posixpath.normpath(str(mount.get("mountPath")))
            volume = self._volumes.get(name)
            if volume is None or not target.startswith("/") or target == "/":
                raise Unplaceable(
                    f"container {container.get('name')} of a pod template mounts volume {name} at {target}, "
                    f"{'which is no place' if volume is not None else 'and there is no such volume'}"
                )
            below = str(mount.get("subPath") or expand(str(mount.get("subPathExpr") or ""), variables))
            if below.startswith("/") or ".." in below.split("/"):
                raise Unplaceable(f"a pod template mounts {below} of volume {name}: expected a path inside of it")
            self._mount(found, name, volume, target, below, writable=not mount.get("readOnly"))
        return found

    def _mount(
        self, found: Seen, name: str, volume: Mapping[str, Any], target: str, below: str, *, writable: bool
    ) -> None:
        kind = next((k for k in volume if k != "name"), "emptyDir")
        if kind in _WRITTEN:
            content = self._content(name, volume, kind)
            if content.hidden:
                self._hide(found, name, content, target, below)
                return
            source = self._written(name, content) / below
            if source.exists():
                found.mounts.append(Mount(source, target))
            elif not (volume[kind] or {}).get("optional"):
                raise Unplaceable(f"a pod template mounts {below} of volume {name}, which has no such file")
            return
        if kind != "emptyDir":
            self._say(f"{kind} volumes are empty folders here")
        told = volume.get("emptyDir") or {}
        if told.get("medium") == "Memory" and not below and self._count[name] == 1:
            found.memory.append(Tmpfs(target, _bytes(told.get("sizeLimit")), 1 << 20))
            return
        if told.get("medium") == "Memory":
            self._say("an emptyDir in memory that several containers mount is on disk here")
        elif told.get("sizeLimit"):
            self._say(
                "the sizeLimit of an emptyDir on disk has no meaning here: what is in it counts as the task's disk"
            )
        folder = self._folder(name)
        for part in below.split("/") if below else ():
            folder = folder / part
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)
        found.mounts.append(Mount(folder, target, writable))

    def _folder(self, name: str) -> Path:
        if name not in self._folders:
            # By number: a name is the template's.
            folder = self._folders[name] = self._scratch / f"volume{len(self._folders)}"
            folder.mkdir()
            folder.chmod(0o777)
        return self._folders[name]

    def _written(self, name: str, content: _Content) -> Path:
        there = name in self._folders
        folder = self._folder(name)
        if not there:
            folder.chmod(0o755)
            for path, text in content.files.items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
        return folder

    def _hide(self, found: Seen, name: str, content: _Content, target: str, below: str) -> None:
        if below:
            raise Unplaceable(
                f"a pod template mounts {below} of volume {name}, which holds a secret: here such a volume is "
                "mounted whole",
                hint="leave out `subPath`, or take the value as a variable",
            )
        held = sum(len(text.encode()) for text in content.files.values())
        found.memory.append(Tmpfs(target, _ROOM + 2 * held))
        found.files |= {f"{target}/{path}": text for path, text in content.files.items()}

    def _content(self, name: str, volume: Mapping[str, Any], kind: str) -> _Content:
        if name not in self._contents:
            told = volume[kind] or {}
            sources = told.get("sources") or () if kind == "projected" else [{kind: told}]
            files: dict[str, str] = {}
            hidden = False
            for source in sources:
                for what, one in source.items():
                    files |= self._files(what, one or {})
                    hidden = hidden or what == "secret"
            for path in files:
                if path.startswith("/") or ".." in path.split("/"):
                    raise Unplaceable(f"a pod template, volume {name}: expected a path inside of it, found {path}")
            self._contents[name] = _Content(files, hidden)
        return self._contents[name]

    def _files(self, kind: str, told: Mapping[str, Any]) -> dict[str, str]:
        items = [(str(i.get("key")), str(i.get("path"))) for i in told.get("items") or ()]
        optional = bool(told.get("optional"))
        if kind == "configMap":
            data = config(self.given, told) or {}
            lacking = [key for key, _ in items if key not in data]
            if lacking and not optional:
                raise Unplaceable(
                    f"a pod template takes key {lacking[0]} of the ConfigMap {told.get('name')}: not there"
                )
            return {path: data[key] for key, path in items if key in data} if items else dict(data)
        if kind == "secret":
            secret_name = str(told.get("secretName") or told.get("name"))
            if not items and not optional:
                raise Unplaceable(
                    f"a pod template mounts all of the Secret {secret_name}, whose keys are not known here",
                    hint="name its keys in the volume's `items`",
                )
            found = {path: secret(self.given, secret_name, key, optional=optional) for key, path in items}
            return {path: value for path, value in found.items() if value is not None}
        if kind == "downwardAPI":
            return {str(i.get("path")): self._downward(i) for i in told.get("items") or ()}
        self._say(f"{kind} in a projected volume has no meaning here")
        return {}

    def _downward(self, item: Mapping[str, Any]) -> str:
        if (told := item.get("fieldRef")) is not None:
            return self._facts.field(str(told.get("fieldPath")))
        return self._facts.resource(item.get("resourceFieldRef") or {}, "")


def _bytes(text: Any) -> int:
    """Without a limit, half of the machine's memory, as the kubelet has it."""
    from ..scheduler import machine

    try:
        return int(quantity(str(text))) if text else machine()[1] // 2
    except ValueError as e:
        raise Unplaceable(f"a pod template, sizeLimit of an emptyDir: {e}") from None
