"""Law 4: transcode, don't recompress. A wheel's own DEFLATE streams are in the blob, byte for byte."""

from __future__ import annotations

import ast
import gzip
import struct
import zlib
from pathlib import Path

import flyte_build.assemble
from tests.support.layers import wheel_layer, write
from tests.support.wheels import build_wheel, deflate_with_zlib

ASSEMBLE = Path(flyte_build.assemble.__file__).parent


def members(blob: bytes) -> list[tuple[bytes, bytes]]:
    """The gzip members of ``blob`` (RFC 1952): each one's raw DEFLATE stream and its content."""
    found = []
    at = 0
    while at < len(blob):
        assert blob[at : at + 10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        d = zlib.decompressobj(-15)
        data = d.decompress(blob[at + 10 :])
        assert d.eof
        end = len(blob) - len(d.unused_data)
        assert struct.unpack("<II", blob[end : end + 8]) == (zlib.crc32(data), len(data))
        found.append((blob[at + 10 : end], data))
        at = end + 8
    return found


def worst(data: bytes) -> bytes:
    """A stream that no compressor in its senses makes: fixed codes, a flush after every byte."""
    encoder = zlib.compressobj(1, zlib.DEFLATED, -15, 1, zlib.Z_FIXED)
    return b"".join(encoder.compress(bytes([b])) + encoder.flush(zlib.Z_FULL_FLUSH) for b in data) + encoder.flush()


def test_streams_of_many_blocks_are_members(tmp_path: Path) -> None:
    contents = {f"fold/f{i}.py": f"value = {i}\n".encode() * (i + 1) for i in range(30)}
    wheel = build_wheel(tmp_path, "fold", files=contents, compress=worst)
    layer = write(wheel_layer([wheel]), [wheel], tmp_path)
    streams = dict(members(layer.blob))
    for content in contents.values():
        assert streams[worst(content)] == content
    assert b"".join(data for _, data in members(layer.blob)) == gzip.decompress(layer.blob)


def test_small_streams_of_one_block_share_members(tmp_path: Path) -> None:
    """They lie there as they are, but for the bit that said that no block follows, and the empty block that does."""
    contents = {f"fold/f{i}.py": f"value = {i}\n".encode() * (50 * i + 1) for i in range(30)}
    wheel = build_wheel(tmp_path, "fold", files=contents)
    layer = write(wheel_layer([wheel]), [wheel], tmp_path)
    for content in contents.values():
        stream = deflate_with_zlib(content)
        assert stream[0] & 1
        joined = bytes([stream[0] - 1]) + stream[1:]
        assert joined + b"\0\0\xff\xff" in layer.blob or joined + b"\0\0\0\xff\xff" in layer.blob
    found = members(layer.blob)
    assert len(found) == 2, "one a group"
    assert 256 << 10 <= len(found[0][1]) < 330 << 10
    assert b"".join(data for _, data in found) == gzip.decompress(layer.blob)


def test_larger_streams_are_members(tmp_path: Path) -> None:
    content = b"x" * 65_537
    wheel = build_wheel(tmp_path, "fold", files={"fold/x": content})
    layer = write(wheel_layer([wheel]), [wheel], tmp_path)
    assert (deflate_with_zlib(content), content) in members(layer.blob)


def test_fresh_bytes_between_streams_have_fixed_codes_or_none(tmp_path: Path) -> None:
    """Little items cost no tables."""
    wheel = build_wheel(tmp_path, "fold", files={f"fold/x{i}": b"x" * 70_000 for i in range(5)})
    layer = write(wheel_layer([wheel]), [wheel], tmp_path)
    raw = wheel.read_bytes()
    fresh = [stream for stream, data in members(layer.blob) if stream not in raw and len(data) <= 4096]
    assert len(fresh) >= 4
    assert {stream[0] >> 1 & 3 for stream in fresh} <= {0, 1}


def test_a_layer_costs_little_more_than_its_wheel(tmp_path: Path) -> None:
    files = {f"fold/f{i}.py": "".join(f"value_{j} = {j * i * 7919}\n" for j in range(300)) for i in range(100)}
    wheel = build_wheel(tmp_path, "fold", files=files)
    layer = write(wheel_layer([wheel]), [wheel], tmp_path)
    assert layer.result.size < 1.15 * wheel.stat().st_size


def test_the_assembler_has_no_other_encoder() -> None:
    """No name that compresses is used anywhere in it."""
    encoders = {"compress", "compressobj", "GzipFile", "LZMACompressor", "BZ2Compressor"}
    for path in sorted(ASSEMBLE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name == "GzipFile" and path.name == "deb.py":
                continue  # reads control.tar.gz
            assert name not in encoders, f"{path.name}:{node.lineno}"  # type: ignore[attr-defined]
