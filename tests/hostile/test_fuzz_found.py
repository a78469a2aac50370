"""What the fuzzer found, each with what it is now: taken, or refused in words."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2

from flyte_build.kernel.layer_tar import BadLayer, LayerTar
from flyte_build.registry.secrets import redact_url
from flyte_build.supply.licenses import Facts, read_wheel

from ..support.engine import World
from ..support.wheels import build_wheel
from .fuzz import CORPUS, one
from .fuzz_guard import Guard

_LONG = b"9" * 5000
_STANZA = b"""\
Package: a
Version: %s
Architecture: amd64
Filename: pool/main/a/a/a_1.deb
Size: 1
SHA256: %s
Depends: b (>= %s)
"""


def _stanza(version: bytes = b"1", bound: bytes = b"1") -> bytes:
    return _STANZA % (version, b"0" * 64, bound)


def _layout(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads((CORPUS / "layout" / "layout").read_bytes())
    change(document)
    return json.dumps(document).encode()


def _entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["index"]["manifests"][0]
    return found


REFUSED: Mapping[str, tuple[str, bytes]] = {
    "a registry's next page is no address": ("challenge", b'<http://[>; rel="next"'),
    "a setting of 5,000 digits": ("settings", b"a = " + _LONG),
    "a setting in 5,000 lists": ("settings", b"a = " + b"[" * 5000),
    "a version of 5,000 digits": ("packages", _stanza(_LONG)),
    "a version that has no order": ("packages", _stanza("2.3²".encode())),
    "a bound of 5,000 digits": ("packages", _stanza(bound=_LONG)),
    "an installed version of 5,000 digits": ("status", _stanza(_LONG)),
    "an installed package's relation that is none": ("status", _stanza(bound="²".encode())),
    "an index with a declaration that SGML has not": ("page", b"<![DOCTYPE x[]>"),
    "a layout's layer with no size at all": (
        "layout",
        _layout(lambda d: d["manifest"]["layers"][0].update(size=1e999)),
    ),
    "a layout's configuration with a digest that is none": (
        "layout",
        _layout(lambda d: d["manifest"]["config"].update(digest=["x"])),
    ),
    "a layout's layer with a digest that is none": (
        "layout",
        _layout(lambda d: d["manifest"]["layers"][0].update(digest="sha256:")),
    ),
    "a layout's layer with a digest of other letters": (
        "layout",
        _layout(lambda d: d["manifest"]["layers"][0].update(digest="sha256:" + "z" * 64)),
    ),
    "a layout's history of words": ("layout", _layout(lambda d: d["config"].update(history=["x"]))),
    "a layout in 5,000 lists": ("layout", _layout(lambda d: d.update(index="[" * 5000))),
}
TAKEN: Mapping[str, tuple[str, bytes]] = {
    "words with an address that is none": ("challenge", b"see http://[x for more"),
    "settings without a table of tools": ("settings", b"tool = 3"),
    "a signature in 5,000 lists": ("signature", b"[" * 5000 + b"\0{}"),
    "a bundle of signatures in 5,000 lists": ("signature", b'{"dsseEnvelope": ' + b"[" * 5000),
    "an installed package without a name": ("status", b"Status: install ok installed\nVersion: 1\n"),
    "an installed package without a status": ("status", b"Package: a\nStatus: \nVersion: 1\n"),
    "an installed package with another's end of a line in a field": ("status", _stanza() + b"Source: a\x0cb\x85\rc\n"),
    "a database that is the name of a file": ("status", b"/etc/passwd"),
    "a database that is too long a name": ("status", b"x" * 5000),
    "an index that is no UTF-8": ("packages", _stanza() + b"Maintainer: \xe4\xff\n"),
    "a layout whose annotations are words": ("layout", _layout(lambda d: d["index"].update(manifests=[
        {**_entry(d), "annotations": {**_entry(d)["annotations"], "x": 1}}]))),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_was_found_is_refused(what: str) -> None:
    assert one(*REFUSED[what]) is False


@pytest.mark.parametrize("what", TAKEN)
def test_what_was_found_is_taken(what: str) -> None:
    assert one(*TAKEN[what]) is True


@pytest.mark.parametrize("value", ["x", 1, [1], None, 1.5])
@pytest.mark.parametrize("key", ["annotations", "platform"])
def test_a_descriptor_may_say_anything(key: str, value: object) -> None:
    assert one("layout", _layout(lambda d: _entry(d).update({key: value}))) in (True, False)


def test_a_wheels_version_of_5000_digits_is_refused(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "alpha", wheel_version="1." + "9" * 5000)
    assert one("wheel", path.read_bytes()) is False


def test_metadata_that_says_it_is_4_gib_is_not_read(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "alpha", method=0)
    data = bytearray(path.read_bytes())
    at = data.index(b"alpha-1.0.dist-info/METADATA", data.index(b"PK\1\2")) - 46
    data[at + 20 : at + 28] = b"\xf0\xff\xff\xff\0\1\0\0"
    path.write_bytes(data)
    with Guard(limited=True):
        assert read_wheel(path) == Facts()
    data[at + 20 : at + 28] = b"\0\1\1\0\0\1\1\0"
    assert one("metadata", bytes(data)) is False


@pytest.mark.parametrize("change", ["duration", "datetime", "msgpack", "extension", "key"])
def test_outputs_that_no_value_holds_are_shown_all_the_same(change: str) -> None:
    scalar = literals_pb2.Scalar()
    if change == "duration":
        scalar.primitive.duration.seconds = 1 << 62
    elif change == "datetime":
        scalar.primitive.datetime.seconds = 1 << 62
    else:
        scalar.binary.tag = "msgpack"
        scalar.binary.value = {"extension": b"\xd4\x05x", "key": b"\x81\x80\x01"}.get(change, b"\x82\x01")
    outputs = common_pb2.Outputs()
    outputs.literals.add(name="o0").value.scalar.CopyFrom(scalar)
    # msgpack that is none is refused when it is settled: nobody knows which files it refers to.
    assert one("outputs", outputs.SerializeToString()) is (change not in ("msgpack", "key"))


@pytest.mark.parametrize("change", ["timeout", "pod", "cpu", "memory", "condition"])
def test_a_call_that_asks_for_what_cannot_be_fails_by_itself(tmp_path: Path, change: str) -> None:
    world = World(tmp_path)
    action = world.task("env.child", "child", "a0")
    template = action.task.spec.task_template
    if change == "timeout":
        template.metadata.timeout.seconds = 1 << 62
    elif change == "pod":
        template.k8s_pod.pod_spec.update({"containers": [1]})
    elif change == "condition":
        action.ClearField("task")
        action.condition.name = "approve"
        action.condition.timeout.seconds = 1 << 62
    else:
        template.container.resources.limits.add(name=1 if change == "cpu" else 3, value="1e999999999")
    world.journal.close()
    assert one("actions", b"Enqueue proto\n" + pb.EnqueueRequest(action=action).SerializeToString())


@pytest.mark.parametrize("method", [12, 14])
def test_metadata_in_another_compression_that_is_none(tmp_path: Path, method: int) -> None:
    path = build_wheel(tmp_path, "alpha", method=0)
    data = bytearray(path.read_bytes())
    for begin, mark, at in ((0, b"PK\3\4", 8), (data.index(b"PK\1\2"), b"PK\1\2", 10)):
        name = data.index(b"alpha-1.0.dist-info/METADATA", begin)
        head = data.rindex(mark, 0, name)
        data[head + at] = method
    assert one("metadata", bytes(data)) is False
    path.write_bytes(data)
    assert read_wheel(path) == Facts()


def test_a_long_name_makes_no_long_message() -> None:
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 20_000
    data = long.tobuf(tarfile.GNU_FORMAT) + b"a\n" * 10_000 + bytes(-20_000 % 512)
    data += tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert one("tar", data) is False


def test_a_long_line_of_entry_points_makes_no_long_message(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "alpha", entry_points="[" + "run = alpha:main" * 2000 + "\n")
    assert one("wheel", path.read_bytes()) is False


@pytest.mark.parametrize(("before", "after"), [
    (b"SHA256:\n", b"SHA256:\n " + b"0" * 40_000 + b" 1\n"),
    (b"Codename: ", b"Codename: " + b"x" * 40_000),
    (b"Origin: ", b"Origin: " + b"x" * 40_000),
    (b"Date: ", b"Date: " + b"9" * 40_000 + b"\nX-Date: "),
])  # fmt: skip
def test_a_long_field_of_a_release_makes_no_long_message(before: bytes, after: bytes) -> None:
    data = (CORPUS / "release" / "release").read_bytes()
    assert before in data
    assert one("release", data.replace(before, after)) is False


def test_an_address_that_is_none_is_shown_by_its_scheme() -> None:
    assert redact_url("https://user:secret@[x") == "https://***"


def test_a_layer_that_says_it_is_longer_than_it_is_ends_where_it_ends() -> None:
    """And not after as many reads as the size that it states has blocks."""
    header = tarfile.TarInfo("x")
    header.size = 8 << 30
    reads: list[int] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            reads.append(1)
            return super().read(size)

    tar = LayerTar(Counted(header.tobuf() + bytes(512)), compressed=False, limit=16 << 30)
    with pytest.raises(BadLayer, match="unexpected end of data"):
        for _ in tar.members():
            pass
    assert len(reads) < 200
