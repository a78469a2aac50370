"""The layer of a sealed step is taken as it is, by the assembler alone: by its digest, or not at all."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.command import main
from flyte_build.assemble.version import ASSEMBLER

TAR = b"a tar of a step" + bytes(1009)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "sealed.tar.gz"
    path.write_bytes(gzip.compress(TAR, mtime=0))
    return path


def spec(blob: Path, **more: Any) -> dict[str, Any]:
    data = blob.read_bytes()
    return {
        "kind": "sealed",
        "assembler": ASSEMBLER,
        "title": "run make",
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "size": len(data),
        "diff_id": f"sha256:{hashlib.sha256(TAR).hexdigest()}",
        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
    } | more


def assemble(folder: Path, blob: Path, **more: Any) -> int:
    told = spec(blob, **more)
    (folder / "spec.json").write_text(json.dumps(told))
    artifact = f"{told['digest'][7:]}={blob}"
    return main(["layer", str(folder / "spec.json"), str(folder / "out"), "--artifact", artifact])


def test_it_is_the_blob(tmp_path: Path, blob: Path) -> None:
    assert assemble(tmp_path, blob) == 0
    assert (tmp_path / "out/blob").read_bytes() == blob.read_bytes()
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert (result["digest"], result["diff_id"]) == (spec(blob)["digest"], spec(blob)["diff_id"])
    assert json.loads((tmp_path / "out/listing.json").read_text()) == {}


def test_another_tar_is_refused(tmp_path: Path, blob: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert assemble(tmp_path, blob, diff_id="sha256:" + "0" * 64) == 8
    assert "run make: expected the diff_id sha256:0000" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_blob_is_refused(tmp_path: Path, blob: Path) -> None:
    assert assemble(tmp_path, blob, digest="sha256:" + "1" * 64) == 6


def test_a_spec_without_a_diff_id_is_no_plan(tmp_path: Path, blob: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert assemble(tmp_path, blob, diff_id=None) == 8
    assert "diff_id" in capsys.readouterr().err
