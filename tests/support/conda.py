"""Conda packages and pixi.lock files of our own, whole or odd in a named way. The words in them are ours."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .pythons import of_this_machine

PLACEHOLDER = "/home/builder/" + "placehold_" * 20
"""As long as those that packages are built with."""
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/python{PYTHON}/site-packages"


@dataclass(frozen=True)
class Built:
    """A package in the folder of a channel, and what a pixi.lock says of it."""

    path: Path
    index: Mapping[str, object]
    purls: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def row(self) -> str:
        lines = [
            f"- conda: {self.path.as_uri()}",
            *(f"  {key}: '{self.index[key]}'" for key in ("name", "version", "build", "subdir")),
            "  build_number: 0",
            f"  sha256: {self.sha256}",
            f"  md5: {hashlib.md5(self.path.read_bytes()).hexdigest()}",
            f"  size: {self.path.stat().st_size}",
            *([f"  noarch: {self.index['noarch']}"] if "noarch" in self.index else []),
        ]
        for key, values in (("depends", self.index.get("depends") or ()), ("purls", self.purls)):
            lines += [f"  {key}:", *(f"  - {value}" for value in values)] if values else []  # type: ignore[attr-defined]
        return "\n".join(lines)


@dataclass
class Odd:
    """``legacy``: ``info/files`` and ``info/has_prefix``; ``bz2``: a ``.tar.bz2``; ``tar``: the format of its tars."""

    legacy: bool = False
    bz2: bool = False
    tar: int = tarfile.PAX_FORMAT
    index: Mapping[str, object] = field(default_factory=dict)
    info: Mapping[str, bytes] = field(default_factory=dict)


def package(
    channel: Path,
    name: str,
    files: Mapping[str, bytes | str],
    *,
    version: str = "1.0",
    build: str = "h0_0",
    subdir: str = "linux-64",
    prefixed: Mapping[str, str] | None = None,
    programs: Iterable[str] = (),
    noarch: str | None = None,
    entry_points: Sequence[str] = (),
    depends: Sequence[str] = (),
    purls: Sequence[str] = (),
    odd: Odd | None = None,
) -> Built:
    """Write a package into ``channel``. ``files``: bytes, or where a link leads; ``prefixed``: path → ``text`` or
    ``binary``, for those that have :data:`PLACEHOLDER` in them; ``programs`` can be run, as all below ``bin`` can."""
    odd = odd or Odd()
    subdir = "noarch" if noarch else subdir
    index: dict[str, object] = {"name": name, "version": version, "build": build, "build_number": 0, "subdir": subdir}
    index |= {"depends": list(depends), "license": "MIT", "timestamp": 1_700_000_000_000}
    index |= {"noarch": noarch} if noarch else {"arch": "x86_64", "platform": "linux"}
    index |= odd.index
    info: dict[str, bytes | str] = {"info/index.json": json.dumps(index).encode()}
    paths = []
    for path, content in sorted(files.items()):
        row: dict[str, object] = {"_path": path, "path_type": "softlink" if isinstance(content, str) else "hardlink"}
        data = b"" if isinstance(content, str) else content
        row |= {"sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
        if path in (prefixed or {}):
            row |= {"prefix_placeholder": PLACEHOLDER, "file_mode": (prefixed or {})[path]}
        paths.append(row)
    if odd.legacy:
        info["info/files"] = "".join(f"{row['_path']}\n" for row in paths).encode()
        lines = [f"{PLACEHOLDER} {mode} {path}\n" for path, mode in (prefixed or {}).items()]
        info["info/has_prefix"] = "".join(lines).encode()
    else:
        info["info/paths.json"] = json.dumps({"paths": paths, "paths_version": 1}).encode()
    if noarch == "python":
        said = {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
        info["info/link.json"] = json.dumps(said).encode()
    info |= odd.info
    folder = channel / subdir
    folder.mkdir(parents=True, exist_ok=True)
    stem, run = f"{name}-{version}-{build}", {*programs}
    if odd.bz2:
        import bz2

        at = folder / f"{stem}.tar.bz2"
        at.write_bytes(bz2.compress(tar({**info, **files}, run, odd.tar)))
    else:
        at = folder / f"{stem}.conda"
        with zipfile.ZipFile(at, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
            archive.writestr(f"pkg-{stem}.tar.zst", packed(tar(files, run, odd.tar)))
            archive.writestr(f"info-{stem}.tar.zst", packed(tar(info, run, odd.tar)))
    return Built(at, index, tuple(purls))


def packed(data: bytes, level: int = 3) -> bytes:
    """``data`` as one frame of Zstandard."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    out: bytes = importlib.import_module(name).compress(data, level=level)
    return out


