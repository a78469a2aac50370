"""Layers of a base are taken as they are; what lies on them completes them, by data that the plan spells out."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.base import base_result, copy_base
from flyte_build.assemble.command import main
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.image import image_config, image_manifest
from flyte_build.assemble.layer import LayerResult
from flyte_build.assemble.plan import parse_plan
from flyte_build.assemble.version import ASSEMBLER
from tests.support.bases import BaseImage, debian_base, digest
from tests.support.debs import build_deb
from tests.support.layers import SITE, wheel_layer, write
from tests.support.wheels import build_wheel

OCI = "application/vnd.oci.image.layer.v1.tar"


def base_spec(blob: bytes, tar: bytes, kind: str = "+gzip") -> dict[str, Any]:
    sizes = {"digest": digest(blob), "size": len(blob), "diff_id": digest(tar), "media_type": f"{OCI}{kind}"}
    return {"kind": "base", "assembler": ASSEMBLER, "title": "base:1 (1 of 1)", **sizes}


def overlay(*entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "overlay", "assembler": ASSEMBLER, "title": "what the base lacks", "entries": list(entries)}


def base_plan(image: BaseImage, *layers: Mapping[str, Any], **more: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A plan with all of ``image``'s layers below ``layers``, and the blobs that it needs by SHA-256."""
    blobs, config, manifest, _ = image.parts()
    specs = [base_spec(b, t, "+gzip" if image.compressed else "") for b, t in zip(blobs, image.layers, strict=True)]
    plan = {
        "schema": 1,
        "platform": "linux/amd64",
        "layers": [*specs, *layers],
        "config": {"Env": ["A=b"]},
        "annotations": {"org.opencontainers.image.base.name": "registry.example/base:1"},
        **more,
    }
    return plan, {hashlib.sha256(b).hexdigest(): b for b in (*blobs, config, manifest)}


def assemble(tmp_path: Path, plan: Mapping[str, Any], blobs: Mapping[str, bytes]) -> tuple[int, Path]:
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir(parents=True)
    for sha256, data in blobs.items():
        (artifacts / sha256).write_bytes(data)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    out = tmp_path / "out"
    return main([str(tmp_path / "plan.json"), str(out), "--artifacts", str(artifacts)]), out


def document(out: Path, found: str) -> dict[str, Any]:
    data = (out / "blobs" / "sha256" / found.removeprefix("sha256:")).read_bytes()
    assert digest(data) == found
    made: dict[str, Any] = json.loads(data)
    return made


@pytest.mark.parametrize("compressed", [True, False])
def test_a_layout_has_the_bases_blobs_as_they_are_and_ours_on_top(tmp_path: Path, compressed: bool) -> None:
    image = debian_base(compressed=compressed)
    history = [{"created_by": "ADD 0"}, {"created_by": "ADD 1"}, {"created_by": "ENV A=b", "empty_layer": True}]
    link = {"path": "opt/x", "mode": 0o777, "uid": 0, "gid": 0, "link": "y"}
    plan, blobs = base_plan(image, overlay(link), history=history)
    code, out = assemble(tmp_path, plan, blobs)
    assert code == 0
    (entry,) = json.loads((out / "index.json").read_text())["manifests"]
    manifest = document(out, entry["digest"])
    config = document(out, manifest["config"]["digest"])
    rows = manifest["layers"]
    end = "+gzip" if compressed else ""
    assert [r["mediaType"] for r in rows] == [f"{OCI}{end}", f"{OCI}{end}", f"{OCI}+gzip"]
    assert [r["digest"] for r in rows[:2]] == [digest(b) for b in image.parts()[0]]
    for row, tar in zip(rows, image.layers, strict=False):
        blob = (out / "blobs" / "sha256" / row["digest"].removeprefix("sha256:")).read_bytes()
        assert (gzip.decompress(blob) if compressed else blob) == tar
    assert config["rootfs"]["diff_ids"][:2] == [digest(t) for t in image.layers]
    assert [h["created_by"] for h in config["history"]] == [
        "ADD 0",
        "ADD 1",
        "ENV A=b",
        "flyte-build: what the base lacks",
    ]
    assert sum(not h.get("empty_layer") for h in config["history"]) == len(config["rootfs"]["diff_ids"])
    assert manifest["annotations"] == plan["annotations"]


