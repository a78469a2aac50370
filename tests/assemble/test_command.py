"""The assembler as a command: a whole layout or none, and an exit code for each way to fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.command import main
from tests.support.layers import plan, sha256, wheel_layer, write_plan
from tests.support.tools import need
from tests.support.wheels import build_wheel


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    return write_plan(tmp_path / "in", [build_wheel(tmp_path, "one"), build_wheel(tmp_path, "two")])


def digest_of(layout: Path) -> str:
    return str(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith((".", "out")))


def test_a_layout(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    assert main([*arguments[:1], str(out), *arguments[1:], "--ref", "x"]) == 0
    assert capsys.readouterr().out.strip() == digest_of(out)
    manifest = json.loads((out / "blobs/sha256" / digest_of(out).removeprefix("sha256:")).read_text())
    blobs = {p.name for p in (out / "blobs/sha256").iterdir()}
    assert {d["digest"].removeprefix("sha256:") for d in (manifest["config"], *manifest["layers"])} < blobs
    assert len(blobs) == 4
    for name in blobs:
        assert hashlib.sha256((out / "blobs/sha256" / name).read_bytes()).hexdigest() == name
    assert left(tmp_path / "new") == ["out"]
    assert sorted(p.name for p in out.iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_three_ways_to_say_where_artifacts_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = build_wheel(tmp_path, "one")
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan([wheel_layer([wheel])])))
    (tmp_path / "dir").mkdir()
    shutil.copy(wheel, tmp_path / "dir" / sha256(wheel))
    (tmp_path / "map.json").write_text(json.dumps({sha256(wheel): str(wheel)}))
    ways = [
        ["--artifacts", str(tmp_path / "empty"), "--artifacts", str(tmp_path / "dir")],
        ["--artifact", f"{sha256(wheel)}={wheel}"],
        ["--map", str(tmp_path / "map.json")],
    ]
    for i, way in enumerate(ways):
        assert main([str(path), str(tmp_path / f"out{i}"), *way]) == 0
    assert len(set(capsys.readouterr().out.split())) == 1


def run(arguments: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main([arguments[0], str(out), *arguments[1:]])
    return code, capsys.readouterr().err


def test_a_missing_artifact(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = sorted((tmp_path / "in/artifacts").iterdir())[0]
    gone.unlink()
    code, message = run(arguments, tmp_path / "out", capsys)
    assert code == 6
    assert f"expected an artifact with SHA-256 {gone.name}, found none; looked for {gone}" in message
    assert left(tmp_path) == []


def test_an_artifact_that_is_another(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = sorted((tmp_path / "in/artifacts").iterdir())[0]
    artifact.write_bytes(artifact.read_bytes() + b"\0")
    code, message = run(arguments, tmp_path / "out", capsys)
    assert code == 6
    assert f"expected SHA-256 {artifact.name}, found {sha256(artifact)} in {artifact}" in message
    assert left(tmp_path) == []


def test_a_hostile_wheel_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheels = [build_wheel(tmp_path, "good"), build_wheel(tmp_path, "evil", mutate="bad-crc")]
    code, message = run(write_plan(tmp_path / "in", wheels), tmp_path / "out", capsys)
    assert code == 8
    assert message.startswith("error: evil-1.0-py3-none-any.whl: `opt/venv/")
    assert left(tmp_path) == []


def test_layers_that_conflict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheels = [build_wheel(tmp_path, name, files={path: ""}) for name, path in (("one", "x.py"), ("two", "x.py/y"))]
    code, message = run(write_plan(tmp_path / "in", wheels), tmp_path / "out", capsys)
    assert code == 8
    assert "layers `one 1.0` and `two 1.0` both hold `opt/venv/lib/python3.11/site-packages/x.py`" in message
    assert left(tmp_path) == []


def test_out_must_be_free(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert run(arguments, out, capsys)[0] == 0
    code, message = run(arguments, out, capsys)
    assert (code, message) == (9, f"error: {out}: the folder exists and is not empty\n")
    assert main([str(tmp_path / "gone.json"), str(tmp_path / "out2")]) == 9


@pytest.mark.parametrize("text", ["[]", "{", '{"a": 1}'])
def test_a_bad_map(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    code, message = run([*arguments, "--map", str(tmp_path / "map.json")], tmp_path / "out", capsys)
    assert code == 2
    assert re.search(r"map\.json.*: expected a JSON object from SHA-256 to path", message)


def test_a_bad_command_line(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for bad in (["--artifact", "abc=x"], ["--artifact", "0" * 64], ["--what"]):
        with pytest.raises(SystemExit) as caught:
            main([arguments[0], str(tmp_path / "out"), *bad])
        assert caught.value.code == 2


def changed(spec: dict[str, Any], where: list[str | int], value: object) -> dict[str, Any]:
    copy = json.loads(json.dumps(spec))
    place = copy
    for key in where[:-1]:
        place = place[key]
    if value is None:
        del place[where[-1]]
    else:
        place[where[-1]] = value
    return copy  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (["schema"], 2, "expected plan schema 1, found 2"),
        (["platform"], "linux", r'\$\.platform: expected a valid value, found "linux"'),
        (["config"], None, r"\$\.config: expected an object, found null"),
        (["layers"], {}, r"\$\.layers: expected an array, found {}"),
        (["layers", 0], "x", r'\$\.layers\[0\]: expected an object, found "x"'),
        (["layers", 0, "kind"], "snap", r'\$\.layers\[0\]\.kind: expected a valid value, found "snap"'),
        (["layers", 0, "assembler"], 99, "the plan is for assembler 99"),
        (["layers", 0, "python"], "3.11/../../..", r"\$\.layers\[0\]\.python: expected a valid value"),
        (["layers", 0, "venv"], "opt", r"\$\.layers\[0\]\.venv: expected a valid value"),
        (["layers", 0, "wheels"], None, r"\$\.layers\[0\]\.wheels: expected an array, found null"),
        (["layers", 0, "wheels", 0, "sha256"], "../x", r"\$\.layers\[0\]\.wheels\[0\]\.sha256: expected a valid"),
        (["layers", 0, "wheels", 0, "file"], None, r"\$\.layers\[0\]\.wheels\[0\]\.file: expected a valid value"),
    ],
)
def test_a_bad_plan(
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    where: list[str | int],
    value: object,
    message: str,
) -> None:
    path = Path(arguments[0])
    path.write_text(json.dumps(changed(json.loads(path.read_text()), where, value)))
    code, found = run(arguments, tmp_path / "out", capsys)
    assert code == 8
    assert re.search(message, found)


def test_a_plan_that_is_not_json(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(arguments[0]).write_text("{")
    code, message = run(arguments, tmp_path / "out", capsys)
    assert code == 8
    assert "plan.json: not JSON" in message


@pytest.mark.integration
def test_skopeo_and_umoci_read_the_layout(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([arguments[0], str(out), *arguments[1:], "--ref", "x"]) == 0
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    shown = subprocess.run(
        [need("skopeo"), "inspect", f"oci:{out}:x"], capture_output=True, check=True, env=environment
    )
    assert json.loads(shown.stdout)["Digest"] == digest_of(out)
    copy = [need("skopeo"), "--insecure-policy", "copy", "-q", f"oci:{out}:x", f"oci:{tmp_path / 'copy'}:x"]
    subprocess.run(copy, check=True, env=environment)
    rootless = [] if os.getuid() == 0 else ["--rootless"]
    unpack = [need("umoci"), "unpack", *rootless, "--image", f"{out}:x", str(tmp_path / "bundle")]
    subprocess.run(unpack, check=True, env=environment, capture_output=True)
    site = tmp_path / "bundle/rootfs/opt/venv/lib/python3.11/site-packages"
    assert {"one", "two"} <= {p.name for p in site.iterdir()}
