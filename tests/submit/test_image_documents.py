"""Manifests and configurations of any shape: what they say, or an error in words."""

from __future__ import annotations

import json

import pytest

from flyte_build.kernel.errors import ArtifactError
from flyte_build.submit.image_documents import Config, LayerOf, Manifest, read_config, read_manifest

D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
TAR = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER = {"digest": D2, "mediaType": TAR, "size": 1}
MANIFEST = Manifest(D1, (LayerOf(D2, TAR),))


def test_what_they_say() -> None:
    assert read_manifest(json.dumps({"config": {"digest": D1}, "layers": [LAYER]}).encode(), D1) == MANIFEST
    config = {"rootfs": {"diff_ids": [D1]}, "config": {"Env": ["A=b"], "WorkingDir": "/w"}}
    assert read_config(json.dumps(config).encode(), D1, MANIFEST) == Config((D1,), ("A=b",), "/w")


@pytest.mark.parametrize("said", [{}, {"config": None}, {"config": {}}, {"config": {"Env": None, "WorkingDir": None}}])
def test_what_they_need_not_say(said: dict[str, object]) -> None:
    assert read_config(json.dumps({"rootfs": {"diff_ids": [D1]}, **said}).encode(), D1, MANIFEST) == Config(
        (D1,), (), ""
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "expected JSON"),
        (b"\xff", "expected JSON: it is no UTF-8"),
        (b"[" * 5000, "expected JSON"),
        (b"[]", "expected JSON: expected an object, found list"),
        ({}, "expected a list of `layers`, found 'None'"),
        ({"layers": {}}, "expected a list of `layers`"),
        ({"layers": []}, "`config`: expected a `digest`"),
        ({"layers": [], "config": D1}, "`config`: expected a `digest`"),
        ({"layers": [], "config": {"digest": "sha256:../../etc/passwd"}}, "found 'sha256:../../etc/passwd'"),
        ({"layers": [5], "config": {"digest": D1}}, "`layers`: expected a `digest`"),
        ({"layers": [{"mediaType": TAR}], "config": {"digest": D1}}, "`layers`: expected a `digest`"),
        ({"layers": [{"digest": D2}], "config": {"digest": D1}}, f"layer {D2} is of type None"),
        ({"layers": [{"digest": D2, "mediaType": 5}], "config": {"digest": D1}}, f"layer {D2} is of type 5"),
    ],
)
def test_no_manifest(document: bytes | dict[str, object], words: str) -> None:
    with pytest.raises(ArtifactError) as e:
        read_manifest(document if isinstance(document, bytes) else json.dumps(document).encode(), D1)
    assert words in e.value.message


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"null", "expected JSON: expected an object, found null"),
        ({}, "expected `rootfs.diff_ids`"),
        ({"rootfs": []}, "expected `rootfs.diff_ids`"),
        ({"rootfs": {"diff_ids": D1}}, "expected `rootfs.diff_ids`"),
        ({"rootfs": {"diff_ids": [5]}}, "expected `rootfs.diff_ids`"),
        ({"rootfs": {"diff_ids": ["sha256:../../../../home"]}}, "expected `rootfs.diff_ids`"),
        ({"rootfs": {"diff_ids": [D1, D2]}}, "expected 1 `diff_ids`, as its manifest has layers, found '2'"),
        ({"rootfs": {"diff_ids": [D1]}, "config": [1]}, "expected an object `config`"),
        ({"rootfs": {"diff_ids": [D1]}, "config": {"Env": "A=b"}}, "expected `Env`, a list of texts"),
        ({"rootfs": {"diff_ids": [D1]}, "config": {"Env": [5]}}, "expected `Env`, a list of texts"),
        ({"rootfs": {"diff_ids": [D1]}, "config": {"Env": ["A=\0"]}}, "expected `Env`, a list of texts without NUL"),
        ({"rootfs": {"diff_ids": [D1]}, "config": {"WorkingDir": 5}}, "expected `WorkingDir`, a text"),
        ({"rootfs": {"diff_ids": [D1]}, "config": {"WorkingDir": "/\0"}}, "expected `WorkingDir`, a text"),
    ],
)
def test_no_configuration(document: bytes | dict[str, object], words: str) -> None:
    with pytest.raises(ArtifactError) as e:
        read_config(document if isinstance(document, bytes) else json.dumps(document).encode(), D1, MANIFEST)
    assert words in e.value.message
    assert e.value.exit_code == 8
