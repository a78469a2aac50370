"""Reads a Debian package: its control data, and its files without holding them in memory.

A .deb is an ar archive of ``debian-binary``, ``control.tar*`` and ``data.tar*`` (deb(5)). The control
part is small and read whole; the data part is decompressed once into a file of the scratch folder, and
what is read from it afterwards are segments of that file. Never runs anything of the package, and never
decides which of its files an image wants: that is ``debian.py``.
"""

from __future__ import annotations

import gzip
import importlib
import io
import lzma
import os
import re
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from .bombs import most_inflated
from .entries import Plain
from .errors import AssembleError
from .untar import Member, members
from .xz import TooMuchMemory, XzReader

__all__ = ["SCRIPTS", "Control", "Deb", "open_deb", "read_control"]

SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")

_CHUNK = 1 << 18
# No package's control data, and no file `control`, is near this; what unpacks to more is a bomb.
_MAX_CONTROL, _MAX_FIELDS = 64 << 20, 4 << 20
# A data.tar may unpack to 64 times its size, and to this in any case.
_LEAST = 1 << 30
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Control:
    """What a package says of itself: ``fields`` of its control file by name, ``files`` all of control.tar's."""

    artifact: str
    fields: Mapping[str, str]
    files: Mapping[str, bytes]

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def version(self) -> str:
        return self.fields["Version"]

    @property
    def architecture(self) -> str:
        return self.fields["Architecture"]

    @property
    def scripts(self) -> tuple[str, ...]:
        """The maintainer scripts it has, in the order of :data:`SCRIPTS`."""
        return tuple(name for name in SCRIPTS if name in self.files)

    @property
    def conffiles(self) -> tuple[str, ...]:
        """Its configuration files, as absolute paths; those only to be removed are left out (deb-conffiles(5))."""
        lines = self.files.get("conffiles", b"").decode("utf-8", "surrogateescape").splitlines()
        return tuple(line.strip() for line in lines if line.startswith("/"))

    @property
    def database_name(self) -> str:
        """Its name in dpkg's database: with the architecture where several may be installed together."""
        return f"{self.name}:{self.architecture}" if self.fields.get("Multi-Arch") == "same" else self.name


@dataclass(frozen=True, slots=True)
class Deb:
    """A package opened for assembly: ``data`` is the path of its uncompressed data.tar."""

    control: Control
    data: str
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        return self.control.name

    def segment(self, member: Member) -> Plain:
        """The content of a file of this package."""
        return Plain(self.data, member.offset, member.size)


def read_control(path: str | os.PathLike[str], file: str | None = None) -> Control:
    """The control data of the .deb at ``path``; ``file`` is its name for messages (the path's by default).

    Raises :class:`AssembleError` when it is not a well-formed Debian package.
    """
    artifact = file or os.path.basename(path)
    with open(path, "rb") as stream:
        parts = _parts(stream, artifact)
        return _control(stream, parts["control.tar"], artifact)


def open_deb(path: str | os.PathLike[str], scratch: str | os.PathLike[str], file: str, sha256: str) -> Deb:
    """The .deb at ``path``, its data decompressed to a file in ``scratch`` named by ``sha256``.

    A data file that an earlier call left in the same scratch folder is taken as it is: the layers of one
    image read the same packages. The caller has verified ``sha256`` and owns the folder.
    """
    with open(path, "rb") as stream:
        parts = _parts(stream, file)
        control = _control(stream, parts["control.tar"], file)
        data = os.path.join(scratch, f"{sha256}.data.tar")
        if not os.path.exists(data):
            handle, temporary = tempfile.mkstemp(dir=scratch, prefix=f"{sha256}.")
            try:
                with os.fdopen(handle, "wb") as out:
                    part = parts["data.tar"]
                    _decompress(stream, part, file, out, most_inflated(part.size, _LEAST))
                os.replace(temporary, data)
            except BaseException:
                os.unlink(temporary)
                raise
        with open(data, "rb") as tar:
            return Deb(control, data, tuple(members(tar, file, parts["data.tar"].name)))


# -- the ar archive --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    offset: int
    size: int


