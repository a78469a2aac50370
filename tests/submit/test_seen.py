"""Of other runs, tasks see what is referred to, under its own name, and nothing beside it."""

from __future__ import annotations

import os
from pathlib import Path

import msgpack
import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.submit.references import references
from flyte_build.submit.seen import Seen
from flyte_build.submit.storage import RunFolder, Storage

ROOT = "/mnt/flyte/runs"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    runs = tmp_path / "runs"
    for name in ("old/kept/a/1/files/0", "old/raw/a/1/table", "old/meta/a/1", "old/logs/a", "inputs/cafe", "new"):
        (runs / name).mkdir(parents=True)
    for name in ("old/kept/a/1/outputs.pb", "old/kept/a/1/files/0/x", "old/raw/a/1/table/part", "old/logs/a/1.log"):
        (runs / name).write_text(name)
    (runs / "inputs/cafe/data.csv").write_text("uploaded")
    made = Storage(runs).run("new")
    Seen(made).prepare()
    return made


def shown(folder: RunFolder) -> dict[str, str]:
    return {p.relative_to(folder.seen).as_posix(): p.read_text() for p in folder.seen.rglob("*") if p.is_file()}


def test_what_is_named_is_seen_and_nothing_beside_it(folder: RunFolder) -> None:
    Seen(folder).show([f"{ROOT}/old/kept/a/1/files/0/x", f"file://{ROOT}/inputs/cafe/data.csv"])
    assert shown(folder) == {"old/kept/a/1/files/0/x": "old/kept/a/1/files/0/x", "inputs/cafe/data.csv": "uploaded"}


def test_a_folder_is_seen_whole(folder: RunFolder) -> None:
    Seen(folder).show([f"{ROOT}/old/raw/a/1/table"])
    assert shown(folder) == {"old/raw/a/1/table/part": "old/raw/a/1/table/part"}


def test_what_only_launchers_write_is_shared_and_what_tasks_write_is_copied(folder: RunFolder) -> None:
    Seen(folder).show([f"{ROOT}/old/kept/a/1/outputs.pb", f"{ROOT}/old/raw/a/1/table/part"])
    runs = folder.storage.runs
    assert (folder.seen / "old/kept/a/1/outputs.pb").samefile(runs / "old/kept/a/1/outputs.pb")
    assert not (folder.seen / "old/raw/a/1/table/part").samefile(runs / "old/raw/a/1/table/part")
    Seen(folder).show([f"{ROOT}/old/kept/a/1/outputs.pb", f"{ROOT}/old/raw/a/1/table/part"])


@pytest.mark.parametrize(
    "uri",
    [
        f"{ROOT}/old/raw/../logs/a/1.log",
        f"{ROOT}/old/raw/a/1/link",
        f"{ROOT}/old/raw/a/1/link/passwd",
        f"{ROOT}/absent/kept/x",
        f"{ROOT}/old",
        ROOT,
        f"{ROOT}/new/raw/x",
        "s3://bucket/x",
        "/etc/passwd",
        f"{ROOT}/old/kept/\0",
        "",
    ],
)
def test_names_that_lead_elsewhere_show_nothing(folder: RunFolder, uri: str) -> None:
    (folder.storage.runs / "old/raw/a/1/link").symlink_to("/etc")
    os.mkfifo(folder.storage.runs / "old/raw/a/1/pipe")
    Seen(folder).show([uri, f"{ROOT}/old/raw/a/1/pipe"])
    assert shown(folder) == {}


def test_every_reference_of_a_message_is_found() -> None:
    def blob(uri: str) -> literals_pb2.Literal:
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri)))

    file = {"path": "/in/msgpack", "name": "x", "format": ""}
    binary = literals_pb2.Binary(value=msgpack.packb({"deep": [file], "path": "no file"}), tag="msgpack")
    literals = [
        blob("/plain"),
        literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=[blob("/in/list")])),
        literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"k": blob("/in/map")})),
        literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary)),
    ]
    message = common_pb2.Outputs(
        literals=[common_pb2.NamedLiteral(name=str(i), value=v) for i, v in enumerate(literals)]
    )
    before = message.SerializeToString(deterministic=True)
    assert references(message) == ["/plain", "/in/list", "/in/map", "/in/msgpack"]
    assert message.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("value", [b"\xc1", b"\x91" * 5000, b"\x91" * 990 + b"\x00", b"\xdf\xff\xff\xff\xff"])
def test_msgpack_that_is_none_is_a_value_error(value: bytes) -> None:
    binary = literals_pb2.Binary(value=value, tag="msgpack")
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))
    message = common_pb2.Outputs(literals=[common_pb2.NamedLiteral(name="o", value=literal)])
    with pytest.raises(ValueError, match="expected msgpack"):
        references(message)
