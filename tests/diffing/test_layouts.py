"""Images that were not made here: what their files tell, which of several is meant, and damage."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.diffing.contents import Contents
from flyte_build.diffing.entries import File
from flyte_build.diffing.filesystem import merged
from flyte_build.diffing.layouts import choose, read_image
from flyte_build.kernel.errors import ArtifactError, InputError
from tests.submit.oci import Made, image, tar_of

from .conftest import entry_of, index_of

SITE = "opt/venv/lib/python3.11/site-packages"
STATUS = """\
Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2-1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2:2.36

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2:2.36
"""
BASE = [
    Made("./var/lib/dpkg/status", STATUS.encode()),
    Made("etc", mode=0o755),
    Made("etc/motd", b"hello", mode=0o600),
    Made("bin", link="usr/bin"),
    Made("usr/bin/a", b"a"),
    Made("usr/bin/b", hard="./usr/bin/a"),
    Made("dev/null", device=True),
]
VENV = [
    Made(f"{SITE}/My_Pkg-1.0+cpu.dist-info/METADATA", b"Name: my.pkg"),
    Made(f"{SITE}/numpy-2.0.dist-info/METADATA", b""),
    Made("usr/lib/python3/dist-packages/apt-1.dist-info/METADATA", b""),
    Made("usr/lib/python3.11/site-packages/numpy-1.0.dist-info/METADATA", b""),
    Made("etc/.wh.motd", b""),
]


def read(folder: Path, name: str | None = None) -> Contents:
    return read_image(folder, choose(folder, name, None).digest, "it")


def view(contents: Contents) -> dict[str, File]:
    return merged([layer.files for layer in contents.layers or ()])


def test_files_are_read_off_the_layers(layout: Callable[..., Path]) -> None:
    found = view(read(layout(app=[BASE])))
    digest = hashlib.sha256(b"hello").hexdigest()
    assert found["etc"] == File("folder", 0o755)
    assert found["etc/motd"] == File("file", 0o600, 5, "3610a686", digest)
    assert found["bin"] == File("link", link="usr/bin")
    assert found["usr/bin/b"] == File("hardlink", link="usr/bin/a")
    assert found["dev/null"].kind == "device"
    assert "etc/motd" not in view(read(layout(app=[BASE, VENV])))


def test_packages_are_read_off_dist_info_and_dpkgs_database(layout: Callable[..., Path]) -> None:
    found = read(layout(app=[BASE, VENV]))
    assert {name: p.version for name, p in (found.wheels or {}).items()} == {
        "my-pkg": "1.0+cpu",
        "numpy": "2.0",
        "numpy in /usr/lib/python3.11/site-packages": "1.0",
    }
    assert {name: p.version for name, p in (found.debs or {}).items()} == {
        "bash": "5.2-1",
        "libc6": "2:2.36",
        "libc6:i386": "2:2.36",
    }


def test_an_upper_layers_database_replaces_the_lower_ones(layout: Callable[..., Path]) -> None:
    upper = [Made("var/lib/dpkg/status", STATUS.replace("5.2-1", "5.3-1").encode())]
    assert (read(layout(app=[BASE, upper])).debs or {})["bash"].version == "5.3-1"
    assert read(layout(app=[BASE, [Made("var/lib/dpkg/.wh.status", b"")]])).debs == {}


def test_one_file_a_package_is_read_too(layout: Callable[..., Path]) -> None:
    stanza = b"Package: tzdata\nVersion: 2026a\n"
    files = [
        Made("var/lib/dpkg/status.d/tzdata", stanza), Made("var/lib/dpkg/status.d/tzdata.md5sums", b"0 a\n"),
    ]  # fmt: skip
    assert {n: p.version for n, p in (read(layout(app=[files])).debs or {}).items()} == {"tzdata": "2026a"}


def test_configuration_platform_and_layers(layout: Callable[..., Path]) -> None:
    found = read(layout(app=[BASE, VENV]))
    assert found.config == {"Env": ["A=1"], "WorkingDir": "/srv"}
    assert found.facts == {"platform": "linux/amd64"}
    layers = found.layers or ()
    assert [(x.title, x.kind, x.derivation) for x in layers] == [("layer 1", None, None), ("layer 2", None, None)]
    assert found.size == sum(os.path.getsize(tmp) for tmp in _blobs(layout(app=[BASE, VENV]), found))


def _blobs(folder: Path, contents: Contents) -> list[Path]:
    return [folder / "blobs/sha256" / str(x.digest)[7:] for x in contents.layers or ()]


# -- what cannot be read ---------------------------------------------------------------------------


def _one_layer(folder: Path, blob: bytes) -> Path:
    """A layout of an image with this one layer's blob."""
    digest = image(folder / "blobs/sha256", [[]])
    manifest = json.loads((folder / "blobs/sha256" / digest[7:]).read_bytes())
    name = hashlib.sha256(blob).hexdigest()
    (folder / "blobs/sha256" / name).write_bytes(blob)
    manifest["layers"] = [{"mediaType": "x", "digest": f"sha256:{name}", "size": len(blob)}]
    data = json.dumps(manifest).encode()
    named = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256" / named).write_bytes(data)
    index_of(folder, [entry_of(folder, f"sha256:{named}", "app")])
    return folder


