"""Images in steps: the same as derived and assembled at once, run as Nix and Bazel run them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

import flyte_build
from flyte_build.assemble.image import image_config, image_manifest
from flyte_build.assemble.layer_directory import make_layer
from flyte_build.deriving.derivation import LayerDerivation, derive
from flyte_build.deriving.local_files import snapshot, sources
from flyte_build.locks.nouns import Lock, LockedPlatform, LockedStage, LockedWheel, Pin
from flyte_build.recipe import CopyFiles, EnvVars, Recipe, RunCommands, Scratch, Stage, TreeCopy, WorkDir
from flyte_build.stepwise.command import main
from flyte_build.store import layout
from tests.support.layers import sha256
from tests.support.recipes import AMD64, recipe_of
from tests.support.wheels import build_wheel

COPY = CopyFiles("data", "./data", True, ("*.log",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data = tmp_path / "project" / "data"
    (data / "sub").mkdir(parents=True)
    (data / "a.txt").write_text("a\n")
    (data / "sub" / "run").write_text("#!/bin/sh\n")
    (data / "sub" / "run").chmod(0o755)
    (data / "sub" / "ß").symlink_to("../a.txt")
    (data / "skipped.log").write_text("x")
    (data.parent / "one.txt").write_text("one\n")
    return data.parent


@pytest.fixture
def recipe() -> Recipe:
    made = ("a", WorkDir("/srv/app"), COPY, EnvVars((("P", "$PATH:/x"),)), CopyFiles("one.txt", "/opt/", False))
    return recipe_of(*made, WorkDir("/work"))


@pytest.fixture
def lock(recipe: Recipe, tmp_path: Path) -> Lock:
    """A lock of one wheel and no Debian: that is not what this is about, and the packages would have to be real."""
    wheel = build_wheel(tmp_path, "a")
    locked = LockedWheel("a", "1.0", wheel.name, wheel.stat().st_size, sha256(wheel), 1)
    platform = LockedPlatform("bookworm", "20261101T000000Z", (), (locked,))
    return Lock("env", recipe.to_json(), "uv", "0.1", None, {AMD64: platform})


def run(*arguments: str | Path) -> int:
    return main([str(a) for a in arguments])


def write(lock: Lock, folder: Path) -> Path:
    path = folder / "env.json"
    path.write_text(lock.text())
    return path


def by_hand(layer: LayerDerivation, known: dict[str, str], folder: Path) -> Path:
    """A layer that is not one of files, made without the steps. Debian's two are stood in for by nothing at all."""
    spec = dict(layer.spec)
    make_layer(spec, known.__getitem__, str(folder))
    return folder


def test_files_as_the_image_has_them(lock: Lock, recipe: Recipe, root: Path, tmp_path: Path) -> None:
    derived = derive(lock, recipe, AMD64, snapshot(recipe, root))
    path = write(lock, tmp_path)
    for step, layer in ((2, derived.layers[-2]), (4, derived.layers[-1])):
        assert run("files", path, AMD64, str(step), tmp_path / f"files-{step}", "--root", root) == 0
        result = json.loads((tmp_path / f"files-{step}" / "result.json").read_text())
        assert result["derivation"] == layer.hash
    held = json.loads((tmp_path / "files-2" / "listing.json").read_text())
    inside = ("", "/a.txt", "/sub", "/sub/run", "/sub/ß")
    assert sorted(held) == ["srv/app", *(f"srv/app/data{path}" for path in inside)]


