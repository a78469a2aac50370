"""What advisories in OSV's form say of locked versions: of folders, dumps and services, and what is damaged."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flyte_build.asking.advisories import Packaged, of_folder
from flyte_build.asking.advisory_service import of_service
from flyte_build.kernel.errors import ArtifactError, FetchError, InputError


def record(name: str, about: dict[str, Any], ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    return {"id": name, "affected": [{"package": {"ecosystem": ecosystem, "name": "some.Thing"}, **about}], **more}


def span(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


def wheel(version: str) -> Packaged:
    return Packaged("PyPI", "some-thing", version, "wheel", "some-thing")


def deb(version: str) -> Packaged:
    return Packaged("Debian:12", "some.Thing", version, "deb", "libthing1")


ZERO = {"introduced": "0"}


@pytest.mark.parametrize(
    ("about", "in_it", "not_in_it"),
    [
        ({"versions": ["1.0", "1.1"]}, ["1.0", "1.1"], ["1.2"]),
        (span(ZERO, {"fixed": "2.0"}), ["0.1", "1.9.9", "2.0rc1"], ["2.0", "10"]),
        (span({"introduced": "1.2"}, {"last_affected": "1.10"}), ["1.2", "1.9", "1.10"], ["1.1", "1.11"]),
        (
            span(ZERO, {"fixed": "1"}, {"introduced": "3"}, {"fixed": "3.4"}),
            ["0.9", "3", "3.3"],
            ["1", "2", "3.4", "4"],
        ),
        (span({"fixed": "3.4"}, {"introduced": "3"}, {"fixed": "1"}, ZERO), ["0.9", "3"], ["1", "4"]),
        (span(ZERO, kind="GIT"), [], ["1"]),
        (span({"introduced": "no version"}), [], ["1"]),
        ({}, [], ["1"]),
    ],
)
def test_versions(tmp_path: Path, about: dict[str, Any], in_it: list[str], not_in_it: list[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(record("X-1", about)))
    found = of_folder(tmp_path)(map(wheel, in_it + not_in_it))
    assert found == {wheel(v): ("X-1",) for v in in_it}


def test_debian_has_an_order_of_its_own(tmp_path: Path) -> None:
    about = span(ZERO, {"fixed": "1:1.2~rc1-1+deb12u2"})
    (tmp_path / "a.json").write_text(json.dumps(record("DSA-1", about, "Debian:12")))
    (tmp_path / "b.json").write_text(json.dumps(record("DSA-2", about, "Debian:11")))
    old, new = deb("1:1.2~rc1-1+deb12u1"), deb("1:1.2-1")
    assert of_folder(tmp_path)([old, new, wheel("1")]) == {old: ("DSA-1",)}


def test_a_dump_is_a_zip_and_what_was_withdrawn_is_none(tmp_path: Path) -> None:
    (tmp_path / "PyPI").mkdir()
    with zipfile.ZipFile(tmp_path / "PyPI" / "all.zip", "w") as archive:
        archive.writestr("X-1.json", json.dumps(record("X-1", {"versions": ["1"]})))
        archive.writestr("X-2.json", json.dumps(record("X-2", {"versions": ["1"]}, withdrawn="2026-01-01T00:00:00Z")))
        archive.writestr("README", "no record")
    (tmp_path / "X-0.json").write_text(json.dumps(record("X-0", {"versions": ["1"]})))
    assert of_folder(tmp_path)([wheel("1"), wheel("2")]) == {wheel("1"): ("X-0", "X-1")}


_ODD = json.dumps(record("X", {"ranges": [{"type": "ECOSYSTEM", "events": ["odd"]}]}))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"id": 1, "affected": [{"package": {"name": "x"}}]}', '{"affected": 7}', _ODD]
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"bad\.json: expected an advisory in OSV's form"):
        of_folder(tmp_path)([wheel("1")])


def test_no_advisories_and_no_zip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected advisories in OSV's form"):
        of_folder(tmp_path)([wheel("1")])
    (tmp_path / "all.zip").write_bytes(b"PK no")
    with pytest.raises(ArtifactError, match=r"all\.zip: expected a zip of advisories"):
        of_folder(tmp_path)([wheel("1")])


class Service:
    """Answers ``/v1/querybatch``; ``known``: version → pages of ids; ``said``: what it says instead."""

    def __init__(self) -> None:
        self.known: dict[str, list[list[str]]] = {}
        self.said: tuple[int, bytes] | None = None
        self.asked: list[dict[str, Any]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked += body["queries"]
                results = [service.answer(q) for q in body["queries"]]
                code, data = service.said or (200, json.dumps({"results": results}).encode())
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        pages = self.known.get(query["version"], [])
        number = int(query.get("page_token", 0))
        if not pages:
            return {}
        more = {"next_page_token": str(number + 1)} if number + 1 < len(pages) else {}
        return {"vulns": [{"id": i} for i in pages[number]], **more}


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    thread = threading.Thread(target=one.server.serve_forever, args=(0.02,))
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


def test_a_service_hears_names_and_versions_and_is_asked_for_every_page(service: Service) -> None:
    service.known = {"1": [["B", "A"], ["C"]], "3": [["D"]]}
    assert of_service(service.url)([wheel("1"), wheel("2"), deb("3")]) == {
        wheel("1"): ("A", "B", "C"),
        deb("3"): ("D",),
    }
    first = {"package": {"ecosystem": "PyPI", "name": "some-thing"}, "version": "1"}
    assert service.asked[0] == first
    assert service.asked[3:] == [{**first, "page_token": "1"}]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((500, b""), "500"),
        ((200, b"<html>"), "no answer of OSV's API"),
        ((200, b'{"results": []}'), "expected 1 results"),
        ((200, b'{"results": [7]}'), "expected objects"),
        ((200, b'{"results": [{"vulns": [{}]}]}'), "an advisory without an id"),
        ((302, b""), "302"),
    ],
)
def test_a_service_that_is_none(service: Service, said: tuple[int, bytes], words: str) -> None:
    service.said = said
    with pytest.raises(FetchError, match=words):
        of_service(service.url)([wheel("1")])


def test_nobody_there() -> None:
    with pytest.raises(FetchError, match=r"POST http://127\.0\.0\.1:9"):
        of_service("http://127.0.0.1:9")([wheel("1")])
