"""Law 3 by the core: the golden digests of layers are its digests, from the same wheels."""

from __future__ import annotations

import ctypes
from pathlib import Path

from flyte_build.assemble.layer import write_layer
from flyte_build.native import write_blob
from tests.laws.test_law_3_pure_bytes import GOLDEN_LAYERS, GOLDEN_TOGETHER, wheels
from tests.support.layers import sha256, wheel_layer


def made(paths: list[Path], folder: Path) -> tuple[str, str]:
    known = {sha256(path): str(path) for path in paths}
    with (folder / "layer").open("wb") as out:
        result = write_layer(wheel_layer(paths), known.__getitem__, out, scratch=str(folder), write=write_blob)
    assert result.digest == f"sha256:{sha256(folder / 'layer')}"
    return result.digest, result.diff_id


def test_golden_layers(only_native: ctypes.CDLL, tmp_path: Path) -> None:
    for wheel in wheels(tmp_path / "wheels"):
        assert made([wheel], tmp_path) == GOLDEN_LAYERS[wheel.name], wheel.name
    assert made(wheels(tmp_path / "wheels"), tmp_path) == GOLDEN_TOGETHER