def test_a_plain_tar_is_a_layer(tmp_path: Path) -> None:
    assert view(read(_one_layer(tmp_path / "l", tar_of(BASE))))["etc/motd"].size == 5


def test_another_compression_is_not_known_and_no_error(tmp_path: Path) -> None:
    found = read(_one_layer(tmp_path / "l", b"\x28\xb5\x2f\xfd" + bytes(range(200)) * 2))
    assert (found.layers or ())[0].files is None
    assert (found.wheels, found.debs) == (None, None)
    assert found.unknown["wheels"] == "a layer's files are not known"


def test_a_layer_that_is_not_there_is_not_known(layout: Callable[..., Path]) -> None:
    folder = layout(app=[BASE])
    [blob] = _blobs(folder, read(folder))
    blob.unlink()
    [layer] = read(folder).layers or ()
    assert (layer.files, layer.because) == (None, "the layer is not in the layout")


def test_damage_is_an_error_and_no_difference(layout: Callable[..., Path]) -> None:
    folder = layout(app=[BASE])
    [blob] = _blobs(folder, read(folder))
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-20])
    with pytest.raises(ArtifactError, match="expected a layer"):
        read(folder)
    blob.write_bytes(whole + b"\0")
    with pytest.raises(ArtifactError, match="expected the digest sha256:"):
        read(folder)
    manifest = folder / "blobs/sha256" / choose(folder, None, None).digest[7:]
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="expected JSON with the digest"):
        read(folder)


# -- which image -----------------------------------------------------------------------------------


def test_one_of_several_is_named(layout: Callable[..., Path]) -> None:
    folder = layout(**{"app": [BASE], "env-linux-amd64": [VENV]})
    assert choose(folder, "app", None).name == "app"
    assert choose(folder, "env", None).name == "env-linux-amd64", "an environment of ours"
    digest = choose(folder, "app", None).digest
    assert choose(folder, digest[:15], None).digest == digest
    for ref in (None, "other", "sha256:"):
        with pytest.raises(InputError, match=r"expected exactly one image.*there are: `app` \(linux/amd64\), `env-"):
            choose(folder, ref, None)


def test_of_several_platforms_one_is_chosen(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs/sha256"
    amd, arm = image(blobs, [BASE]), image(blobs, [VENV])
    inner = json.dumps(
        {"manifests": [entry_of(tmp_path, amd), entry_of(tmp_path, arm, platform="linux/arm64")]}
    ).encode()
    name = hashlib.sha256(inner).hexdigest()
    (blobs / name).write_bytes(inner)
    kind = "application/vnd.oci.image.index.v1+json"
    notes = {"org.opencontainers.image.ref.name": "app"}
    index_of(tmp_path, [{"mediaType": kind, "digest": f"sha256:{name}", "size": len(inner), "annotations": notes}])
    assert choose(tmp_path, "app", "linux/arm64").digest == arm
    assert choose(tmp_path, "app", None, "linux/amd64").digest == amd
    with pytest.raises(InputError, match="for linux/s390x, found 0"):
        choose(tmp_path, "app", "linux/s390x", "linux/amd64")
    with pytest.raises(InputError, match="found 2"):
        choose(tmp_path, "app", None)


@pytest.mark.parametrize("what", ["nothing", "a folder", "no marker"])
def test_what_is_no_layout_is_said_to_be_none(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "x"
    if what != "nothing":
        folder.mkdir()
    if what == "no marker":
        (folder / "index.json").write_text("{}")
    with pytest.raises(InputError, match="expected an OCI image layout"):
        choose(folder, None, None)
