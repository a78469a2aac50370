"""What a sandbox gets of its task's devices, as the container toolkit would give it: nodes, libraries, programs.

An image's tree cannot be written to, so the driver's files stand in folders of our own, and the linker is told of
them: by its cache, where the image has one, else by LD_LIBRARY_PATH. Runs nothing, and no ldconfig.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...kernel.errors import FlyteBuildError
from ..sandbox.spec import Mount
from ..unpack import scoped
from .linker import LARGEST, added, machine_flags
from .nouns import Gpu, Gpus

__all__ = ["BIN", "LIB", "granted"]

LIB, BIN = "/run/flyte-build/nvidia/lib", "/run/flyte-build/nvidia/bin"
_CACHE = "/etc/ld.so.cache"
_PROGRAMS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin", "/opt/bin")


def granted(
    gpus: Gpus, devices: Sequence[Gpu], root: Path, env: Mapping[str, str], own: Mapping[str, str], scratch: Path
) -> tuple[tuple[Mount, ...], dict[str, str]]:
    """Mounts, and the variables with those of the task, ``env``: for ``devices``, in the image that lies at ``root``.

    ``own`` are the variables that the task itself sets, which stay; ``scratch`` is its folder. Raises OSError.
    """
    nodes = dict.fromkeys((*gpus.nodes, *(node for device in devices for node in device.nodes)))
    mounts = [Mount(source, target, writable=True, device=True) for source, target in nodes]
    libraries: dict[str, Path] = {}
    programs: dict[str, Path] = {}
    for source, target in dict.fromkeys((*gpus.files, *(f for device in devices for f in device.files))):
        folder, name = posixpath.split(target)
        if ".so" in name and (soname := _soname(source)) is not None:
            libraries |= {name: source, soname or name: source}
        elif folder in _PROGRAMS:
            programs[name] = source
        elif target.startswith("/run/") or _in_image(root, target):
            mounts.append(Mount(source, target))
    for name, to in gpus.links.items():
        if to in libraries:
            libraries.setdefault(name, libraries[to])
    mounts += [Mount(source, f"{LIB}/{name}") for name, source in libraries.items()]
    mounts += [Mount(source, f"{BIN}/{name}") for name, source in programs.items()]
    told = {**env, **gpus.env, **{k: v for device in devices for k, v in device.env.items()}}
    if programs:
        told["PATH"] = ":".join([env.get("PATH") or os.defpath, BIN])
    if libraries:
        cache = _cache(root)
        if cache is None:
            told["LD_LIBRARY_PATH"] = ":".join([*filter(None, [env.get("LD_LIBRARY_PATH")]), LIB])
        else:
            from ...assemble.ldcache import Library

            flags = machine_flags(os.uname().machine)
            new = scratch / "ld.so.cache"
            new.write_bytes(added(cache, [Library(n, f"{LIB}/{n}", flags, n) for n in sorted(libraries)]))
            mounts.append(Mount(new, _CACHE))
    told["NVIDIA_VISIBLE_DEVICES"] = ",".join(device.uuid or device.name for device in devices)
    if all(device.uuid for device in devices):
        told["CUDA_VISIBLE_DEVICES"] = told["NVIDIA_VISIBLE_DEVICES"]
    return tuple(mounts), {**told, **{k: v for k, v in own.items() if k == "CUDA_VISIBLE_DEVICES"}}


def _soname(path: Path) -> str | None:
    """By what name the linker knows the library; empty where it says none, ``None`` for what is no library."""
    from ...assemble.elf import shared_object

    try:
        with open(path, "rb") as f:

            def read_at(offset: int, size: int) -> bytes:
                f.seek(offset)
                return f.read(size)

            found = shared_object(read_at)
    except (OSError, ValueError):
        return None
    return None if found is None else found.soname or ""


def _in_image(root: Path, target: str) -> bool:
    try:
        return scoped(root, target, follow=True).exists()
    except (FlyteBuildError, ValueError):
        return False


def _cache(root: Path) -> bytes | None:
    """The image's own; ``None`` where it has none."""
    try:
        path = scoped(root, _CACHE)
        if path.is_symlink() or not path.is_file():
            return None
        with open(path, "rb") as f:
            return f.read(LARGEST)
    except (OSError, FlyteBuildError, ValueError):
        return None
