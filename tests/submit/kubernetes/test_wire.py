"""Answers of HTTP/1.1, however their bytes come, and what is none."""

from __future__ import annotations

import pytest

from flyte_build.submit.kubernetes.wire import Answer, asking

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = bytes(range(256)) * 5


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


WHOLE = {
    "of a length": (OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, BODY),
    "of no length": (OK + b"Content-Length: 0\r\n\r\n", b""),
    "in chunks": (CHUNKED + chunks(BODY, 7) + b"0\r\n\r\n", BODY),
    "in one chunk": (CHUNKED + chunks(BODY, 1 << 20) + b"0\r\n\r\n", BODY),
    "in no chunk": (CHUNKED + b"0\r\n\r\n", b""),
    "with trailers": (CHUNKED + b"3;a=b\r\nabc\r\n00\r\nx: y\r\nz: 1\r\n\r\n", b"abc"),
    "after another": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"content-length: 2\r\n\r\nab", b"ab"),
    "that says nothing": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1 << 20])
@pytest.mark.parametrize("kind", WHOLE)
def test_an_answer_in_pieces_of_any_size(kind: str, size: int) -> None:
    raw, body = WHOLE[kind]
    answer, said = Answer(), b""
    for at in range(0, len(raw), size):
        assert not answer.over
        answer.take(raw[at : at + size])
        said += answer.said()
    assert (said, answer.over, answer.keep) == (body, True, True)


def test_one_without_a_length_ends_with_its_connection() -> None:
    answer = Answer()
    answer.take(OK + b"\r\nab")
    answer.take(b"c")
    assert not answer.over
    answer.end()
    assert (answer.said(), answer.over, answer.keep) == (b"abc", True, False)


@pytest.mark.parametrize("raw", [b"", OK, OK + b"Content-Length: 3\r\n\r\nab", CHUNKED + b"3\r\nabc\r\n"])
def test_one_that_is_cut_is_not_whole(raw: bytes) -> None:
    answer = Answer()
    answer.take(raw)
    answer.end()
    assert not answer.over


@pytest.mark.parametrize(
    ("first", "header", "kept"),
    [(b"1.1", b"X: y", True), (b"1.1", b"Connection: Close", False), (b"1.0", b"X: y", False),
     (b"1.0", b"Connection: keep-alive", True)],
)  # fmt: skip
def test_whether_its_connection_is_kept(first: bytes, header: bytes, kept: bool) -> None:
    answer = Answer()
    answer.take(b"HTTP/%s 404 Not Found\r\n%s\r\nContent-Length: 1\r\n\r\nx" % (first, header))
    assert (answer.status, answer.reason, answer.over, answer.keep) == (404, "Not Found", True, kept)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"SSH-2.0-x\r\n\r\n", "expected an answer of HTTP/1.1, found 'SSH-2.0-x'"),
        (b"HTTP/2 200 OK\r\n\r\n", "expected an answer"),
        (OK + b"no header\r\n\r\n", "expected a header, found 'no header'"),
        (OK + b"Content-Encoding: gzip\r\n\r\n", "expected no coding, found 'gzip'"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "expected chunks, found 'gzip, chunked'"),
        (OK + b"Content-Length: -1\r\n\r\n", "expected a length, found '-1'"),
        (OK + b"Content-Length: 1\r\n\r\nab", "bytes behind an answer's end"),
        (CHUNKED + b"0\r\n\r\nab", "bytes behind an answer's end"),
        (CHUNKED + b"0x3\r\nabc\r\n", "expected a chunk's length, found b'0x3'"),
        (CHUNKED + b"\r\n", "expected a chunk's length"),
        (CHUNKED + b"2\r\nabc\r\n", "expected a chunk's end, found b'c'"),
        (CHUNKED + b"1" * 70_000, "has more than 65536 bytes"),
        (OK + b"a" * 70_000, "the head of an answer has more than 65536 bytes"),
    ],
)
def test_what_is_no_answer(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Answer().take(raw)


def test_what_is_asked() -> None:
    head = b"Host: h\r\n"
    assert asking("GET", "/a?b=c", head) == b"GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"
    length = b"Content-Type: application/json\r\nContent-Length: 2\r\n"
    assert asking("POST", "/a", head, b"{}") == b"POST /a HTTP/1.1\r\nHost: h\r\n" + length + b"\r\n{}"


@pytest.mark.parametrize("target", ["", "a", "/a b", "/a\r\nX: y", "/ä"])
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(ValueError, match="expected a path"):
        asking("GET", target, b"")
