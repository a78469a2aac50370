"""Layers for tests: specs of synthetic wheels, the assembler run on them, and what came out, unpacked."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte_build.assemble.layer import LayerResult, write_layer
from flyte_build.assemble.version import ASSEMBLER

__all__ = ["SITE", "STREAM", "TEXT", "Written", "fixed_compress", "plan", "wheel_layer", "write", "write_plan"]

SITE = "opt/venv/lib/python3.11/site-packages"

# One text with a stream that a zlib made once, so that golden digests meet a real DEFLATE stream on every machine.
TEXT = b"def main() -> int:\n    return 0\n" * 40
STREAM = bytes.fromhex(
    "4b494d53c84dccccd3d054d0b553c8cc2bb1e2520082a2d492d2a23c0503ae9451f951f951f951f9612a0f00",
)


def fixed_compress(data: bytes) -> bytes:
    """A compressor that is the same everywhere: :data:`STREAM` for :data:`TEXT`, stored blocks for the rest."""
    from tests.support.wheels import stored

    return STREAM if data == TEXT else stored(data)


@dataclass(frozen=True)
class Written:
    """A layer and its bytes."""

    result: LayerResult
    blob: bytes

    @property
    def tar(self) -> bytes:
        return gzip.decompress(self.blob)

    def members(self) -> list[tarfile.TarInfo]:
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as t:
            return t.getmembers()

    def contents(self) -> dict[str, bytes]:
        """Path → content of the regular files."""
        with tarfile.open(fileobj=io.BytesIO(self.tar)) as t:
            files = {m.name: t.extractfile(m) for m in t if m.isreg()}
            return {name: f.read() for name, f in files.items() if f is not None}

    def modes(self) -> dict[str, int]:
        return {m.name: m.mode for m in self.members()}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wheel_layer(wheels: Sequence[Path], *, python: str = "3.11", venv: str = "/opt/venv") -> dict[str, Any]:
    """The layer object of a plan that installs ``wheels``."""
    rows = [{"file": wheel.name, "sha256": sha256(wheel)} for wheel in wheels]
    title = ", ".join(wheel.name.rsplit("-", 3)[0].replace("-", " ") for wheel in wheels)
    return {
        "kind": "wheels",
        "assembler": ASSEMBLER,
        "title": title,
        "python": python,
        "venv": venv,
        "wheels": rows,
    }


def write(spec: Mapping[str, Any], artifacts: Sequence[Path], scratch: Path, **options: Any) -> Written:
    """Run the assembler on one layer."""
    known = {sha256(path): str(path) for path in artifacts}
    out = io.BytesIO()
    result = write_layer(spec, known.__getitem__, out, scratch=str(scratch), **options)
    return Written(result, out.getvalue())


def plan(layers: Sequence[Mapping[str, Any]], platform: str = "linux/amd64") -> dict[str, Any]:
    """A plan of ``layers``."""
    config = {"User": "1000", "Env": ["PATH=/opt/venv/bin:/usr/bin:/bin"], "Cmd": ["python"], "WorkingDir": "/"}
    return {"schema": 1, "platform": platform, "layers": list(layers), "config": config, "annotations": {}}


def write_plan(folder: Path, wheels: Sequence[Path]) -> list[str]:
    """A plan of one layer a wheel, and its artifacts by hash, in ``folder``: the assembler's arguments without OUT."""
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        target = artifacts / sha256(wheel)
        if not target.exists():
            os.link(wheel, target)
    path = folder / "plan.json"
    path.write_text(json.dumps(plan([wheel_layer([wheel]) for wheel in wheels])))
    return [str(path), "--artifacts", str(artifacts)]
