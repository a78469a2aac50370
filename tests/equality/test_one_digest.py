"""However an image is made, it has one digest: stored, assembled at once, and in the steps of Nix and Bazel."""

from __future__ import annotations

import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

from flyte_build.recipe import AptInstall, CopyFiles, EnvVars, PipInstall, WorkDir
from tests.support.locking import whole_lock

from .bazel_rules import image_layers
from .builders import at_once, in_steps, stored
from .images import Image, one_digest
from .projects import Project, make
from .shapes import PLATFORMS, DebShape, Shape, WheelShape, shapes

# One of everything, and both sides of the size from which a wheel has a layer of its own.
WHOLE = Shape(
    "env",
    "3.11",
    True,
    PLATFORMS,
    (
        PipInstall(("alpha==1.0", "beta-two==1.0")),
        AptInstall(("git",)),
        WorkDir("/work"),
        EnvVars((("MODE", "ü"), ("PATH", "/x:$PATH"))),
        CopyFiles("env/data", "in/", True, ("*.log",)),
        PipInstall(("delta-x==1.0",)),
        CopyFiles("env/one.txt", "/opt/own/", False),
        PipInstall(("eta9",), wheels=("env/vendor/eta9-1.0-py3-none-any.whl",)),
    ),
    (
        WheelShape("gamma", 0, "large", ("commands",)),
        WheelShape("alpha", 1, "under", ("native", "scripts")),
        WheelShape("beta-two", 1, "small", ("data", "namespace", "nonascii")),
        WheelShape("delta.x", 2, "large", ("namespace", "zip64")),
        WheelShape("eta9", 3, "small", ("executable", "stored"), True),
    ),
    (
        DebShape("git", False, ("conffile", "epoch", "library", "links")),
        DebShape("mawk", True, ("all", "certificate", "gz", "hardlink", "postinst", "setuid")),
    ),
    ("a.txt", "deep/er/x", "left.log", "sub/link", "sub/run", "ü.txt"),
)


def every_way(project: Project, folder: Path) -> list[list[Image]]:
    """Of each image of ``project``, what each way makes."""
    return [
        [
            stored(project, lock, platform, folder / f"store-{i}"),
            at_once(project, lock, platform, folder / f"plan-{i}"),
            in_steps(project, lock, platform, folder / f"steps-{i}", image_layers),
        ]
        for i, (lock, platform) in enumerate(project.images())
    ]


# Not shrunk: each example takes half a second, and the message says where the images differ.
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(shapes())
def test_any_image(shape: Shape) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = [one_digest(made) for made in every_way(make(Path(folder), [shape]), Path(folder))]
        assert len(set(found)) == len(shape.platforms)


def test_an_image_of_everything(tmp_path: Path) -> None:
    amd64, arm64 = every_way(make(tmp_path, [WHOLE]), tmp_path)
    assert one_digest(amd64) != one_digest(arm64)
    config = amd64[0].document(amd64[0].manifest["config"]["digest"])
    titles = [row["created_by"].removeprefix("flyte-build: ") for row in config["history"]]
    assert titles == [
        "debian bookworm",
        "apt git",
        "system files, user and venv",
        # Step 0 stays together, whatever is in it; a byte less than a large wheel is a small one.
        "runtime",
        "alpha 1.0, beta-two 1.0",
        "delta-x 1.0",
        "eta9 1.0",
        "copy env/data",
        "copy env/one.txt",
    ]


def test_an_image_of_wheels_over_several_layers(tmp_path: Path) -> None:
    few = tuple(w for w in WHOLE.wheels if w.name in ("delta.x", "eta9"))
    project = make(tmp_path, [replace(WHOLE, ceiling=3 << 20, wheels=few, platforms=PLATFORMS[:1])])
    (amd64,) = every_way(project, tmp_path)
    one_digest(amd64)
    config = amd64[0].document(amd64[0].manifest["config"]["digest"])
    titles = [row["created_by"].removeprefix("flyte-build: ") for row in config["history"]]
    assert [title for title in titles if "delta" in title] == [f"delta-x 1.0 (part {n} of 3)" for n in (1, 2, 3)]
    blobs = [row["digest"] for row in amd64[0].manifest["layers"]]
    assert len(set(blobs)) == len(blobs)
    for blob in blobs:
        with tarfile.open(amd64[0].blob(blob)) as tar:
            assert tar.next() is not None, "no layer is empty"


def test_the_same_copy_twice_is_one_layer(tmp_path: Path) -> None:
    few = tuple(w for w in WHOLE.wheels if w.name == "eta9")
    (copy,) = (s for s in WHOLE.steps if isinstance(s, CopyFiles) and s.folder)
    project = make(tmp_path, [replace(WHOLE, steps=(*WHOLE.steps, copy), wheels=few, platforms=PLATFORMS[:1])])
    (made,) = every_way(project, tmp_path)
    one_digest(made)
    blobs = [row["digest"] for row in made[0].manifest["layers"]]
    assert len(set(blobs)) == len(blobs)
    config = made[0].document(made[0].manifest["config"]["digest"])
    titles = [row["created_by"].removeprefix("flyte-build: ") for row in config["history"]]
    assert [title for title in titles if title.startswith("copy")] == ["copy env/data", "copy env/one.txt"]


def test_grouping_that_differs_is_an_error_that_names_the_layer(tmp_path: Path) -> None:
    """Never another image: whoever groups a large wheel with others hears of it."""
    project = make(tmp_path, [WHOLE])
    lock, platform = next(project.images())

    def together(value: object, where: str) -> list[tuple[dict[str, object], list[str]]]:
        found = image_layers(lock.to_json(), where)
        alone, last = found[-2], found[-1]
        spec = {**last[0], "wheels": [*alone[0]["wheels"], *last[0]["wheels"]]}
        return [*found[:-2], (spec, [*alone[1], *last[1]])]

    with pytest.raises(AssertionError, match=r"expected a finished layer `delta-x 1\.0` \(sha256:[0-9a-f]{64}\)"):
        in_steps(project, lock, platform, tmp_path / "steps", together)
    assert not (tmp_path / "steps/out").exists()


def test_the_shape_is_what_its_lock_says(tmp_path: Path) -> None:
    """The generator makes what it is told: a wheel for each platform, and files that git and the lock can hold."""
    project = make(tmp_path, [WHOLE])
    raw = whole_lock(project.lockfiles / "env.json")
    files = {p: {w["name"]: w["file"] for w in raw["platforms"][p]["wheels"]} for p in PLATFORMS}
    assert files["linux/amd64"]["alpha"].endswith("x86_64.whl")
    assert files["linux/arm64"]["alpha"].endswith("aarch64.whl")
    assert files["linux/amd64"]["eta9"] == files["linux/arm64"]["eta9"] == "eta9-1.0-py3-none-any.whl"
    assert (project.root / "env/data/sub/link").is_symlink()
