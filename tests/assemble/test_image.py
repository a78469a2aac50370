"""Configuration, manifest, index, and layers that disagree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.image import check_conflicts, check_image, image_config, image_manifest, write_layout
from flyte_build.assemble.layer import LayerResult
from tests.support.layers import plan


def result(number: int, **listing: str) -> LayerResult:
    return LayerResult(f"sha256:{number:064x}", 100 + number, f"sha256:{number + 1000:064x}", 1000 + number, listing)


def layer(kind: str, title: str) -> dict[str, Any]:
    return {"kind": kind, "assembler": 1, "title": title}


SPEC = plan([layer("wheels", "numpy 2.4.6"), layer("files", "copy src")])
RESULTS = [result(1), result(2)]


def test_configuration() -> None:
    config = json.loads(image_config(SPEC, RESULTS))
    assert config == {
        "architecture": "amd64",
        "os": "linux",
        "created": "1980-01-01T00:00:00Z",
        "config": SPEC["config"],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{1001:064x}", f"sha256:{1002:064x}"]},
        "history": [
            {"created": "1980-01-01T00:00:00Z", "created_by": "flyte-build: numpy 2.4.6"},
            {"created": "1980-01-01T00:00:00Z", "created_by": "flyte-build: copy src"},
        ],
    }


def test_manifest() -> None:
    config = image_config(SPEC, RESULTS)
    manifest = json.loads(image_manifest(SPEC, config, RESULTS))
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
        "size": len(config),
    }
    assert manifest["layers"] == [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": r.digest, "size": r.size}
        for r in RESULTS
    ]
    assert "annotations" not in manifest
    annotated = image_manifest({**SPEC, "annotations": {"a": "b"}}, config, RESULTS)
    assert json.loads(annotated)["annotations"] == {"a": "b"}


def test_a_platform_may_have_a_variant() -> None:
    config = json.loads(image_config({**SPEC, "platform": "linux/arm/v7"}, RESULTS))
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm", "v7")


def test_the_bytes_are_these() -> None:
    """Whoever changes them changes every image."""
    config = image_config(SPEC, RESULTS)
    manifest = image_manifest(SPEC, config, RESULTS)
    assert hashlib.sha256(config).hexdigest() == "abe65d78d1337b28d60c68965fb21f39b1212efddba3c9c608fd1d75ee528ef8"
    assert hashlib.sha256(manifest).hexdigest() == "5405c708dd7c278f94905fe4ab69a619e061da1a12747bfbeed8a945d54dc245"


def test_conflicts_name_both_layers_and_the_path() -> None:
    with pytest.raises(AssembleError, match="layers `one` and `two` both hold `a/x`, and not the same"):
        check_conflicts([("one", {"a/x": "f 0644 1 00000000"}), ("two", {"a/x": "f 0644 1 00000001"})])
    with pytest.raises(AssembleError, match="`d 1777` and `d 0755`"):
        check_conflicts([("one", {"tmp": "d 1777"}), ("two", {"tmp": "d 0755"})])
    check_conflicts([("one", {"a": "d 0755", "a/x": "l y"}), ("two", {"a": "d 0755", "a/x": "l y", "a/z": "l z"})])


def test_copied_files_may_replace_what_lies_below() -> None:
    below, above = result(1, x="f 0644 1 00000000"), result(2, x="f 0644 1 00000001")
    check_image(SPEC, [below, above])
    with pytest.raises(AssembleError, match="layers `one` and `two`"):
        check_image(plan([layer("debian", "one"), layer("wheels", "two")]), [below, above])


def test_of_two_distributions_files_the_upper_layers_are_there_and_said_to_be() -> None:
    both_wheels = plan([layer("wheels", "one"), layer("wheels", "two")])
    below = result(1, x="f 0644 1 00000000", y="f 0644 1 00000000", z="f 0644 1 00000000")
    above = result(2, x="f 0644 1 00000001", y="f 0644 1 00000001", z="f 0644 1 00000000")
    assert check_image(both_wheels, [below, above]) == [
        "`x` and 1 more of one and of two are not the same; those of two are in the image"
    ]
    assert check_image(both_wheels, [below, below]) == []
    with pytest.raises(AssembleError, match="layers `one` and `two` both hold `x`"):
        check_image(both_wheels, [below, result(2, x="d 0755")])


def test_layout(tmp_path: Path) -> None:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    digest = write_layout(str(tmp_path), SPEC, RESULTS, ref="fold:latest")
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / "index.json").read_text())
    (entry,) = index["manifests"]
    assert entry["digest"] == digest
    assert entry["platform"] == {"architecture": "amd64", "os": "linux"}
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "fold:latest"}
    for path in (tmp_path / "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert len(list((tmp_path / "blobs/sha256").iterdir())) == 2