def tar(files: Mapping[str, bytes | str], programs: set[str], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.uid, member.gid, member.mtime = 1000, 1000, 1_700_000_000.25  # type: ignore[assignment]
            member.mode = 0o775 if path.startswith("bin/") or path in programs else 0o664
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                made.addfile(member)
            else:
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
    return out.getvalue()


def pixi_lock(
    path: Path,
    packages: Mapping[str, Sequence[Built]],
    *,
    environment: str = "default",
    pypi: Sequence[tuple[str, str]] = (),
    version: int = 6,
    named: Mapping[str, str] | None = None,
) -> Path:
    """A ``pixi.lock`` of one environment: packages by subdir (``linux-64``), and ``pypi``: address or path, and the
    other lines of its row. ``named``, of format 7: the subdirs of platforms that have names of their own."""
    lines = [f"version: {version}", "environments:", f"  {environment}:", "    channels:"]
    lines += [
        "    - url: https://channel.invalid/",
        "    indexes:",
        "    - https://index.invalid/simple",
        "    packages:",
    ]
    for subdir, some in packages.items():
        lines += [f"      {subdir}:", *(f"      - conda: {one.path.as_uri()}" for one in some)]
        lines += [f"      - pypi: {place}" for place, _ in pypi]
    lines.append("packages:")
    rows = {one.path: one.row for some in packages.values() for one in some}
    lines += [*rows.values(), *(f"- pypi: {place}\n{more}" for place, more in pypi)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    if version < 6:
        head, between, rows_of = text.partition("\npackages:\n")
        for kind in ("conda", "pypi"):
            rows_of = rows_of.replace(f"- {kind}: ", f"- kind: {kind}\n  url: ")
        text = head + between + rows_of
    if named is not None:
        text = text.replace("environments:", "\n".join(["platforms:", *(
            f"- name: {name}\n  subdir: {subdir}" for name, subdir in named.items()
        ), "environments:"]), 1)  # fmt: skip
    path.write_text(text)
    return path


def python_of_this_machine(channel: Path, scratch: Path, subdir: str = "linux-64") -> Built:
    """The Python that runs the tests, as a conda package: it knows where it is from where it lies."""
    archive = of_this_machine(scratch)
    files: dict[str, bytes | str] = {}
    with tarfile.open(archive) as made:
        for member in made:
            path = member.name.removeprefix("python/")
            source = made.extractfile(member) if member.isfile() else None
            files[path] = source.read() if source is not None else member.linkname
    version = ".".join(map(str, sys.version_info[:3]))
    return package(channel, "python", files, version=version, build="h1_0_cpython", subdir=subdir)


def a_few(channel: Path) -> list[Built]:
    """A Python that only looks like one, and what the rules of conda are about."""
    hello = f"#!{PLACEHOLDER}/bin/python\nprint('{PLACEHOLDER}/share')\n".encode()
    blob = (
        b"\x7fELF\0" + f"{PLACEHOLDER}/lib:{PLACEHOLDER}/lib64".encode() + b"\0tail" + PLACEHOLDER.encode() + b"/x\0end"
    )
    python = package(
        channel,
        "python",
        {
            f"bin/python{PYTHON}": b"\x7fELF",
            "bin/python": f"python{PYTHON}",
            f"{SITE}/README.txt": b"",
            f"lib/python{PYTHON}/os.py": b"x = 1\n",
            f"lib/python{PYTHON}/__pycache__/os.cpython-{PYTHON.replace('.', '')}.pyc": b"magi"
            + bytes(4)
            + b"timesize"
            + b"code",
        },
        version=f"{PYTHON}.2",
        build="h1_0_cpython",
    )
    compiled = package(
        channel,
        "compiled",
        {
            "bin/hello": hello,
            "bin/tool": b"\x7fELF" + blob,
            "lib/libx.so.1": blob,
            "lib/libx.so": "libx.so.1",
            "share/empty": b"",
            "etc/" + "long-name-" * 12 + "/" + "of-a-file-" * 8 + "é.txt": b"pax",
        },
        prefixed={"bin/hello": "text", "bin/tool": "binary", "lib/libx.so.1": "binary"},
        depends=["python"],
    )
    pure = package(
        channel,
        "pure",
        {
            "site-packages/pure/__init__.py": b"def main():\n    print('pure')\n",
            "site-packages/pure-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: Pure-Thing\nVersion: 1.0\n",
            "python-scripts/pure-script": f"#!{PLACEHOLDER}/bin/python\n".encode(),
        },
        prefixed={"python-scripts/pure-script": "text"},
        noarch="python",
        build="pyh0_0",
        entry_points=["pure = pure:main"],
        depends=["python >=3.8"],
        purls=["pkg:pypi/pure-thing"],
    )
    old = package(
        channel,
        "old",
        {"lib/old.txt": f"at {PLACEHOLDER}\n".encode(), "lib/old.bin": PLACEHOLDER.encode() + b"/a\0b"},
        prefixed={"lib/old.txt": "text", "lib/old.bin": "binary"},
        odd=Odd(legacy=True, bz2=True, tar=tarfile.GNU_FORMAT),
    )
    return [compiled, old, pure, python]