def test_an_image_used_as_it_is_keeps_its_own_manifest(tmp_path: Path) -> None:
    image = debian_base(docker=True)
    _, config, manifest, media = image.parts()
    verbatim = {
        "reference": "registry.example/base:1",
        "manifest": {"mediaType": media, "digest": digest(manifest), "size": len(manifest)},
        "config": {"mediaType": "x", "digest": digest(config), "size": len(config)},
    }
    plan, blobs = base_plan(image, verbatim=verbatim)
    code, out = assemble(tmp_path, plan, blobs)
    assert code == 0
    (entry,) = json.loads((out / "index.json").read_text())["manifests"]
    assert (entry["digest"], entry["mediaType"]) == (digest(manifest), media)
    assert document(out, digest(manifest)) == json.loads(manifest)
    assert document(out, digest(config)) == json.loads(config)
    assert len(list((out / "blobs" / "sha256").iterdir())) == 2 + len(image.layers)

    # Its manifest has to be the one that the plan speaks of.
    plan["layers"].pop()
    code, out = assemble(tmp_path / "other", plan, blobs)
    assert (code, out.exists()) == (8, False)


def test_a_missing_blob_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, blobs = base_plan(debian_base())
    del blobs[plan["layers"][1]["digest"].removeprefix("sha256:")]
    code, out = assemble(tmp_path, plan, blobs)
    assert (code, out.exists()) == (6, False)
    assert "base:1 (1 of 1): expected an artifact with SHA-256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "blob", "why"),
    [
        ({}, b"other", "found 5 with"),
        ({"diff_id": digest(b"another")}, None, "expected the diff_id"),
        ({"size": 1}, None, "expected 1 bytes"),
        ({}, gzip.compress(b"tar", mtime=0)[:-3], "truncated"),
        ({}, b"", "truncated"),
        ({"size": 27}, gzip.compress(b"tar", mtime=0) + b"junk", "no gzip stream"),
    ],
)
def test_a_blob_that_is_not_the_plans_is_refused(change: dict[str, Any], blob: bytes | None, why: str) -> None:
    good = gzip.compress(b"tar", mtime=0)
    spec = base_spec(good, b"tar") | change
    given = good if blob is None else blob
    if blob == b"other":
        spec["media_type"] = OCI
    with pytest.raises(AssembleError, match=why):
        copy_base(spec, io.BytesIO(given), io.BytesIO())


def test_many_members_and_large_expansions_are_one_stream() -> None:
    tar = bytes(30 << 20) + b"end"
    blob = gzip.compress(tar[:100]) + gzip.compress(tar[100:])
    out, told = io.BytesIO(), []
    made = copy_base(base_spec(blob, tar), io.BytesIO(blob), out, told.append)
    assert out.getvalue() == blob
    assert (made.diff_id, made.diff_size, sum(told)) == (digest(tar), len(tar), len(tar))
    assert max(told) <= 1 << 20


def test_zstd_is_taken_by_its_digest_alone() -> None:
    blob = b"\x28\xb5\x2f\xfd not read"
    spec = base_spec(blob, b"whatever it unpacks to", "+zstd")
    assert copy_base(spec, io.BytesIO(blob), io.BytesIO()).digest == digest(blob)


def test_what_is_known_without_the_bytes_makes_the_same_image() -> None:
    """Layers that stay in a registry are composed from the plan: manifest and configuration must not differ."""
    image = debian_base()
    plan, _ = base_plan(image)
    known = [base_result(spec) for spec in plan["layers"]]
    blobs = zip(plan["layers"], image.parts()[0], strict=True)
    read: list[LayerResult] = [copy_base(spec, io.BytesIO(b), io.BytesIO()) for spec, b in blobs]
    configs = [image_config(plan, results) for results in (known, read)]
    assert configs[0] == configs[1]
    assert image_manifest(plan, configs[0], known) == image_manifest(plan, configs[1], read)


def test_an_overlay_holds_what_it_says_and_nothing_above_it(tmp_path: Path) -> None:
    spec = overlay(
        {"path": "opt/venv", "mode": 0o755, "uid": 0, "gid": 0, "dir": True},
        {"path": "opt/venv/pyvenv.cfg", "mode": 0o644, "uid": 0, "gid": 0, "text": "home = /usr/bin\n"},
        {"path": "opt/venv/bin/python", "mode": 0o777, "uid": 0, "gid": 0, "link": "/usr/bin/python3"},
        {"path": "home/flyte", "mode": 0o750, "uid": 1000, "gid": 1001, "dir": True},
        {"path": f"{SITE}/old", "removed": True},
    )
    made = write(spec, [], tmp_path)
    by_name = {m.name: m for m in made.members()}
    assert sorted(by_name) == [
        "home/flyte",
        "opt/venv",
        "opt/venv/bin/python",
        f"{SITE}/.wh.old",
        "opt/venv/pyvenv.cfg",
    ]
    assert made.contents() == {"opt/venv/pyvenv.cfg": b"home = /usr/bin\n", f"{SITE}/.wh.old": b""}
    home = by_name["home/flyte"]
    assert (home.mode, home.uid, home.gid) == (0o750, 1000, 1001)
    # This fails whenever a byte of such a layer changes.
    assert made.result.digest == "sha256:239fef5b93de71af277fb2c142be5664f6121ff53e9ca69445ec686cb7d76f25"