def _parts(stream: BinaryIO, artifact: str) -> dict[str, _Part]:
    """``control.tar`` and ``data.tar``, whatever their compression, in the order deb(5) demands."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if stream.read(8) != b"!<arch>\n":
        raise AssembleError("expected a Debian package, found something that is not an ar archive", artifact)
    expected = ["debian-binary", "control.tar", "data.tar"]
    found: dict[str, _Part] = {}
    offset = 8
    while expected:
        stream.seek(offset)
        header = stream.read(60)
        if len(header) < 60:
            raise AssembleError(f"expected the member {expected[0]}, found the end of the file: truncated", artifact)
        size = header[48:58].strip()
        if header[58:60] != b"`\n" or not size.isdigit():
            raise AssembleError(f"expected an ar member's header at byte {offset}: corrupt", artifact)
        part = _Part(header[:16].decode("ascii", "replace").strip().removesuffix("/"), offset + 60, int(size))
        if part.offset + part.size > end:
            missing = part.offset + part.size - end
            raise AssembleError(f"{part.name}: {missing} bytes are missing at its end: truncated", artifact)
        offset = part.offset + part.size + (part.size & 1)
        if part.name.startswith("_") and found:
            continue
        if part.name.removesuffix(_suffix(part.name)) != expected[0]:
            raise AssembleError(f"expected the member {expected[0]}, found {part.name}", artifact)
        if expected[0] == "debian-binary":
            stream.seek(part.offset)
            version = stream.read(min(part.size, 64))
            if not re.match(rb"2\.[0-9]+\n", version):
                raise AssembleError(f"debian-binary: expected format 2.0, found {version!r}", artifact)
        found[expected.pop(0)] = part
    return found


def _suffix(name: str) -> str:
    stem, dot, last = name.rpartition(".")
    return dot + last if stem.endswith(".tar") else ""


class _Window(io.RawIOBase):
    """The bytes of one part, read from the archive's stream."""

    def __init__(self, stream: BinaryIO, part: _Part) -> None:
        self._stream = stream
        self._position = part.offset
        self._left = part.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._stream.seek(self._position)
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._position += len(data)
        self._left -= len(data)
        return data


def _decompress(stream: BinaryIO, part: _Part, artifact: str, out: IO[bytes], limit: int) -> None:
    """Write the uncompressed bytes of ``part`` to ``out``; at most ``limit`` of them."""
    source = cast(BinaryIO, _Window(stream, part))
    try:
        with _open(source, part.name, artifact) as plain:
            left = limit
            while data := plain.read(_CHUNK):
                left -= len(data)
                if left < 0:
                    raise AssembleError(f"{part.name}: unpacks to more than {limit} bytes", artifact)
                out.write(data)
    except TooMuchMemory as e:
        raise AssembleError(f"{part.name}: {e}", artifact) from None
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, MemoryError) as e:
        why = str(e) or "it asks for more memory than there is"
        raise AssembleError(f"{part.name}: corrupt or truncated: {why}", artifact) from None


def _open(source: BinaryIO, name: str, artifact: str) -> IO[bytes]:
    suffix = _suffix(name)
    if suffix == "":
        return source
    if suffix == ".xz":
        return cast(IO[bytes], XzReader(source))
    if suffix == ".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=source, mode="rb"))
    if suffix == ".zst":
        return _zstandard(source, name, artifact)
    raise AssembleError(f"{name}: expected xz, gz or no compression, found {suffix}", artifact)


def _zstandard(source: BinaryIO, name: str, artifact: str) -> IO[bytes]:
    """PEP 784: the standard library reads Zstandard from Python 3.14 on. Debian's own packages do not need it.

    Its library refuses by itself a stream that asks for a window of more than 128 MiB.
    """
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError:
        raise AssembleError(
            f"{name}: Zstandard can be read by Python 3.14 and later only; Debian's own packages use xz", artifact
        ) from None

    class _File(io.RawIOBase):
        def __init__(self) -> None:
            self._inner = zstd.ZstdFile(source)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            try:
                return cast(bytes, self._inner.read(size))
            except zstd.ZstdError as e:
                raise AssembleError(f"{name}: corrupt or truncated: {e}", artifact) from None

    return cast(IO[bytes], _File())


# -- control data ----------------------------------------------------------------------------------


def _control(stream: BinaryIO, part: _Part, artifact: str) -> Control:
    tar = io.BytesIO()
    _decompress(stream, part, artifact, tar, _MAX_CONTROL)
    files = {}
    for member in members(tar, artifact, part.name):
        if member.kind == "file":
            tar.seek(member.offset)
            files[member.path] = tar.read(member.size)
    if "control" not in files:
        raise AssembleError(f"{part.name}: expected a file named control, found {', '.join(sorted(files))}", artifact)
    return Control(artifact, _fields(files["control"], artifact), files)


def _fields(raw: bytes, artifact: str) -> dict[str, str]:
    """One stanza of deb-control(5): fields in their order, continuation lines with their first blank."""
    if len(raw) > _MAX_FIELDS:
        raise AssembleError(f"control: expected at most {_MAX_FIELDS} bytes, found {len(raw)}", artifact)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise AssembleError("control: expected UTF-8", artifact) from None
    fields: dict[str, str] = {}
    last = None
    for number, line in enumerate(text.strip("\n").split("\n"), 1):
        match = _FIELD.fullmatch(line)
        if line.startswith((" ", "\t")) and last is not None and line.strip():
            fields[last] += "\n" + line.rstrip()
        elif match and match[1] not in fields:
            last = match[1]
            fields[last] = match[2].rstrip()
        else:
            raise AssembleError(f"control, line {number}: expected one stanza of fields, found {line!r}", artifact)
    for name in ("Package", "Version", "Architecture"):
        value = fields.get(name, "")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+~:-]*", value):
            raise AssembleError(f"control: expected a field {name}, found {value!r}", artifact)
    return fields
