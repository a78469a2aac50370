"""The fuzzer's seeds: small honest documents and artifacts, made by the builders of ``tests/support``."""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flyte_build.locks.nouns import Pin

from ..support.archive import Deb, publish
from ..support.bases import debian_base
from ..support.conda import PLACEHOLDER, Odd, package
from ..support.debs import Directory, Hardlink, Symlink, build_deb
from ..support.debs import tar as deb_tar
from ..support.pythons import files, pack
from ..support.recipes import lock_of, recipe_of, wheel
from ..support.wheels import build_wheel, stored
from .corpus_more import more
from .layers import member, tar

__all__ = ["KEPT", "write_corpus"]

_HEX = "0123456789abcdef" * 4

KEPT = frozenset({"lock/lock", "lock/pinned", "bundle/whole", "bundle/bare"})
"""Seeds that nobody makes any more: locks of schema 1, which are still read, alone and in bundles."""


def write_corpus(folder: Path) -> None:
    """Write every seed to ``folder/TARGET/NAME`` but for :data:`KEPT`; the same bytes on every machine."""
    for target, made in _all().items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (folder / target / name).write_bytes(data)


def _all() -> Mapping[str, Mapping[str, bytes]]:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        blobs, config, manifest, media = debian_base(
            config={"Env": ["PATH=/usr/bin"], "User": "me", "Cmd": ["x"]}
        ).parts()
        platform = {"os": "linux", "architecture": "amd64"}
        entry = {"mediaType": media, "digest": f"sha256:{_HEX}", "size": len(manifest), "platform": platform}
        index = {"schemaVersion": 2, "manifests": [entry, {**entry, "platform": {"os": "unknown"}}]}
        packages, release = _archive(place)
        layer = _layer()
        return {
            "wheel": _wheels(place),
            "deb": _debs(place),
            "python": {"python": _python(place)},
            "conda": _conda(place),
            "tar": {"deb": deb_tar(_FILES), "layer": layer, "python": gzip.decompress(blobs[0])},
            "gzip": {
                "one": gzip.compress(layer, mtime=0),
                "many": b"".join(gzip.compress(layer[i : i + 700], mtime=0) for i in range(0, len(layer), 700)),
            },
            "manifest": {"manifest": manifest, "index": json.dumps(index).encode()},
            "config": {"config": config},
            "lock": _locks(),
            "packages": {"packages": packages},
            "release": {"release": release},
            "page": {"page": _PAGE.encode()},
            "page-json": {"page": _page()},
            "journal": {"journal": _journal()},
            **more(place, layer),
        }


def _locks() -> Mapping[str, bytes]:
    lock = lock_of(recipe_of("a", "b>=2"), [wheel("b", "2.1"), wheel("a")])
    pins = dict.fromkeys(lock.platforms, Pin(f"sha256:{_HEX}", f"sha256:{_HEX[::-1]}"))
    return {"today": lock.text().encode(), "today-pinned": replace(lock, pins=pins).text().encode()}


_FILES: Mapping[str, bytes | tuple[int, bytes] | Symlink | Hardlink | Directory] = {
    "usr/bin/tool": (0o755, b"#!/bin/sh\n"),
    "usr/bin/alias": Symlink("tool"),
    "usr/bin/same": Hardlink("usr/bin/tool"),
    "usr/share/doc/tool": Directory(),
    "usr/share/" + "l" * 110: b"x",
}


def _wheels(place: Path) -> Mapping[str, bytes]:
    points = "[console_scripts]\na = alpha:main\n"
    files = {"alpha/__init__.py": "x = 1\n" * 9, "alpha/data.bin": bytes(300)}
    one = build_wheel(
        place, "alpha", files=files, entry_points=points, data={"scripts/b": "#!python\n"}, compress=stored
    )
    plain = one.read_bytes()
    far = build_wheel(place, "alpha", files=files, zip64=True, method=0).read_bytes()
    return {"plain": plain, "zip64": far}


def _debs(place: Path) -> Mapping[str, bytes]:
    made = {}
    for kind in ("none", "gz"):
        path = build_deb(place, "tool", "1", _FILES, compression=kind, scripts={"postinst": "#!/bin/sh\nset -e\n"})
        made[kind] = path.read_bytes()
    return made