@pytest.mark.parametrize("path", ["/opt/x", "../x", "", "a/.wh.b"])
def test_a_bad_path_cannot_be_taken_away(tmp_path: Path, path: str) -> None:
    with pytest.raises(AssembleError):
        write(overlay({"path": path, "removed": True}), [], tmp_path)


def test_a_path_is_not_put_and_taken_away_by_one_layer(tmp_path: Path) -> None:
    file = {"path": "a", "mode": 0o644, "uid": 0, "gid": 0, "text": ""}
    with pytest.raises(AssembleError, match="taken away and put there"):
        write(overlay(file, {"path": "a", "removed": True}), [], tmp_path)


def test_wheels_leave_the_folders_of_an_environment_alone_that_is_not_theirs(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "one", files={"one/__init__.py": "", "one/sub/x.py": ""})
    spec = wheel_layer([wheel])
    whole = {m.name for m in write(spec, [wheel], tmp_path).members() if m.isdir()}
    bare = {m.name for m in write(spec | {"folders": False}, [wheel], tmp_path).members() if m.isdir()}
    assert {"opt", "opt/venv", SITE} <= whole
    assert bare == {path for path in whole if path.startswith(f"{SITE}/")}
    assert f"{SITE}/one/sub" in bare


def test_packages_for_a_base_are_known_to_scanners(tmp_path: Path) -> None:
    deb = build_deb(tmp_path, "tool", "1.0-1", files={"usr/bin/tool": b"#!", "usr/share/doc/tool/copyright": b"c"})
    sha256 = hashlib.sha256(deb.read_bytes()).hexdigest()
    rows = [{"file": deb.name, "sha256": sha256}]
    spec = {"kind": "packages", "assembler": ASSEMBLER, "title": "apt tool", "debs": rows}
    contents = write(spec, [deb], tmp_path).contents()
    assert contents["usr/bin/tool"] == b"#!"
    status = contents["var/lib/dpkg/status.d/tool"].decode()
    assert status.startswith("Package: tool\nStatus: install ok installed\n")
    assert "var/lib/dpkg/status" not in contents, "the base's own stays"
    assert not any(path.startswith("etc/passwd") for path in contents)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"digest": "sha256:1"}, r"layers\[0\]\.digest"),
        ({"media_type": "application/vnd.docker.image.rootfs.diff.tar.gzip"}, r"layers\[0\]\.media_type"),
        ({"diff_id": None}, r"layers\[0\]\.diff_id"),
        ({"kind": "overlay", "entries": [{"path": "a", "mode": 0, "uid": 0, "gid": 0}]}, r"entries\[0\]"),
        ({"kind": "overlay", "entries": [{"removed": True}]}, r"entries\[0\]\.path"),
    ],
)
def test_a_broken_plan_says_where(change: dict[str, Any], where: str) -> None:
    plan, _ = base_plan(debian_base())
    plan["layers"][0] |= change
    with pytest.raises(AssembleError, match=where):
        parse_plan(json.dumps(plan).encode(), "plan")


def test_nothing_may_lie_on_an_image_that_is_used_as_it_is() -> None:
    blob = {"mediaType": "x", "digest": digest(b""), "size": 0}
    plan, _ = base_plan(debian_base(), overlay(), verbatim={"reference": "x", "manifest": blob, "config": blob})
    with pytest.raises(AssembleError, match="layers of the base only"):
        parse_plan(json.dumps(plan).encode(), "plan")


def test_tarfile_reads_the_whiteouts(tmp_path: Path) -> None:
    """A foreign reader: names, and no content."""
    made = write(overlay({"path": "a/b", "removed": True}, {"path": "c", "removed": True}), [], tmp_path)
    with tarfile.open(fileobj=io.BytesIO(made.tar)) as tar:
        assert [(m.name, m.size, m.isreg()) for m in tar] == [(".wh.c", 0, True), ("a/.wh.b", 0, True)]
