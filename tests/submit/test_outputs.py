"""Files that outlive their sandbox, and only those the task could see."""

from __future__ import annotations

import os
from pathlib import Path

import msgpack
import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.submit.outputs import Settlement, View

KEPT = "/mnt/flyte/runs/r/kept/a0/1/files"


class Sandbox:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("root/etc", "tmp", "home", "runs"):
            (folder / name).mkdir(parents=True)
        self.view = View(
            {
                "/": folder / "root",
                "/tmp": folder / "tmp",
                "/home/flyte": folder / "home",
                "/mnt/flyte/runs": folder / "runs",
            }
        )
        self.settlement = Settlement(self.view, folder / "kept" / "files", KEPT)

    def settle(self, *uris: str) -> list[str]:
        outputs = common_pb2.Outputs()
        for uri in uris:
            blob = literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri)))
            outputs.literals.append(common_pb2.NamedLiteral(name="o", value=blob))
        (self.folder / "outputs.pb").write_bytes(outputs.SerializeToString())
        target = self.folder / "kept" / "outputs.pb"
        self.settlement.settle(self.folder, "outputs.pb", target, common_pb2.Outputs)
        settled = common_pb2.Outputs.FromString(target.read_bytes())
        return [named.value.scalar.blob.uri for named in settled.literals]

    def taken(self) -> dict[str, bytes]:
        raw = self.folder / "kept" / "files"
        return {p.relative_to(raw).as_posix(): p.read_bytes() for p in raw.rglob("*") if p.is_file()}


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_a_local_file_is_taken_over_once(sandbox: Sandbox) -> None:
    (sandbox.folder / "tmp" / "x.txt").write_bytes(b"x")
    (sandbox.folder / "home" / "y").write_bytes(b"y")
    found = sandbox.settle("/tmp/x.txt", "file:///home/flyte/y", "/tmp/x.txt")
    assert found == [f"{KEPT}/0/x.txt", f"{KEPT}/1/y", f"{KEPT}/0/x.txt"]
    assert sandbox.taken() == {"0/x.txt": b"x", "1/y": b"y"}


def test_what_is_not_local_stays(sandbox: Sandbox) -> None:
    uris = ["s3://bucket/x", "https://host.example/x", "/mnt/flyte/runs/old/raw/x", "/tmp/missing", "relative/x", ""]
    assert sandbox.settle(*uris) == uris
    assert not (sandbox.folder / "kept" / "files").exists()


def test_what_a_task_removed_before_it_handed_it_on_is_told(sandbox: Sandbox) -> None:
    """On object storage it would have been copied at the call; nobody shall be given an empty folder instead."""
    settlement = Settlement(sandbox.view, sandbox.folder / "kept", KEPT, own=("/tmp", "/home/flyte"))
    sandbox.settlement = settlement
    for path in ("/tmp/gone", "file:///home/flyte/gone/x", "/tmp/../tmp/gone"):
        with pytest.raises(OSError, match="it is not there any more, and a local path is handed on as it is"):
            sandbox.settle(path)
    # These may be another image's.
    assert sandbox.settle("/opt/model", "/tmpx") == ["/opt/model", "/tmpx"]


def test_files_are_copied_never_linked(sandbox: Sandbox) -> None:
    source = sandbox.folder / "tmp" / "x"
    source.write_bytes(b"before")
    (sandbox.folder / "root" / "etc" / "x").write_bytes(b"the image's")
    sandbox.settle("/tmp/x", "/etc/x")
    source.write_bytes(b"after")
    (sandbox.folder / "root" / "etc" / "x").write_bytes(b"changed")
    assert sandbox.taken() == {"0/x": b"before", "1/x": b"the image's"}


