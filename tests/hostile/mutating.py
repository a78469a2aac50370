"""Changes to bytes and documents, chosen by a seeded generator: the same number makes the same case everywhere."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

__all__ = ["NUMBERS", "TOKENS", "binary", "document", "tar", "text"]

NUMBERS = [0, 1, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1]
TOKENS = [
    *(
        "",
        " ",
        "\n",
        "\0",
        "..",
        "../../x",
        "/etc/passwd",
        ".wh..",
        "-1",
        "9" * 5000,
        "1e999",
        "\x1b[2J",
        "\u202e",
        "ä",
    ),
    *(
        "²",
        "=",
        ":",
        ",",
        '"',
        "\\",
        "[",
        "]",
        "<",
        "&#x110000;",
        "[::1",
        "http://[",
        "%zz",
        "a" * 300,
        "sha256:",
        "\r",
    ),
]
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1 << 70, 1.5, "", "x", [], {}, [None], {"": None}, [[]], ["x", 1], "\ud800", "\0"),
    *("../x", "/", "\x1b[2J", "sha256:", "sha256:" + "0" * 64, "²", "1" * 30, {"a": {"b": {}}}),
]
# Much of a thing is worth a case now and then, and costs as much time as many others.
_TIMES = (*(1, 2) * 50, 1000)
_MUCH = 1 << 20
_RAW = [
    "1" * 5000,
    "-" + "9" * 4999,
    "1e999",
    "NaN",
    "Infinity",
    '"\\ud800"',
    "[" * 5000 + "]" * 5000,
    '{"a":' * 300 + "1" + "}" * 300,
]


def binary(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A few small changes anywhere."""
    out = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 4, 8))):
        at, size = r.randrange(len(out) + 1), r.choice((1, 2, 4, 8, 64, 512))
        match r.randrange(8):
            case 0 if at < len(out):
                out[at] ^= 1 << r.randrange(8)
            case 1 if at < len(out):
                out[at] = r.randrange(256)
            case 2:
                del out[at : at + size]
            case 3:
                out[at:at] = out[at : at + size]
            case 4:
                width = r.choice((2, 4, 8))
                number = r.choice(NUMBERS) % (1 << 8 * width)
                out[at : at + width] = number.to_bytes(width, r.choice(("little", "big")))
            case 5:
                out = out[:at]
            case 6:
                other = r.choice(others)
                begin = r.randrange(len(other) + 1)
                out[at : at + size] = other[begin : begin + size]
            case _:
                out[at:at] = r.choice(TOKENS).encode("utf-8", "surrogatepass")
    return bytes(out)


def text(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Lines moved, doubled, dropped; words and characters that mean something put in."""
    if r.random() < 0.2:
        return binary(r, data, others)
    lines = data.split(b"\n")
    for _ in range(r.choice((1, 1, 2, 3))):
        at = r.randrange(len(lines))
        line, token = lines[at], r.choice(TOKENS).encode()
        match r.randrange(6):
            case 0:
                del lines[at]
                lines = lines or [b""]
            case 1:
                lines.insert(at, r.choice(r.choice(others).split(b"\n")))
            case 2:
                lines.insert(at, line * min(r.choice(_TIMES), max(2, _MUCH // (len(line) + 1))))
            case 3:
                head, mark, _ = line.partition(r.choice((b": ", b"=", b" ", b",", b'"')))
                lines[at] = head + mark + token
            case _:
                begin = r.randrange(len(line) + 1)
                lines[at] = line[:begin] + token + line[begin + r.choice((0, 0, 1, 5)) :]
    return b"\n".join(lines)


def document(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """One place of a JSON document holds something else, is gone, or is there twice."""
    if r.random() < 0.15:
        return text(r, data, others)
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict | list):
        return text(r, data, others)
    marker = "\u0001here\u0001"
    for _ in range(r.choice((1, 1, 2))):
        holder: Any = raw
        for _ in range(r.randrange(12)):
            below = holder.values() if isinstance(holder, dict) else holder
            found = [v for v in below if isinstance(v, dict | list) and v]
            if not found or r.random() < 0.2:
                break
            holder = r.choice(found)
        if not holder:
            continue
        key = r.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        match r.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[r.choice(TOKENS)] = copy.deepcopy(r.choice(_VALUES))
            case 2:
                holder[key] = marker
            case _:
                holder[key] = copy.deepcopy(r.choice(_VALUES))
    return json.dumps(raw).replace(json.dumps(marker), r.choice(_RAW)).encode()


_FIELDS = (
    (0, 100),
    (100, 108),
    (108, 116),
    (116, 124),
    (124, 136),
    (136, 148),
    (156, 157),
    (157, 257),
    (257, 265),
    (345, 500),
)


def tar(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Fields of headers changed, with checksums that hold; or what is in a file of it."""
    kind = r.random()
    if kind < 0.2:
        return binary(r, data, others)
    out = bytearray(data)
    headers = [at for at in range(0, len(out) - 511, 512) if out[at + 257 : at + 262] == b"ustar"] or [0]
    if kind < 0.5:
        return _content(r, out, headers)
    for _ in range(r.choice((1, 1, 2))):
        at = r.choice(headers)
        begin, end = r.choice(_FIELDS)
        width = end - begin
        octal, far = b"%o" % r.choice(NUMBERS), b"\x80" + r.choice(NUMBERS).to_bytes(width + 8, "big")[9:]
        kind = bytes([r.choice(b"0123456789xgLKSX\0")])
        word = r.choice(TOKENS).encode()
        value = kind if width == 1 else r.choice((word, r.randbytes(width), octal, far, b"\xff" * width))
        out[at + begin : at + end] = value[:width].ljust(width, b"\0")
        _sum(out, at)
    return bytes(out)


def _content(r: random.Random, out: bytearray, headers: Sequence[int]) -> bytes:
    """The text of one file changed, with a size and a checksum that hold."""
    full = [at for at in headers if out[at + 124 : at + 135].strip(b"0 \0")]
    if not full:
        return bytes(out)
    at = r.choice(full)
    digits = bytes(out[at + 124 : at + 135]).strip(b" \0")
    size = int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else 0
    begin = at + 512
    changed = text(r, bytes(out[begin : begin + size]), [b"x\n"])
    out[begin : begin + size + -size % 512] = changed + bytes(-len(changed) % 512)
    out[at + 124 : at + 136] = b"%011o\0" % len(changed)
    _sum(out, at)
    return bytes(out)


def _sum(out: bytearray, at: int) -> None:
    """The checksum of the header at ``at``, made right."""
    out[at + 148 : at + 156] = b" " * 8
    out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