def _layer() -> bytes:
    passwd = b"root:x:0:0:root:/root:/bin/sh\nme:x:7:8::/home/me:/bin/sh\n"
    info = "usr/lib/python3.11/site-packages/a-1.dist-info"
    status = b"Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n"
    return tar(
        [
            member("./etc/passwd", data=passwd),
            member("usr/bin/python3.11", data=b"\x7fELF"),
            member("usr/bin/python3", tarfile.SYMTYPE, linkname="python3.11"),
            member(f"{info}/METADATA", data=b"Name: a\nVersion: 1\n\n"),
            member(f"{info}/RECORD", data=b"a/__init__.py,,\n"),
            member("var/lib/dpkg/status", data=status),
            member("usr/lib/" + "n" * 120, data=b"x", pax_headers={"SCHILY.xattr.user.a": "b"}),
            member("same", tarfile.LNKTYPE, linkname="etc/passwd"),
            member("etc/.wh.shadow"),
            member("opt/.wh..wh..opq"),
            member("dev/null", tarfile.CHRTYPE),
        ]
    )


def _archive(place: Path) -> tuple[bytes, bytes]:
    fields = {"Depends": "libc6 (>= 2.36), a | b", "Provides": "c (= 1)", "Essential": "yes"}
    debs = [Deb("tool", "1:2.0-1", fields=fields), Deb("libx", "2", source="x (1)")]
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    made = publish(
        place / "archive", None, "bookworm", debs, date=at, valid=timedelta(days=7), compressions=(".gz",), files=False
    )
    return gzip.decompress(next(made.rglob("Packages.gz")).read_bytes()), (made / "InRelease").read_bytes()


_PAGE = f"""<!DOCTYPE html><html><head><base href="/files/"></head><body>
<a href="a-1.0-py3-none-any.whl#sha256={_HEX}" data-requires-python="&gt;=3.8" data-core-metadata="sha256={_HEX}">a</a>
<a href="../a-1.1.tar.gz" data-yanked="broken">a-1.1.tar.gz</a><a href="https://elsewhere.example/b.zip">b</a>
</body></html>
"""


def _page() -> bytes:
    file = {
        "filename": "a-1.0-py3-none-any.whl",
        "url": "a-1.0-py3-none-any.whl",
        "hashes": {"sha256": _HEX},
        "size": 5,
    }
    more = {
        "requires-python": ">=3.8",
        "yanked": "broken",
        "core-metadata": {"sha256": _HEX},
        "upload-time": "2026-01-01",
    }
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "a", "files": [file, file | more]}).encode()


def _journal() -> bytes:
    from flyte_build.submit.action import ErrorInfo, Phase
    from flyte_build.submit.journal import ActionRecord

    error = ErrorInfo("ValueError", "no such thing\nat all")
    first = ActionRecord(
        "a0", task="env.main", environment="env", phase=Phase.RUNNING, attempt=1, queued=1.5, started=2.0
    )
    last = first.replace(phase=Phase.FAILED, ended=3.0, error=error)
    assert asdict(error)
    rows = [{"run": {"phase": "running"}}, {"action": first.to_json()}, {"action": last.to_json()}]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _conda(place: Path) -> Mapping[str, bytes]:
    """Packages in the old format and with the old lists, and with those of today."""
    text, binary = f"at {PLACEHOLDER}\n".encode(), PLACEHOLDER.encode() + b"/a\0b"
    files: dict[str, bytes | str] = {"lib/a.txt": text, "lib/a.so": binary, "lib/b.so": "a.so"}
    said = {"lib/a.txt": "text", "lib/a.so": "binary"}
    old = package(place, "old", files, prefixed=said, odd=Odd(legacy=True, bz2=True, tar=tarfile.GNU_FORMAT))
    pure = package(
        place,
        "pure",
        {"site-packages/pure.py": b"def main(): ...\n", "python-scripts/s": b"#!/bin/sh\n"},
        noarch="python",
        entry_points=["pure = pure:main"],
        odd=Odd(bz2=True),
    )
    return {"old": old.path.read_bytes(), "pure": pure.path.read_bytes()}


def _python(place: Path) -> bytes:
    """A relocatable Python; packed with a date of its own, so that the seed is the same whoever makes it."""
    return gzip.compress(gzip.decompress(pack(place / "python.tar.gz", files()).read_bytes()), 9, mtime=0)
