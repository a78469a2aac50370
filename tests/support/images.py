"""Image derivations of our own, with real artifacts, for tests of storing, fetching and building."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flyte_build.assemble.version import ASSEMBLER
from flyte_build.deriving.derivation import Artifact, ImageDerivation, LayerDerivation
from flyte_build.locks.lockfile import LockedWheel
from flyte_build.sources.places import Place

from .wheels import build_wheel

__all__ = ["FolderLocator", "files_layer", "image_of", "noise", "wheel_layer", "wheels_layer"]


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress, the same every time."""
    return random.Random(seed).randbytes(size)


def wheel_artifact(path: Path) -> Artifact:
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    name, version = path.name.split("-")[:2]
    return Artifact(sha256, len(data), path.name, LockedWheel(name, version, path.name, len(data), sha256, 1))


def wheels_layer(title: str, artifacts: Sequence[Artifact]) -> LayerDerivation:
    rows = [{"file": a.file, "sha256": a.sha256} for a in artifacts]
    spec = {"kind": "wheels", "assembler": ASSEMBLER, "title": title, "python": "3.11", "venv": "/opt/venv"}
    return LayerDerivation({**spec, "wheels": rows}, tuple(artifacts))


def wheel_layer(folder: Path, name: str, size: int = 2000, *, mutate: str | None = None) -> LayerDerivation:
    """A layer of one wheel, written into ``folder``, whose package holds ``size`` bytes of noise."""
    data = noise(size, sum(name.encode()))
    path = build_wheel(folder, name, files={f"{name}/__init__.py": "", f"{name}/data.bin": data}, mutate=mutate)
    return wheels_layer(f"{name} 1.0", [wheel_artifact(path)])


def files_layer(folder: Path, files: Mapping[str, bytes], title: str = "copy src") -> LayerDerivation:
    """A layer of files, whose contents lie in ``folder`` by their paths."""
    rows, artifacts = [], []
    for path, data in sorted(files.items()):
        sha256 = hashlib.sha256(data).hexdigest()
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        rows.append({"path": path, "mode": 0o644, "uid": 1000, "gid": 1000, "sha256": sha256, "size": len(data)})
        artifacts.append(Artifact(sha256, len(data), path))
    return LayerDerivation({"kind": "files", "assembler": ASSEMBLER, "title": title, "files": rows}, tuple(artifacts))


def image_of(environment: str, layers: Sequence[LayerDerivation], platform: str = "linux/amd64") -> ImageDerivation:
    spec = {
        "schema": 1,
        "platform": platform,
        "layers": [dict(layer.spec) for layer in layers],
        "config": {"User": "flyte", "Env": ["PATH=/opt/venv/bin:/usr/bin:/bin"], "WorkingDir": "/home/flyte"},
        "annotations": {},
    }
    return ImageDerivation(environment, platform, tuple(layers), spec)


class FolderLocator:
    """Artifacts by file name in a folder, and how often each was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def places(self, artifact: Artifact) -> Iterator[Place]:
        self.asked.append(artifact.file)
        yield Place((self.folder / artifact.file).absolute().as_uri())

    def close(self) -> None:
        return None