def test_artifacts_play_no_part_in_a_layer_of_files(lock: Lock, root: Path, tmp_path: Path) -> None:
    assert run("files", write(lock, tmp_path), AMD64, "2", tmp_path / "out", "--root", root) == 0
    bare = dataclasses.replace(lock, platforms={AMD64: dataclasses.replace(lock.platforms[AMD64], wheels=(), debs=())})
    assert run("files", write(bare, tmp_path), AMD64, "2", tmp_path / "bare", "--root", root) == 0
    for name in ("blob", "result.json", "spec.json"):
        assert (tmp_path / "bare" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_sealed_steps_play_no_part_in_a_layer_of_files(lock: Lock, recipe: Recipe, root: Path, tmp_path: Path) -> None:
    assert run("files", write(lock, tmp_path), AMD64, "4", tmp_path / "out", "--root", root) == 0
    steps = (*recipe.steps[:3], RunCommands(("make",)), *recipe.steps[3:])
    more = dataclasses.replace(lock, recipe=dataclasses.replace(recipe, steps=steps).to_json())
    assert run("files", write(more, tmp_path), AMD64, "5", tmp_path / "more", "--root", root) == 0
    for name in ("blob", "result.json", "spec.json"):
        assert (tmp_path / "more" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_what_a_stage_copies_need_not_be_here(lock: Lock, recipe: Recipe, root: Path, tmp_path: Path) -> None:
    assert run("files", write(lock, tmp_path), AMD64, "4", tmp_path / "out", "--root", root) == 0
    stage = Stage("elsewhere", Scratch(), (CopyFiles("not-here", "/x", False),))
    taken = RunCommands((), copies=(TreeCopy(0, ("/x",), "/x"),))
    staged = dataclasses.replace(recipe, steps=(*recipe.steps, taken), stages=(stage,))
    held = dataclasses.replace(lock.platforms[AMD64], stages=(LockedStage(None),))
    more = dataclasses.replace(lock, recipe=staged.to_json(), platforms={AMD64: held})
    assert run("files", write(more, tmp_path), AMD64, "4", tmp_path / "more", "--root", root) == 0
    assert (tmp_path / "more/blob").read_bytes() == (tmp_path / "out/blob").read_bytes()


def joined(lock: Lock, recipe: Recipe, root: Path, tmp_path: Path, *options: str) -> Path:
    """The image in steps, as ``tmp_path/image``; Debian's layers, of no packages, are made by hand."""
    derived = derive(lock, recipe, AMD64, snapshot(recipe, root))
    path = write(lock, tmp_path)
    known = {sha: str(p) for sha, p in sources(recipe, root).items()}
    known |= {sha256(p): str(p) for p in tmp_path.glob("*.whl")}
    arguments: list[str] = []
    for i, layer in enumerate(derived.layers):
        if layer.kind in ("debian", "wheels"):
            arguments.append(f"--layer={by_hand(layer, known, tmp_path / str(i))}")
    for step in (2, 4):
        assert run("files", path, AMD64, str(step), tmp_path / f"files-{step}", "--root", root) == 0
        arguments.append(f"--files={step}={tmp_path / f'files-{step}'}")
    return tmp_path / "image" if run("image", path, AMD64, tmp_path / "image", *arguments, *options) == 0 else tmp_path


@pytest.fixture
def without_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without Debian: its system layer reads packages, and these locks have none."""
    import flyte_build.deriving.derivation as derivation

    real = derivation._debian_layers
    monkeypatch.setattr(derivation, "_debian_layers", lambda *a: [x for x in real(*a) if x.kind != "system"])


@pytest.mark.usefixtures("without_system")
def test_the_image_is_that_of_the_derivation(
    lock: Lock, recipe: Recipe, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    derived = derive(lock, recipe, AMD64, snapshot(recipe, root))
    known = {sha: str(p) for sha, p in sources(recipe, root).items()}
    known |= {sha256(p): str(p) for p in tmp_path.glob("*.whl")}
    results = [
        make_layer(dict(layer.spec), known.__getitem__, str(tmp_path / f"x{i}")).result
        for i, layer in enumerate(derived.layers)
    ]
    manifest = image_manifest(derived.spec, image_config(derived.spec, results), results)
    image = joined(lock, recipe, root, tmp_path, "--link")
    digest = capsys.readouterr().out.split()[-1]
    (entry,) = json.loads((image / "index.json").read_text())["manifests"]
    assert entry == layout.descriptor(digest, len(manifest), json.loads(manifest), "env", AMD64, derived.hash)
    assert (image / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes() == manifest
    # Nobody made the working directory's layer by itself: it has no artifacts.
    assert "workdir /work" in [layer.title for layer in derived.layers]


@pytest.mark.usefixtures("without_system")
def test_pins(lock: Lock, recipe: Recipe, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = joined(lock, recipe, root, tmp_path)
    digest = capsys.readouterr().out.split()[-1]
    hash_ = derive(lock, recipe, AMD64, snapshot(recipe, root)).hash
    other = "sha256:" + "0" * 64
    cases = [
        ({}, 0, "not pinned"),
        ({AMD64: Pin(hash_, digest)}, 0, "as pinned"),
        ({AMD64: Pin(other, other)}, 0, "the pin is of another derivation"),
        ({AMD64: Pin(hash_, other)}, 15, f"expected the pinned {other}, found {digest}"),
    ]
    for pins, code, said in cases:
        path = write(dataclasses.replace(lock, pins=pins), tmp_path)
        assert run("check", path, AMD64, image, "--out", tmp_path / "said") == code
        shown = capsys.readouterr()
        assert said in shown.out + shown.err
    assert "another derivation" in (tmp_path / "said").read_text()


def test_what_is_wrong_has_an_exit_code(
    lock: Lock, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(lock, tmp_path)
    assert run("files", path, AMD64, "1", tmp_path / "out", "--root", root) == 2
    assert "expected the index of a copy step (2, 4), found 1" in capsys.readouterr().err
    assert run("files", path, "linux/arm64", "2", tmp_path / "out", "--root", root) == 2
    assert run("image", path, AMD64, tmp_path / "out") == 2
    assert "expected a layer of files for step 2, found none" in capsys.readouterr().err
    (root / "data" / "dangling").symlink_to("nowhere")
    assert run("files", path, AMD64, "2", tmp_path / "out", "--root", root) == 8
    path.write_text("{}")
    assert run("image", path, AMD64, tmp_path / "out") == 4
    assert run("image", tmp_path / "none.json", AMD64, tmp_path / "out") == 9
    assert not (tmp_path / "out").exists()


def test_it_runs_without_anything_installed(lock: Lock, root: Path, tmp_path: Path) -> None:
    """As Nix and Bazel run it: an interpreter without site-packages, from a folder, in no environment."""
    folder = Path(flyte_build.__file__).parent / "stepwise"
    command = [sys.executable, "-I", "-S", "-v", str(folder), "files", str(write(lock, tmp_path)), AMD64, "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "out"), "--root", str(root)],
        env={},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("sha256:")
    loaded = {line.split("'")[1].partition(".")[0] for line in done.stderr.splitlines() if line.startswith("import '")}
    assert loaded - set(sys.stdlib_module_names) <= {"flyte_build", "__main__"}
