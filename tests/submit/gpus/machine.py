"""A machine with NVIDIA's devices, as a folder: nodes that are /dev/null's, the driver's files, a linker's cache."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from flyte_build.assemble.ldcache import Library, cache_bytes
from flyte_build.submit.gpus.linker import machine_flags
from tests.support.debs import shared_library

__all__ = ["FLAGS", "cached", "file", "machine", "node"]

FLAGS = machine_flags(os.uname().machine)
PLACE = "/usr/lib/x86_64-linux-gnu"
LIBRARIES = ("libcuda.so.1", "libcuda.so", "libnvidia-ml.so.1", "libz.so.1")


def node(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.chmod(0o666)
    except PermissionError:
        pytest.skip("this user may make no device nodes")
    return path


def file(path: Path, content: bytes | str = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cached(root: Path, names: Iterable[str], flags: int = FLAGS) -> None:
    """Libraries below ``root``, and the cache that says so."""
    names = list(names)
    for name in names:
        soname = f"{name}.1" if name.endswith(".so") else name
        file(root / PLACE.lstrip("/") / name, shared_library(soname))
    file(root / "etc/ld.so.cache", cache_bytes([Library(n, f"{PLACE}/{n}", flags, n) for n in names]))


def machine(root: Path, count: int = 2, model: str = "NVIDIA H200") -> Path:
    """With ``count`` GPUs, whose nodes' numbers go down as the bus has them."""
    for minor in range(count):
        node(root / f"dev/nvidia{minor}")
        text = f"Model: \t\t {model}\nIRQ:   \t\t 1\nGPU UUID: \t GPU-{minor}\nDevice Minor: \t {minor}\n"
        file(root / f"proc/driver/nvidia/gpus/0000:{9 - minor:02x}:00.0/information", text)
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"):
        node(root / "dev" / name)
    cached(root, LIBRARIES)
    file(root / "usr/bin/nvidia-smi", "#!/bin/sh\necho ours\n").chmod(0o755)
    return root
