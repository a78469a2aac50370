"""Container Device Interface files of kind ``nvidia.com/gpu``, as nvidia-ctk writes them (CDI specification 0.3 to 1).

Of their hooks the links are taken on (``create-symlinks``); the linker's cache we make ourselves, and others (of
graphics, of modes of device nodes) are not run. A file that cannot be read is as if it were not there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from .nouns import Gpu, Gpus

__all__ = ["FOLDERS", "described"]

FOLDERS = ("etc/cdi", "var/run/cdi", "run/cdi")
_KIND = "nvidia.com/gpu"
_LARGEST = 4 << 20
_NODE = re.compile(r"/dev/nvidia(\d+)")


def described(root: Path, known: Mapping[int, tuple[str, str]]) -> Gpus | None:
    """What the files below ``root`` say; ``None`` where none says anything of a device whose nodes are there.

    ``known`` are UUID and model by a node's minor number. Of two files the later one's devices count, as runtimes do.
    """
    devices: dict[tuple[tuple[Path, str], ...], Gpu] = {}
    nodes: dict[tuple[Path, str], None] = {}
    files: dict[tuple[Path, str], None] = {}
    links: dict[str, str] = {}
    env: dict[str, str] = {}
    for spec in _specs(root):
        common = spec.get("containerEdits") or {}
        nodes |= dict.fromkeys(_nodes(root, common))
        files |= dict.fromkeys(_mounts(root, common))
        env |= _env(common)
        links |= _links(common)
        for device in spec.get("devices") or ():
            name, edits = str(device.get("name", "")), device.get("containerEdits") or {}
            own = tuple(_nodes(root, edits))
            if name == "all" or not own:
                continue
            before = devices.get(own)
            devices[own] = _device(name, own, before, known, tuple(_mounts(root, edits)), _env(edits))
    if not devices:
        return None
    shared = set(nodes)
    found = [_without(device, shared) for device in devices.values()]
    return Gpus(tuple(sorted(found, key=lambda d: _order(d.name))), tuple(nodes), tuple(files), links, env)


def _device(
    name: str,
    own: tuple[tuple[Path, str], ...],
    before: Gpu | None,
    known: Mapping[int, tuple[str, str]],
    files: tuple[tuple[Path, str], ...],
    env: Mapping[str, str],
) -> Gpu:
    """The device; files name one by its index and by its UUID, which are two names of one."""
    minors = [int(found[1]) for _, target in own if (found := _NODE.fullmatch(target))]
    uuid, model = known.get(minors[0], ("", "")) if minors else ("", "")
    part = any(target.startswith("/dev/nvidia-caps/") for _, target in own)
    named = name if name.startswith(("GPU-", "MIG-")) else ""
    uuid = named or (before.uuid if before is not None else "") or ("" if part else uuid)
    plain = before.name if before is not None and (named or not name) else name.removeprefix("mig").removeprefix("gpu")
    return Gpu(plain, own, uuid, model, part, files, env)


def _without(device: Gpu, shared: set[tuple[Path, str]]) -> Gpu:
    own = tuple(node for node in device.nodes if node not in shared) or device.nodes
    return Gpu(device.name, own, device.uuid, device.model, device.partition, device.files, device.env)


def _order(name: str) -> tuple[bool, list[int], str]:
    numbers = [int(n) for n in re.findall(r"\d+", name)]
    return not re.fullmatch(r"\d+(:\d+)?", name), numbers, name


def _specs(root: Path) -> Iterable[dict[str, Any]]:
    if not any((root / folder).is_dir() for folder in FOLDERS):
        return
    import yaml  # type: ignore[import-untyped]

    for folder in FOLDERS:
        for path in sorted(p for p in (root / folder).glob("*") if p.suffix in (".yaml", ".yml", ".json")):
            try:
                with open(path, "rb") as f:
                    text = f.read(_LARGEST)
                found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
                if isinstance(found, dict) and found.get("kind") == _KIND:
                    _checked(found)
                    yield found
            except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
                continue


def _checked(spec: dict[str, Any]) -> None:
    """Raise for what has not the shape of one: it is to be left out whole."""
    for part in (spec, *(spec.get("devices") or ())):
        edits = part.get("containerEdits") or {}
        for name in ("deviceNodes", "mounts", "hooks"):
            for entry in edits.get(name) or ():
                entry.get("path")
        _env(edits)


def _nodes(root: Path, edits: Mapping[str, Any]) -> Iterable[tuple[Path, str]]:
    for entry in edits.get("deviceNodes") or ():
        target = str(entry.get("path", ""))
        source = root / str(entry.get("hostPath") or target).lstrip("/")
        if _plain(target) and source.is_char_device():
            yield source, target


def _mounts(root: Path, edits: Mapping[str, Any]) -> Iterable[tuple[Path, str]]:
    for entry in edits.get("mounts") or ():
        target = str(entry.get("containerPath", ""))
        source = root / str(entry.get("hostPath", "")).lstrip("/")
        if _plain(target) and source.exists():
            yield source, target


def _plain(target: str) -> bool:
    return target.startswith("/") and ".." not in PurePosixPath(target).parts and "\0" not in target


def _env(edits: Mapping[str, Any]) -> dict[str, str]:
    return dict(str(item).partition("=")[::2] for item in edits.get("env") or ())


def _links(edits: Mapping[str, Any]) -> dict[str, str]:
    """``--link TARGET::LINK`` of the hooks that make links, as names of libraries."""
    found: dict[str, str] = {}
    for hook in edits.get("hooks") or ():
        words = [str(word) for word in hook.get("args") or ()]
        if "create-symlinks" in words:
            for word in words:
                target, both, link = word.removeprefix("--link=").partition("::")
                if both:
                    found[PurePosixPath(link).name] = PurePosixPath(target).name
    return found