def test_a_folder_goes_with_what_its_links_lead_to(sandbox: Sandbox) -> None:
    folder = sandbox.folder / "home" / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "f").write_bytes(b"f")
    (sandbox.folder / "tmp" / "blob").write_bytes(b"blob")
    (folder / "link").symlink_to("/tmp/blob")
    (folder / "beside").symlink_to("deep/f")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe")
    assert sandbox.settle("/home/flyte/out/") == [f"{KEPT}/0/out"]
    assert sandbox.taken() == {"0/out/deep/f": b"f", "0/out/link": b"blob", "0/out/beside": b"f"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../etc/passwd", "/proc/self/environ"])
def test_a_link_leads_into_the_image_never_into_the_host(sandbox: Sandbox, target: str) -> None:
    (sandbox.folder / "root" / "etc" / "passwd").write_bytes(b"the image's")
    (sandbox.folder / "tmp" / "x").symlink_to(target)
    found = sandbox.settle("/tmp/x")
    if "proc" in target:
        assert found == ["/tmp/x"]
    else:
        assert sandbox.taken() == {"0/x": b"the image's"}


def test_links_in_circles_are_nothing(sandbox: Sandbox) -> None:
    (sandbox.folder / "tmp" / "a").symlink_to("b")
    (sandbox.folder / "tmp" / "b").symlink_to("a")
    assert sandbox.settle("/tmp/a/x") == ["/tmp/a/x"]


def test_files_inside_dataclasses_are_found(sandbox: Sandbox) -> None:
    (sandbox.folder / "tmp" / "x").write_bytes(b"x")
    file = {"path": "/tmp/x", "name": "x", "format": "", "hash": None}
    value = {"items": [{"inner": file}], "text": "/tmp/x", "path": "/tmp/x", 3: "kept"}
    binary = literals_pb2.Binary(value=msgpack.packb(value), tag="msgpack")
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))
    outputs = common_pb2.Outputs(literals=[common_pb2.NamedLiteral(name="o", value=literal)])
    (sandbox.folder / "outputs.pb").write_bytes(outputs.SerializeToString())
    target = sandbox.folder / "kept" / "outputs.pb"
    sandbox.settlement.settle(sandbox.folder, "outputs.pb", target, common_pb2.Outputs)
    settled = common_pb2.Outputs.FromString(target.read_bytes()).literals[0].value.scalar.binary
    found = msgpack.unpackb(settled.value, strict_map_key=False)
    assert found["items"][0]["inner"] == file | {"path": f"{KEPT}/0/x"}
    assert (found["text"], found["path"], found[3]) == ("/tmp/x", "/tmp/x", "kept")  # strings, not files


def literals(*values: literals_pb2.Scalar) -> bytes:
    named = [common_pb2.NamedLiteral(name="o", value=literals_pb2.Literal(scalar=value)) for value in values]
    return common_pb2.Outputs(literals=named).SerializeToString()


def text(value: str) -> literals_pb2.Scalar:
    return literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value))


def test_what_is_small_and_refers_to_nothing_needs_no_thread(sandbox: Sandbox) -> None:
    target = sandbox.folder / "kept" / "a1" / "outputs.pb"
    (sandbox.folder / "outputs.pb").write_bytes(data := literals(text("x"), text("/tmp/not a reference")))
    assert sandbox.settlement.settle_small(sandbox.folder, "outputs.pb", target, common_pb2.Outputs)
    assert target.read_bytes() == data


@pytest.mark.parametrize("kind", ["large", "refers", "inside", "broken", "missing", "pipe", "link", "folder"])
def test_anything_else_is_left_to_the_long_way(sandbox: Sandbox, kind: str) -> None:
    target, document = sandbox.folder / "kept" / "outputs.pb", sandbox.folder / "outputs.pb"
    inside = msgpack.packb({"path": "s3://b/x", "name": "x", "format": ""})
    data = {
        "large": literals(text("x" * (16 << 10))),
        "refers": literals(literals_pb2.Scalar(blob=literals_pb2.Blob(uri="/tmp/x"))),
        "inside": literals(literals_pb2.Scalar(binary=literals_pb2.Binary(value=inside, tag="msgpack"))),
        "broken": b"\xff\xff",
    }
    if kind in data:
        document.write_bytes(data[kind])
    elif kind == "pipe":
        os.mkfifo(document)
    elif kind == "link":
        (sandbox.folder / "elsewhere").write_bytes(literals(text("x")))
        document.symlink_to("elsewhere")
    elif kind == "folder":
        document.mkdir()
    assert not sandbox.settlement.settle_small(sandbox.folder, "outputs.pb", target, common_pb2.Outputs)
    assert not target.parent.exists()
