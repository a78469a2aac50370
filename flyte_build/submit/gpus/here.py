"""What this machine has, by its device nodes, the driver's files in /proc, and the linker's cache; CDI files first.

What the container toolkit calls "compute" and "utility": of graphics and video nothing is looked for. Nothing is run.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .cdi import described
from .linker import LARGEST, machine_flags, read
from .nouns import Gpu, Gpus

__all__ = ["gpus_here"]

_COMMON = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_LIBRARIES = (
    "libcuda", "libcudadebugger", "libnvidia-allocator", "libnvidia-cfg", "libnvidia-gpucomp", "libnvidia-ml",
    "libnvidia-nvvm", "libnvidia-opencl", "libnvidia-pkcs11", "libnvidia-pkcs11-openssl3", "libnvidia-ptxjitcompiler",
    "libnvidia-sandboxutils",
)  # fmt: skip
_PROGRAMS = (
    "nvidia-smi", "nvidia-debugdump", "nvidia-persistenced", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server",
)  # fmt: skip
_PLACES = ("usr/bin", "usr/sbin", "usr/local/bin", "bin", "opt/bin")
_CAPABILITY = re.compile(r"(gpu(\d+)/gi\d+)/(?:ci\d+/)?access (\d+)")


def gpus_here(root: Path = Path("/")) -> Gpus:
    """All of this machine, whose files are below ``root``; none where a driver is not there, or not whole."""
    known = _information(root)
    declared = described(root, known)
    if declared is not None:
        return declared
    nodes = {int(path.name[6:]): path for path in (root / "dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()}
    nodes = {minor: path for minor, path in sorted(nodes.items()) if _is_device(path)}
    files, links = _libraries(root)
    if not nodes or not files:
        return Gpus()
    parts = _partitions(root)
    devices: list[Gpu] = []
    for minor, path in nodes.items():
        uuid, model = known.get(minor, ("", ""))
        own = (path, f"/dev/{path.name}")
        for number, capabilities in enumerate(parts.get(minor, ())):
            devices.append(Gpu(f"{minor}:{number}", (own, *capabilities), "", model, partition=True))
        if minor not in parts:
            devices.append(Gpu(str(minor), (own,), uuid, model))
    common = tuple((root / "dev" / n, f"/dev/{n}") for n in _COMMON if _is_device(root / "dev" / n))
    return Gpus(tuple(devices), common, (*files, *_programs(root)), links)


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.lstat().st_mode)
    except OSError:
        return False


def _information(root: Path) -> dict[int, tuple[str, str]]:
    """Of each GPU, by its node's minor number: UUID and model, as the driver's ``information`` has them."""
    found: dict[int, tuple[str, str]] = {}
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        try:
            rows = (line.partition(":") for line in path.read_text(errors="replace").splitlines())
            facts = {key.strip(): value.strip() for key, _, value in rows}
            found[int(facts["Device Minor"])] = facts.get("GPU UUID", ""), facts.get("Model", "")
        except (OSError, LookupError, ValueError):
            continue
    return found


def _partitions(root: Path) -> dict[int, list[tuple[tuple[Path, str], ...]]]:
    """Of each GPU that is partitioned (MIG), by its number, the capabilities that each compute instance takes."""
    try:
        lines = (root / "proc/driver/nvidia-caps/mig-minors").read_text().splitlines()
    except OSError:
        return {}
    minors = {line.rpartition(" ")[0]: f"nvidia-cap{found[3]}" for line in lines if (found := _CAPABILITY.match(line))}
    out: dict[int, list[tuple[tuple[Path, str], ...]]] = {}
    for name in sorted(minors, key=lambda n: [int(d) for d in re.findall(r"\d+", n)]):
        whole = re.fullmatch(r"(gpu(\d+)/gi\d+)/ci\d+/access", name)
        # Which there are the driver says in another place: these are all that there could be.
        below = name.replace("/gi", "/mig/gi", 1)
        if whole is None or not (root / "proc/driver/nvidia/capabilities" / below).exists():
            continue
        names = [minors[n] for n in (f"{whole[1]}/access", name) if n in minors]
        paths = [root / "dev/nvidia-caps" / n for n in names]
        if all(_is_device(path) for path in paths):
            out.setdefault(int(whole[2]), []).append(tuple((p, f"/dev/nvidia-caps/{p.name}") for p in paths))
    return out


def _libraries(root: Path) -> tuple[tuple[tuple[Path, str], ...], dict[str, str]]:
    """The driver's libraries by the linker's cache, for this machine's own kind of programs; and more names of them."""
    try:
        with open(root / "etc/ld.so.cache", "rb") as f:
            cache = f.read(LARGEST)
    except OSError:
        return (), {}
    flags = machine_flags(os.uname().machine)
    files: dict[str, tuple[Path, str]] = {}
    links: dict[str, str] = {}
    for library in read(cache):
        stem, _, version = library.name.partition(".so")
        path = root / library.path.lstrip("/")
        if stem in _LIBRARIES and library.flags == flags and path.exists() and library.name not in files:
            if version:
                files[library.name] = path, library.path
            else:
                links[library.name] = ""
    for name in list(links):
        links[name] = next((n for n in files if n.startswith(f"{name}.")), "")
    return tuple(files.values()) if "libcuda.so.1" in files else (), {n: to for n, to in links.items() if to}


def _programs(root: Path) -> tuple[tuple[Path, str], ...]:
    found = []
    for name in _PROGRAMS:
        path = next((root / place / name for place in _PLACES if (root / place / name).is_file()), None)
        if path is not None:
            found.append((path, f"/usr/bin/{name}"))
    return tuple(found)
