"""A Docker daemon's API on a socket of its own, as far as loading images goes, with faults on demand.

It keeps images as Docker's graph drivers do: a layer by the chain of diff_ids below it, an image by its configuration's
digest. A layer's file is opened only where its chain is not known, and must have its diff_id. ``containerd=True`` makes
it one on containerd: an image is its manifest, and every blob has to be there.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import re
import socketserver
import tarfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["FakeDocker"]


def _sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _gunzip(data: bytes) -> bytes:
    """All members of a gzip file."""
    out = b""
    while data:
        inflater = zlib.decompressobj(31)
        out += inflater.decompress(data)
        data = inflater.unused_data
    return out


def _chains(diff_ids: list[str]) -> list[str]:
    found: list[str] = []
    for diff_id in diff_ids:
        found.append(_sha(f"{found[-1]} {diff_id}".encode()) if found else diff_id)
    return found


class FakeDocker:
    """``with FakeDocker(folder) as d: d.address``. ``images`` by id; ``archives``: the names in each one sent."""

    def __init__(self, folder: Path, *, containerd: bool = False, api: str = "1.41") -> None:
        self.path = folder / "docker.sock"
        self.address = f"unix://{self.path}"
        self.containerd, self.api = containerd, api
        self.images: dict[str, dict[str, Any]] = {}
        self.layers: set[str] = set()
        self.archives: list[dict[str, int]] = []
        self.before_load: Callable[[], None] = lambda: None
        self.refuse: str | None = None
        self.broken = False

    def __enter__(self) -> FakeDocker:
        fake = self

        class Handler(_Handler):
            daemon = fake

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self._server = Server(str(self.path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def remove(self, identity: str) -> None:
        """As `docker rmi`: layers that no other image has go, too."""
        del self.images[identity]
        self.layers = {c for image in self.images.values() for c in _chains(image["RootFS"]["Layers"])}

    def load(self, data: bytes) -> None:
        self.before_load()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            held = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
        self.archives.append({name: len(content) for name, content in held.items()})
        if self.refuse is not None:
            raise ValueError(self.refuse)
        self._load_index(held) if self.containerd else self._load_list(held)

    def _load_list(self, held: dict[str, bytes]) -> None:
        for row in json.loads(held["manifest.json"]):
            config = held[row["Config"]]
            diff_ids = json.loads(config)["rootfs"]["diff_ids"]
            for chain, diff_id, path in zip(_chains(diff_ids), diff_ids, row["Layers"], strict=True):
                if chain in self.layers:
                    continue
                if path not in held:
                    raise ValueError(f"open /tmp/docker-import/{path}: no such file or directory")
                if _sha(_gunzip(held[path])) != diff_id:
                    raise ValueError("invalid diffID for layer")
                self.layers.add(chain)
            self._keep(_sha(config), row["RepoTags"], diff_ids)

    def _load_index(self, held: dict[str, bytes]) -> None:
        def blob(digest: str) -> bytes:
            data = held["blobs/sha256/" + digest.removeprefix("sha256:")]
            assert _sha(data) == digest
            return data

        for entry in json.loads(held["index.json"])["manifests"]:
            manifest = json.loads(blob(entry["digest"]))
            for layer in manifest["layers"]:
                blob(layer["digest"])
            diff_ids = json.loads(blob(manifest["config"]["digest"]))["rootfs"]["diff_ids"]
            name = entry["annotations"]["io.containerd.image.name"].removeprefix("docker.io/")
            self._keep(entry["digest"], [name], diff_ids)

    def _keep(self, identity: str, tags: list[str], diff_ids: list[str]) -> None:
        before = self.images.get(identity, {}).get("RepoTags", [])
        self.images[identity] = {
            "Id": identity,
            "RepoTags": [*before, *(t for t in tags if t not in before)],
            "RootFS": {"Type": "layers", "Layers": diff_ids},
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    daemon: FakeDocker
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: Any) -> None:
        return None

    def do_GET(self) -> None:
        path = self._path()
        if self.daemon.broken:
            return self._answer(500, {"message": "the disk is on fire"})
        if path == "/version":
            return self._answer(200, {"ApiVersion": self.daemon.api, "MinAPIVersion": "1.12", "Version": "20.10"})
        if path == "/info":
            driver = [["driver-type", "io.containerd.snapshotter.v1"]] if self.daemon.containerd else [["Backing", "x"]]
            return self._answer(200, {"DriverStatus": driver})
        if path == "/images/json":
            return self._answer(200, [{"Id": identity} for identity in self.daemon.images])
        if match := re.fullmatch(r"/images/(.+)/json", path):
            found = self.daemon.images.get(match[1])
            return self._answer(200, found) if found else self._answer(404, {"message": f"No such image: {match[1]}"})
        return self._answer(404, {"message": f"page not found: {path}"})

    def do_POST(self) -> None:
        body = self._body()
        path = self._path()
        if self.daemon.broken:
            return self._answer(500, {"message": "the disk is on fire"})
        if path == "/images/load":
            try:
                self.daemon.load(body)
            except (ValueError, KeyError) as e:
                return self._answer(200, {"errorDetail": {"message": str(e)}, "error": str(e)})
            return self._answer(200, {"stream": "Loaded image\n"})
        if match := re.fullmatch(r"/images/(.+)/tag", path):
            query = parse_qs(urlsplit(self.path).query)
            self.daemon.images[match[1]]["RepoTags"].append(f"{query['repo'][0]}:{query['tag'][0]}")
            return self._answer(201, None)
        return self._answer(404, {"message": f"page not found: {path}"})

    def _path(self) -> str:
        return re.sub(r"^/v[0-9.]+", "", unquote(urlsplit(self.path).path))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, document: object) -> None:
        data = b"" if document is None else json.dumps(document).encode() + b"\r\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
