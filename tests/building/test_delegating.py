"""What another builder is asked for, and what is taken of what it made. The builders are scripts of the test's."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.building.delegating import Order, build, builder
from flyte_build.kernel.errors import RefusedError, SealError

from ..support.bases import layer

FAKE = """#!/bin/sh
echo "$@" >>{folder}/calls
case "$1" in
build)
    test ! -e {folder}/fails || {{ echo no; exit 3; }}
    while test $# -gt 0; do
        case "$1" in
        --iidfile) echo sha256:1 >"$2" ;;
        --secret) cat "${{2#*src=}}"; echo; stat -c %a "${{2#*src=}}" ;;
        esac
        shift
    done ;;
push) for last; do :; done; cp -r {folder}/made "${{last#dir:}}" ;;
save) cp {folder}/made.tar "$3" ;;
esac
"""
LOW, HIGH = layer({"etc": None}), layer({"new": "file"})


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With both builders on the PATH, and what they make."""
    (tmp_path / "bin").mkdir()
    for name in ("buildah", "docker"):
        (tmp_path / "bin" / name).write_text(FAKE.format(folder=tmp_path))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(
        "shutil.which", lambda name: str(found) if (found := tmp_path / "bin" / name).exists() else None
    )
    made = tmp_path / "made"
    made.mkdir()
    config = json.dumps(
        {
            "rootfs": {"diff_ids": [f"sha256:{digest(LOW)}", f"sha256:{digest(HIGH)}"]},
            "config": {"User": "app", "Hostname": "x", "OnBuild": None, "Env": ["A=b"]},
        }
    ).encode()
    for data in (gzip.compress(LOW), gzip.compress(HIGH), config):
        (made / digest(data)).write_bytes(data)
    rows = [{"digest": f"sha256:{digest(gzip.compress(x))}"} for x in (LOW, HIGH)]
    manifest = {"layers": rows, "config": {"digest": f"sha256:{digest(config)}"}}
    (made / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(tmp_path / "made.tar", "w") as tar:
        for name, data in (("l/low", LOW), ("l/high", HIGH), ("c.json", config)):
            (tmp_path / "one").write_bytes(data)
            tar.add(tmp_path / "one", name)
        (tmp_path / "one").write_text(json.dumps([{"Config": "c.json", "Layers": ["l/low", "l/high"]}]))
        tar.add(tmp_path / "one", "manifest.json")
    return tmp_path


ORDER = Order(
    Path("/p/image/Dockerfile"), "linux/amd64", {"x:1": "127.0.0.1:5000/x@sha256:00"}, [f"sha256:{digest(LOW)}"],
    {"token": b"c4n4ry"}, "Dockerfile:2: `RUN --network=host y`: no",
)  # fmt: skip


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_what_buildah_is_asked_for(folder: Path) -> None:
    made = build(ORDER, folder / "once", folder / "log")
    assert [(one.diff_id, gzip.decompress(one.path.read_bytes())) for one in made.layers] == [
        (f"sha256:{digest(HIGH)}", HIGH)
    ]
    assert made.config == {"User": "app", "Env": ["A=b"]}
    asked, pushed, removed = calls(folder)
    assert asked == (
        "build --no-cache --platform linux/amd64 --file /p/image/Dockerfile --build-context "
        f"x:1=docker-image://127.0.0.1:5000/x@sha256:00 --secret id=token,src={folder}/once/secret-0 --iidfile "
        f"{folder}/once/id --format docker --layers=false --tls-verify=false /p/image"
    )
    assert pushed == f"push --format v2s2 sha256:1 dir:{folder}/once/image"
    assert removed == "rmi sha256:1"
    assert (folder / "log").read_text().splitlines()[:3] == ["+ buildah build", "***", "600"]
    assert not (folder / "once/secret-0").exists()


def test_a_registry_elsewhere_is_asked_by_tls(folder: Path) -> None:
    build(replace(ORDER, images={"x:1": "r.example/x@sha256:00"}), folder / "once", folder / "log")
    assert "--tls-verify=false" not in calls(folder)[0]


def test_docker_where_there_is_no_buildah(folder: Path) -> None:
    (folder / "bin/buildah").unlink()
    made = build(ORDER, folder / "once", folder / "log")
    assert [one.path.read_bytes() for one in made.layers] == [HIGH]
    assert [line.split()[0] for line in calls(folder)] == ["build", "save", "rmi"]


def test_another_language_is_docker_s(folder: Path) -> None:
    assert builder(ORDER) == "buildah"
    assert builder(replace(ORDER, other=True)) == "docker"


def test_without_a_builder_the_line_is_said(folder: Path) -> None:
    for name in ("buildah", "docker"):
        (folder / "bin" / name).unlink()
    with pytest.raises(RefusedError, match=r"Dockerfile:2: `RUN --network=host y`: no; .* neither buildah nor") as e:
        builder(ORDER)
    assert "`apt install buildah`" in str(e.value.hint)
    with pytest.raises(RefusedError, match="but docker is not installed"):
        builder(replace(ORDER, other=True))


def test_what_stands_on_something_else(folder: Path) -> None:
    with pytest.raises(SealError, match="Dockerfile: what was built does not stand on the image that is locked"):
        build(replace(ORDER, base=["sha256:77"]), folder / "once", folder / "log")
    assert calls(folder)[-1] == "rmi sha256:1"


def test_a_builder_that_fails(folder: Path) -> None:
    (folder / "fails").touch()
    with pytest.raises(
        SealError, match="`buildah build`, which was asked to build the Dockerfile, ended with exit code 3"
    ) as e:
        build(ORDER, folder / "once", folder / "log")
    assert e.value.detail == "no"
    assert not list((folder / "once").glob("secret-*"))
