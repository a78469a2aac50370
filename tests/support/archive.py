"""A small Debian archive for tests: packages of our own, a Release signed by a key of our own, on loopback.

It is laid out as the real ones are (``dists``, ``pool``, ``by-hash``, a main and a security archive, a snapshot
archive that redirects to the nearest earlier state) and can be broken on purpose. Nothing here reads the
network or the machine's own keys; the signing key lives in a folder of the test.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from .debs import File, build_deb
from .tools import need

__all__ = ["NOW", "Deb", "Server", "Signer", "publish", "serve"]

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
_LABELS = {"debian": "Debian", "debian-security": "Debian-Security"}


@dataclass(frozen=True)
class Deb:
    """A package to publish; ``fields`` are control fields as Debian spells them (``{"Depends": "a, b"}``), ``files``
    what it holds besides a document, and ``scripts``, ``triggers`` and ``conffiles``, as
    :func:`~tests.support.debs.build_deb` takes them."""

    name: str
    version: str = "1.0"
    fields: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"
    source: str | None = None
    files: Mapping[str, File] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    triggers: str = ""
    conffiles: Sequence[str] = ()


class Signer:
    """A throw-away OpenPGP key in ``folder``; ``keyring`` is its public half. Close it: gpg leaves an agent running."""

    def __init__(self, folder: Path, name: str = "Archive Key") -> None:
        self._home = folder / "gnupg"
        self._home.mkdir(parents=True, mode=0o700)
        self._gpg = [need("gpg", "gnupg"), "--homedir", str(self._home), "--batch", "--quiet", "--no-tty"]
        self._run(
            "--passphrase", "", "--quick-generate-key", f"{name} <archive@mirror.example>", "ed25519", "sign", "0"
        )
        self.keyring = folder / "archive-keyring.gpg"
        self.keyring.write_bytes(self._run("--export"))

    def _run(self, *arguments: str, data: bytes | None = None) -> bytes:
        done = subprocess.run([*self._gpg, *arguments], input=data, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def clearsign(self, text: str) -> bytes:
        return self._run("--passphrase", "", "--pinentry-mode", "loopback", "--clearsign", data=text.encode())

    def close(self) -> None:
        subprocess.run(
            [need("gpgconf", "gnupg"), "--homedir", str(self._home), "--kill", "gpg-agent"],
            check=False,
            timeout=60,
            capture_output=True,
        )


def publish(
    root: Path,
    signer: Signer | None,
    suite: str,
    debs: Sequence[Deb],
    *,
    archive: str = "debian",
    architectures: Sequence[str] = ("amd64",),
    date: datetime = NOW - timedelta(hours=6),
    valid: timedelta | None = timedelta(days=7),
    release: Mapping[str, str] | None = None,
    compressions: Sequence[str] = (".xz",),
    by_hash: bool = True,
    plain: bool = True,
    list_uncompressed: bool = True,
    files: bool = False,
) -> Path:
    """Write ``dists/<suite>`` (and, with ``files``, the pool) below ``root``; returns the suite's folder.

    ``valid`` is how long after ``date``; ``release`` overrides fields of the Release file; ``plain=False`` leaves
    the indices reachable by hash only. Without a signer the InRelease file is not signed.
    """
    folder = root / "dists" / suite
    shutil.rmtree(folder, ignore_errors=True)
    rows: list[str] = []
    for architecture in architectures:
        mine = [d for d in debs if d.architecture in (architecture, "all")]
        text = "\n".join(_stanza(root, d, archive, files) for d in mine).encode()
        path = f"main/binary-{architecture}/Packages"
        for suffix in ("", *compressions):
            data = lzma.compress(text) if suffix == ".xz" else _gzip(text) if suffix == ".gz" else text
            sha256 = hashlib.sha256(data).hexdigest()
            if suffix or list_uncompressed:
                rows.append(f" {sha256} {len(data)} {path}{suffix}")
            if not suffix:
                continue
            if plain:
                _write(folder / (path + suffix), data)
            if by_hash:
                _write(folder / f"main/binary-{architecture}/by-hash/SHA256/{sha256}", data)
    fields = {
        "Origin": "Debian",
        "Label": _LABELS[archive],
        "Suite": "stable" + suite[len(suite.split("-")[0]) :],
        "Codename": suite,
        "Date": _date(date),
        "Acquire-By-Hash": "yes" if by_hash else "no",
        "Architectures": " ".join(["all", *architectures]),
        "No-Support-for-Architecture-all": "Packages",
        "Components": "main contrib" if archive == "debian" else "updates/main updates/contrib",
    }
    if valid is not None:
        fields["Valid-Until"] = _date(date + valid)
    fields |= release or {}
    text = "".join(f"{k}: {v}\n" for k, v in fields.items() if v) + "SHA256:\n" + "\n".join(rows) + "\n"
    _write(folder / "InRelease", signer.clearsign(text) if signer else text.encode())
    return folder


def _stanza(root: Path, deb: Deb, archive: str, files: bool) -> str:
    source = deb.source or deb.name
    prefix = source[:4] if source.startswith("lib") else source[0]
    component = "main" if archive == "debian" else "updates/main"
    pool = f"pool/{component}/{prefix}/{source}"
    name = f"{deb.name}_{deb.version.partition(':')[2] or deb.version}_{deb.architecture}.deb"
    if files:
        (root / pool).mkdir(parents=True, exist_ok=True)
        path = build_deb(
            root / pool,
            deb.name,
            deb.version,
            {f"usr/share/doc/{deb.name}/x": b"x", **deb.files},
            architecture=deb.architecture,
            scripts=deb.scripts,
            triggers=deb.triggers,
            conffiles=deb.conffiles,
            control={name: value for name, value in deb.fields.items() if name == "Priority"},
        )
        data = path.read_bytes()
    else:
        data = f"{name} of {archive}".encode()
    fields = {
        "Package": deb.name,
        **({"Source": deb.source} if deb.source else {}),
        "Version": deb.version,
        "Architecture": deb.architecture,
        "Filename": f"{pool}/{name}",
        "Size": str(len(data)),
        "SHA256": hashlib.sha256(data).hexdigest(),
        "Description": f"{deb.name} for tests",
        **deb.fields,
    }
    return "".join(f"{k}: {v}\n" for k, v in fields.items())


def _date(at: datetime) -> str:
    return at.strftime("%a, %d %b %Y %H:%M:%S UTC")


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class Server:
    """Serves ``root`` at ``url``. ``requests`` are the paths asked for.

    ``faults`` maps a path to statuses that are answered first, one a request. ``snapshots`` are the states
    below ``/snapshot``: ``{"20260301T000000Z": folder}`` with an archive's name below each folder.
    """

    def __init__(self, root: Path, http: ThreadingHTTPServer, state: _State) -> None:
        self.root, self.url, self._state = root, f"http://127.0.0.1:{http.server_address[1]}", state

    @property
    def requests(self) -> list[str]:
        return self._state.requests

    @property
    def faults(self) -> dict[str, list[int]]:
        return self._state.faults

    @property
    def snapshots(self) -> dict[str, Path]:
        return self._state.snapshots


@dataclass
class _State:
    requests: list[str] = field(default_factory=list)
    faults: dict[str, list[int]] = field(default_factory=dict)
    snapshots: dict[str, Path] = field(default_factory=dict)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, state: _State, **kwargs: Any) -> None:
        self._state = state
        super().__init__(*args, **kwargs)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._state.requests.append(self.path)
        statuses = self._state.faults.get(self.path)
        if statuses:
            self.send_error(statuses.pop(0))
        elif self.path.startswith("/snapshot/"):
            self._snapshot()
        else:
            super().do_GET()

    def _snapshot(self) -> None:
        _, _, archive, stamp, rest = self.path.split("/", 4)
        earlier = [s for s in sorted(self._state.snapshots) if s <= stamp]
        if not earlier:
            self.send_error(404)
        elif earlier[-1] != stamp:
            self.send_response(302)
            self.send_header("Location", f"/snapshot/{archive}/{earlier[-1]}/{rest}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            file = self._state.snapshots[stamp] / archive / rest
            if not file.is_file():
                self.send_error(404)
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    # More than connect at a time: who finds the queue full tries again after a second.
    request_queue_size = 64


@contextmanager
def serve(root: Path) -> Iterator[Server]:
    """A server for ``root`` on a free port of 127.0.0.1, for the time of the block."""
    state = _State()
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=str(root), state=state)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield Server(root, http, state)
        finally:
            http.shutdown()
            thread.join(10)
