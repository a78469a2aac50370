"""An image that is not the others' is told with the builder, the first layer and the first path that differ."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.image import canonical
from flyte_build.recipe import CopyFiles, EnvVars, PipInstall

from .builders import at_once, stored
from .images import Image, one_digest, problems
from .projects import make
from .shapes import Shape, WheelShape

SHAPE = Shape(
    "env",
    "3.11",
    False,
    ("linux/amd64",),
    (PipInstall(("alpha==1.0",)), EnvVars((("MODE", "x"),)), CopyFiles("env/data", "/srv/", True)),
    (WheelShape("alpha", 1, "small", ("executable",)),),
    (),
    ("a.txt", "sub/run"),
)
MODULE = "opt/venv/lib/python3.11/site-packages/alpha"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image]:
    folder = tmp_path_factory.mktemp("images")
    project = make(folder, [SHAPE])
    ((lock, platform),) = project.images()
    return (
        stored(project, lock, platform, folder / "store"),
        at_once(project, lock, platform, folder / "plan"),
    )


def put(layout: Path, data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return f"sha256:{digest}"


def other(image: Image, folder: Path, change: Callable[[Any, Any, Path], None]) -> Image:
    """A copy of ``image`` with another manifest and configuration, and so another digest."""
    layout = shutil.copytree(image.layout, folder / "other")
    manifest = json.loads(json.dumps(image.manifest))
    config = json.loads(json.dumps(image.document(manifest["config"]["digest"])))
    change(manifest, config, layout)
    data = canonical(config)
    manifest["config"] |= {"digest": put(layout, data), "size": len(data)}
    return Image("another builder", put(layout, canonical(manifest)), layout)


def in_layer(number: int, change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None]) -> Callable[..., None]:
    """A change of the members of a layer, counted from 1, as an image of a faulty builder would have it."""

    def apply(manifest: Any, config: Any, layout: Path) -> None:
        row = manifest["layers"][number - 1]
        data = gzip.decompress((layout / "blobs/sha256" / row["digest"].removeprefix("sha256:")).read_bytes())
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
            for member in old:
                content = old.extractfile(member) if member.isreg() else None
                if (kept := change(member)) is not None:
                    new.addfile(kept, content)
        blob = gzip.compress(out.getvalue(), mtime=0)
        row |= {"digest": put(layout, blob), "size": len(blob)}
        config["rootfs"]["diff_ids"][number - 1] = "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()

    return apply


def executable(member: tarfile.TarInfo) -> tarfile.TarInfo:
    if member.name == f"{MODULE}/__init__.py":
        member.mode = 0o755
    return member


def without(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name == "srv/sub/run" else member


def later(member: tarfile.TarInfo) -> tarfile.TarInfo:
    if member.name == "srv/a.txt":
        member.mtime += 1
    return member


def setting(manifest: Any, config: Any, layout: Path) -> None:
    config["config"]["Env"].append("MORE=1")


def note(manifest: Any, config: Any, layout: Path) -> None:
    manifest["annotations"] = {"x": "y"}


CASES = {
    "mode": (
        in_layer(3, executable),
        f"layer 3 (`alpha 1.0`): `{MODULE}/__init__.py`: mode: expected 0644, found 0755",
    ),
    "missing": (in_layer(4, without), "layer 4 (`copy env/data`): `srv/sub/run`: missing; expected a file of 8 bytes"),
    "time": (
        in_layer(4, later),
        "layer 4 (`copy env/data`): `srv/a.txt`: tar header, mtime: expected 315532800, found 315532801",
    ),
    "setting": (setting, 'configuration: `config.Env[5]`: expected nothing, found "MORE=1"'),
    "manifest": (note, 'manifest: `annotations`: expected nothing, found {"x": "y"}'),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_difference(case: str, images: tuple[Image, Image], tmp_path: Path) -> None:
    change, said = CASES[case]
    wrong = other(images[1], tmp_path, change)
    assert problems(images) == []
    (line,) = problems([*images, wrong])
    assert line.startswith(f"another builder, compared with the store: {said}")
    with pytest.raises(AssertionError, match="another builder, compared with the store"):
        one_digest([*images, wrong])


def test_a_blob_that_is_not_what_its_name_says(images: tuple[Image, Image], tmp_path: Path) -> None:
    """The digest is the same, and yet it is not the image."""
    image = images[1]
    layout = shutil.copytree(image.layout, tmp_path / "other")
    digest = image.manifest["layers"][0]["digest"]
    blob = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    (line,) = problems([images[0], Image("another builder", image.digest, layout)])
    assert line.startswith(f"another builder: expected the blob {digest}, found sha256:")
    blob.unlink()
    assert problems([images[0], Image("another builder", image.digest, layout)]) == [
        f"another builder: expected the blob {digest}, found none"
    ]


def test_one_image_is_no_comparison(images: tuple[Image, Image]) -> None:
    with pytest.raises(AssertionError, match="expected several builders' images"):
        one_digest(images[:1])


def test_links_of_a_builder_with_a_tree_of_its_own(images: tuple[Image, Image], tmp_path: Path) -> None:
    """As in a Nix store that lies elsewhere: the blobs' links are absolute in there."""
    tree = tmp_path / "tree"
    shutil.copytree(images[0].layout, tree / "nix/made")
    layout = tmp_path / "linked"
    (layout / "blobs/sha256").mkdir(parents=True)
    for blob in (tree / "nix/made/blobs/sha256").iterdir():
        (layout / "blobs/sha256" / blob.name).symlink_to(f"/nix/made/blobs/sha256/{blob.name}")
    assert one_digest([images[1], Image("linked", images[0].digest, layout, tree)]) == images[1].digest
