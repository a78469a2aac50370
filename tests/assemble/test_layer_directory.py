"""Layers made one by one and joined: the image of the whole plan, or an error that names the layer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.command import main
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer_directory import derivation, join_layers, make_layer, read_layer
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.deriving.derivation import LayerDerivation
from tests.support.layers import plan, sha256, wheel_layer
from tests.support.wheels import build_wheel

FOLDER: dict[str, Any] = {
    "kind": "files",
    "assembler": ASSEMBLER,
    "title": "workdir /srv/app",
    "files": [{"path": "srv/app", "mode": 0o755, "uid": 1000, "gid": 1000, "dir": True}],
}


@pytest.fixture
def wheels(tmp_path: Path) -> list[Path]:
    return [build_wheel(tmp_path, "one"), build_wheel(tmp_path, "two")]


@pytest.fixture
def image(wheels: list[Path]) -> dict[str, Any]:
    return plan([wheel_layer([wheels[0]]), wheel_layer([wheels[1]]), FOLDER])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(*arguments: str | Path) -> int:
    return main([str(a) for a in arguments])


def made(image: dict[str, Any], wheels: list[Path], folder: Path) -> list[Path]:
    """The layers of artifacts, each by a command of its own, under another title than the plan's."""
    out = []
    for i, spec in enumerate(image["layers"][:-1]):
        path = folder / f"{i}.json"
        path.write_text(json.dumps({**spec, "title": "any"}))
        options = [f"--artifact={sha256(w)}={w}" for w in wheels]
        assert run("layer", path, folder / f"layer-{i}", *options) == 0
        out.append(folder / f"layer-{i}")
    return out


def test_joined_layers_are_the_image_of_the_plan(
    image: dict[str, Any], wheels: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(image))
    assert run(path, tmp_path / "whole", *(f"--artifact={sha256(w)}={w}" for w in wheels), "--ref", "x") == 0
    digest = capsys.readouterr().out.strip()
    layers = made(image, wheels, tmp_path)
    random.Random(1).shuffle(layers)
    capsys.readouterr()
    assert run("image", path, tmp_path / "joined", *(f"--layer={p}" for p in layers), "--ref", "x") == 0
    assert capsys.readouterr().out.strip() == digest
    assert tree(tmp_path / "joined") == tree(tmp_path / "whole")
    assert run("image", path, tmp_path / "linked", *(f"--layer={p}" for p in layers), "--ref", "x", "--link") == 0
    assert tree(tmp_path / "linked") == tree(tmp_path / "whole")
    links = [p for p in (tmp_path / "linked").rglob("*") if p.is_symlink()]
    assert {p.resolve() for p in links} == {layer / "blob" for layer in layers}


def test_a_layer_says_what_it_is(image: dict[str, Any], wheels: list[Path], tmp_path: Path) -> None:
    folder = made(image, wheels, tmp_path)[0]
    assert sorted(p.name for p in folder.iterdir()) == ["blob", "listing.json", "result.json", "spec.json"]
    result = json.loads((folder / "result.json").read_text())
    assert result["derivation"] == LayerDerivation(image["layers"][0], ()).hash == derivation(image["layers"][0])
    assert result["digest"] == f"sha256:{sha256(folder / 'blob')}"
    assert result["size"] == (folder / "blob").stat().st_size
    assert set(json.loads((folder / "listing.json").read_text())) == set(read_layer(str(folder)).result.listing)


def test_a_layer_that_is_not_there_is_named(
    image: dict[str, Any], wheels: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(image))
    layers = made(image, wheels, tmp_path)
    assert run("image", tmp_path / "plan.json", tmp_path / "out", f"--layer={layers[0]}") == 8
    message = capsys.readouterr().err
    assert f"expected a finished layer `{image['layers'][1]['title']}`" in message
    assert derivation(image["layers"][1]) in message
    assert not (tmp_path / "out").exists()


def test_a_layer_without_a_place_is_refused(image: dict[str, Any], wheels: list[Path], tmp_path: Path) -> None:
    """Two wheels in one layer where the plan has two: grouped by other rules, so not the image of the plan."""
    other = make_layer(wheel_layer(wheels), {sha256(w): str(w) for w in wheels}.__getitem__, str(tmp_path / "both"))
    layers = [read_layer(str(p)) for p in made(image, wheels, tmp_path)]
    with pytest.raises(AssembleError, match=rf"the image has no layer {other.derivation}"):
        join_layers(image, [*layers, other], str(tmp_path / "out"))


def test_layers_that_disagree_are_refused(tmp_path: Path) -> None:
    wheels = [build_wheel(tmp_path, name, files={path: ""}) for name, path in (("one", "x.py"), ("two", "x.py/y"))]
    image = plan([wheel_layer([w]) for w in wheels])
    known = {sha256(w): str(w) for w in wheels}
    layers = [make_layer(s, known.__getitem__, str(tmp_path / str(i))) for i, s in enumerate(image["layers"])]
    with pytest.raises(AssembleError, match=r"both hold `opt/venv/lib/python3.11/site-packages/x.py`"):
        join_layers(image, layers, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("spec.json", lambda s: s | {"python": "3.13"}),
        ("result.json", lambda r: {"derivation": r["derivation"]}),
        ("result.json", lambda r: [r]),
    ],
)
def test_a_folder_that_is_no_layer(
    name: str, change: Any, image: dict[str, Any], wheels: list[Path], tmp_path: Path
) -> None:
    folder = made(image, wheels, tmp_path)[0]
    path = folder / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(AssembleError, match=r"expected the (folder|spec) of"):
        read_layer(str(folder))
    path.write_text("{")
    with pytest.raises(AssembleError, match="expected the folder of a finished layer"):
        read_layer(str(folder))


def test_nothing_is_left_of_a_layer_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = build_wheel(tmp_path, "one")
    spec = {**wheel_layer([wheel]), "assembler": 99}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = ("layer", tmp_path / "spec.json", tmp_path / "out", f"--artifact={sha256(wheel)}={wheel}")
    assert run(*command) == 8
    assert "assembler 99" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    assert run(*command) == 9
    assert (tmp_path / "out" / "mine").exists()


@pytest.mark.parametrize(("text", "said"), [("[", "not JSON"), ('{"kind": "tar"}', "kind: expected a valid value")])
def test_a_spec_that_is_none(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "spec.json").write_text(text)
    assert run("layer", tmp_path / "spec.json", tmp_path / "out") == 8
    assert said in capsys.readouterr().err
