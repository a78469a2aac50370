"""Archives in the layout of the relocatable Pythons that uv installs, and a list of them that uv reads.

The words in them are of our own; :func:`of_this_machine` packs the Python that runs the tests.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

SYSCONFIG = b"""# system configuration generated and used by the sysconfig module
build_time_vars = {'CC': '/usr/bin/clang -pthread',
 'CXX': 'clang++ -pthread',
 'AR': '/tools/llvm/bin/llvm-ar',
 'CONFIG_ARGS': "'--prefix=/install' 'CC=clang'",
 'LDFLAGS': '-L/install/lib -L/tools/deps/lib',
 'INCLUDEPY': '/install/include/python3.12',
 'LIBDIR': '/installed/lib',
 'prefix': '/install'}
"""
"""Of a build below ``/install``, by a compiler that no image has."""
MAKEFILE = b"prefix=\t/install\nexec=/install/bin:/x/install\n"


def files(python: str = "3.12") -> dict[str, bytes | str]:
    """Paths below ``python/`` → bytes, or where a link leads; what is in ``bin`` can be run."""
    return {
        f"bin/python{python}": b"\x7fELF interpreter",
        "bin/python3": f"python{python}",
        "bin/python": f"python{python}",
        "bin/pip3": b"#!/install/bin/python3.12\nimport pip # /install\n",
        "bin/idle3": b'#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python3.12" "$0" "$@"\n\'\'\'\n',
        f"lib/python{python}/os.py": b"# os, of /install\n",
        f"lib/python{python}/__pycache__/os.cpython-312.pyc": b"dated",
        f"lib/python{python}/_sysconfigdata__linux_x86_64-linux-gnu.py": SYSCONFIG,
        f"lib/pkgconfig/python-{python}.pc": b"prefix=/install\nlibdir=${prefix}/lib\n",
        f"lib/libpython{python}.so.1.0": b"\x7fELF library",
        f"lib/libpython{python}.so": f"libpython{python}.so.1.0",
        f"lib/python{python}/config-{python}-x86_64-linux-gnu/Makefile": MAKEFILE,
    }


def pack(path: Path, contents: Mapping[str, bytes | str], root: str = "python/") -> Path:
    """A ``.tar.gz`` of ``contents``; owners, dates and modes are a builder's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(root + name)
            member.uid, member.gid, member.mtime = 1000, 1000, 1_700_000_000
            member.mode = 0o775 if name.startswith("bin/") else 0o664
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def file_name(version: str, date: str = "20260102", machine: str = "x86_64", *, threaded: bool = False) -> str:
    kind = "freethreaded-" if threaded else ""
    return f"cpython-{version}+{date}-{machine}-unknown-linux-gnu-{kind}install_only_stripped.tar.gz"


def listing(path: Path, *archives: Path, wrong: bool = False) -> Path:
    """The list of ``archives`` that UV_PYTHON_DOWNLOADS_JSON_URL may name; ``wrong``: with other hashes."""
    rows = {}
    for archive in archives:
        version, _, rest = archive.name.removeprefix("cpython-").partition("+")
        machine = rest.split("-")[1]
        major, minor, patch = map(int, version.split("."))
        variant = "freethreaded" if "-freethreaded-" in archive.name else None
        kind = f"+{variant}" if variant else ""
        rows[f"cpython-{version}{kind}-linux-{machine}-gnu"] = {
            "name": "cpython",
            "arch": {"family": machine, "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": major,
            "minor": minor,
            "patch": patch,
            "prerelease": "",
            "url": archive.as_uri(),
            "sha256": "0" * 64 if wrong else hashlib.sha256(archive.read_bytes()).hexdigest(),
            "variant": variant,
        }
    path.write_text(json.dumps(rows))
    return path


def of_this_machine(folder: Path, date: str = "20260102") -> Path:
    """The Python that runs this, as an archive: its programs, its libraries and its standard library, no packages."""
    python, version = f"{sys.version_info[0]}.{sys.version_info[1]}", ".".join(map(str, sys.version_info[:3]))
    base = Path(sys.base_prefix)
    program = (base / "bin" / f"python{python}").read_bytes()
    # Where it looks for its own library: uv's builds say that relative to themselves.
    where = f"{base}/lib\0".encode()
    wanted: dict[str, bytes | str] = {
        f"bin/python{python}": program.replace(where, b"$ORIGIN/../lib\0".ljust(len(where), b"\0"))
    }
    wanted |= {"bin/python3": f"python{python}", "bin/python": f"python{python}"}
    wanted |= {f"lib/{lib.name}": lib.read_bytes() for lib in (base / "lib").glob(f"libpython{python}.so.*")}
    library = base / "lib" / f"python{python}"
    for here, folders, names in os.walk(library):
        folders[:] = sorted({*folders} - {"site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__"})
        for name in sorted(names):
            path = Path(here, name)
            if path.is_file() and not path.is_symlink():
                wanted[str(path.relative_to(base))] = path.read_bytes()
    wanted[f"lib/python{python}/site-packages/README.txt"] = b""
    for header in sorted((base / "include" / f"python{python}").rglob("*.h")):
        wanted[str(header.relative_to(base))] = header.read_bytes()
    return pack(folder / date / file_name(version, date, os.uname().machine), wanted)
