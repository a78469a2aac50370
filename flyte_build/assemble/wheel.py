"""A wheel → the entries that installing it into a venv makes. Nothing is unpacked: contents stay where they lie.

The rules are the binary distribution format's (PEP 427) and those of recording installed projects (PEP 376,
PEP 627). Never compiles, never writes REQUESTED or direct_url.json (what is in an image says its lock), and
never sets a mode but 0644 or 0755.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from . import launchers, record
from .archive import DEFLATED, Archive, Member
from .entries import Content, Deflated, Entry, Plain

__all__ = ["InstalledWheel", "install_wheel", "installed_beside"]

INSTALLER = b"flyte-build\n"
SUPPORTED = (1, 0)
"""The newest Wheel-Version known; the same major version with a higher minor one is installed with a warning."""

# The largest METADATA of a real wheel is some hundred kilobytes; a RECORD has some hundred bytes a file.
_TEXT, _RECORD = 4 << 20, 32 << 20
# An installer's own notes: a wheel that brings them brings somebody else's.
_NOTES = ("INSTALLER", "REQUESTED", "direct_url.json")


class InstalledWheel(NamedTuple):
    """What a wheel becomes: ``entries`` in no particular order, without folders; ``warnings`` for the user."""

    entries: list[Entry]
    warnings: list[str]


class _Venv:
    """Where things go below the root; paths without a leading slash.

    ``own`` is what makes it an environment (PEP 405): no wheel has a file there.
    """

    def __init__(self, root: str, python: str) -> None:
        self.root, self.python = root, python
        self.bin, above = f"{root}/bin", f"{root}/lib/python{python}"
        self.site = f"{above}/site-packages"
        self.interpreter = f"/{self.bin}/python"
        shared = (f"{root}/{name}" for name in ("pyvenv.cfg", "lib", "lib64", "include"))
        self.own = frozenset((self.site, above, self.bin, *shared))
        self._below = self.site + "/"

    def schemes(self, distribution: str) -> dict[str, str]:
        """Purelib and platlib are one folder in a venv, so that Root-Is-Purelib makes no difference."""
        return {
            "purelib": self.site,
            "platlib": self.site,
            "scripts": self.bin,
            "headers": f"{self.root}/include/site/python{self.python}/{distribution}",
            "data": self.root,
        }

    def recorded(self, path: str) -> str:
        """``path`` as RECORD has it: relative to site-packages."""
        if path.startswith(self._below):
            return path[len(self._below) :]
        return "../../../" + path[len(self.root) + 1 :]


def install_wheel(path: str, file: str, *, python: str, venv: str, verify: bool = True) -> InstalledWheel:
    """The entries of the wheel at ``path``, whose file name is ``file``, in the venv at ``venv``.

    ``python`` is the interpreter's ``X.Y``, ``venv`` an absolute path; ``verify`` gives contents the hashes of
    RECORD, to be checked when they are read. Raises :class:`AssembleError` naming
    artifact and member for a wheel that is corrupt, hostile, inconsistent or of a format not known.
    """
    with Archive(path, file) as archive:
        return _Installation(archive, _Venv(venv.strip("/"), python), verify).run()


def installed_beside(
    archive: Archive, *, python: str, venv: str, verify: bool, listed: bool, ended: bool
) -> InstalledWheel:
    """What :func:`install_wheel` adds to the files of a wheel that all lie where they did, RECORD's stream among them:
    launchers, ``INSTALLER``, and RECORD with what follows its stream.

    ``archive`` is such a wheel, of whose members it need have only ``WHEEL``, ``RECORD`` and ``entry_points.txt``;
    ``listed``: RECORD has a row for itself; ``ended``: its last row has an end. Raises as :func:`install_wheel` does.
    """
    return _Installation(archive, _Venv(venv.strip("/"), python), verify).beside(listed, ended)


class _Installation:
    def __init__(self, archive: Archive, venv: _Venv, verify: bool) -> None:
        self.archive = archive
        self.verify = verify
        self.venv = venv
        self.info = self._dist_info()
        self.stem = self.info.removesuffix(".dist-info")
        self.distribution = self.stem.partition("-")[0]
        self.entries: dict[str, Entry] = {}
        self.rows: list[record.Row] = []
        self.warnings: list[str] = []

    def run(self) -> InstalledWheel:
        self._check_version()
        record_member = self._metadata("RECORD")
        text = self.archive.read(record_member, _RECORD)
        own = record.parse(self.archive, record_member, text)
        rows, wrong = record.check(self.archive, own, self.info)
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            self.warnings.append(
                f"{self.archive.artifact}: its RECORD is not what it holds, which is installed: {wrong[0]}{more}"
            )
        schemes = self.venv.schemes(self.distribution)
        dropped = {f"{self.info}/{name}" for name in (*record.UNRECORDED, *_NOTES)}
        for member in self.archive.members.values():
            if member.name not in dropped:
                self._file(member, rows[member.name], schemes)
        # RECORD's own stream is taken over where all of its rows still hold.
        kept = not any(row.path.endswith("/") or row.path.startswith(f"{self.stem}.data/") for row in own)
        kept = kept and not wrong
        kept = kept and not any(f"{self.info}/{name}" in rows for name in (*record.UNRECORDED[1:], *_NOTES))
        unchanged = len(self.rows)
        self._added()
        if kept:
            content = self._continued(
                record_member, self.rows[unchanged:], record_member.name in rows, text[-1:] == b"\n"
            )
        else:
            content = (record.text([*self.rows, record.Row(record_member.name)]),)
        self._add(record_member.name, Entry(f"{self.venv.site}/{record_member.name}", "file", 0o644, content))
        return InstalledWheel(list(self.entries.values()), self.warnings)

    def beside(self, listed: bool, ended: bool) -> InstalledWheel:
        """As :func:`installed_beside` has it."""
        self._check_version()
        member = self._metadata("RECORD")
        self._added()
        content = self._continued(member, self.rows, listed, ended)
        self._add(member.name, Entry(f"{self.venv.site}/{member.name}", "file", 0o644, content))
        return InstalledWheel(list(self.entries.values()), self.warnings)

    def _added(self) -> None:
        """What no wheel has: launchers, and who installed it."""
        for name, body in self._scripts():
            self._fresh(name, f"{self.venv.root}/bin/{name}", 0o755, body)
        self._fresh("INSTALLER", f"{self.venv.site}/{self.info}/INSTALLER", 0o644, INSTALLER)

    def _continued(self, member: Member, added: list[record.Row], listed: bool, ended: bool) -> Content:
        """RECORD's own stream, and the rows that follow it."""
        rows = added if listed else [*added, record.Row(member.name)]
        separator = b"" if ended else b"\n"
        return (*self._lying(member, record.Row(member.name)), separator + record.text(rows))

    # -- the wheel's own metadata ------------------------------------------------------------------

    def _dist_info(self) -> str:
        found = sorted(
            {n.partition("/")[0] for n in self.archive.members if n.partition("/")[0].endswith(".dist-info")}
        )
        if len(found) != 1:
            raise self.archive.fail(
                f"expected one .dist-info folder, found {len(found)}{': ' + ', '.join(found) if found else ''}"
            )
        distribution = self.archive.artifact.partition("-")[0]
        if _normal(found[0].partition("-")[0]) != _normal(distribution):
            raise self.archive.fail(f"expected the .dist-info folder of {distribution}, found {found[0]}")
        return found[0]

    def _metadata(self, name: str) -> Member:
        member = self.archive.members.get(f"{self.info}/{name}")
        if member is None:
            raise self.archive.fail(f"not a wheel: `{self.info}/{name}` is missing")
        return member

    def _text(self, member: Member) -> str:
        try:
            return self.archive.read(member, _TEXT).decode()
        except UnicodeDecodeError:
            raise self.archive.fail("expected UTF-8", member.name) from None

    def _check_version(self) -> None:
        member = self._metadata("WHEEL")
        stated = _field(self._text(member), "Wheel-Version").strip()
        match = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})", stated)
        if match is None:
            raise self.archive.fail(f"expected a Wheel-Version such as 1.0, found `{stated}`", member.name)
        version = int(match[1]), int(match[2])
        if version[0] != SUPPORTED[0]:
            raise self.archive.fail(
                f"expected Wheel-Version 1.x, found {stated}; a newer flyte-build may know it", member.name
            )
        if version > SUPPORTED:
            self.warnings.append(f"{self.archive.artifact}: Wheel-Version {stated} is newer than 1.0; installed as 1.0")

    def _scripts(self) -> Iterator[tuple[str, bytes]]:
        member = self.archive.members.get(f"{self.info}/entry_points.txt")
        if member is None:
            return
        try:
            found = launchers.entry_point_scripts(self._text(member), self.distribution)
        except ValueError as e:
            raise self.archive.fail(str(e), member.name) from None
        for name, reference in sorted(found.items()):
            yield name, launchers.launcher(reference, self.venv.interpreter)

    # -- files -------------------------------------------------------------------------------------

    def _file(self, member: Member, row: record.Row, schemes: dict[str, str]) -> None:
        top, _, rest = member.name.partition("/")
        scheme, path = "purelib", member.name
        if top.endswith(".data") and rest:
            scheme, _, path = rest.partition("/")
            if top != f"{self.stem}.data":
                raise self.archive.fail(f"expected the data folder {self.stem}.data, found {top}", member.name)
            if scheme not in schemes or not path:
                raise self.archive.fail(f"expected a scheme among {', '.join(schemes)}, found `{scheme}`", member.name)
        path = f"{schemes[scheme]}/{path}"
        self._own(path, member)
        if scheme == "scripts" and self.archive.start(member, 8) == launchers.PLACEHOLDER:
            body = self._verified(member, row)
            try:
                changed = launchers.rewrite(body, self.venv.interpreter)
            except UnicodeDecodeError:
                raise self.archive.fail("expected UTF-8 in the first line", member.name) from None
            if changed != body:
                self._fresh(member.name, path, 0o755, changed)
                return
        mode = 0o755 if scheme == "scripts" or member.executable else 0o644
        self._add(member.name, Entry(path, "file", mode, self._lying(member, row)))
        if not row.hash and member.name != f"{self.info}/RECORD":
            row = record.Row(member.name, record.hash_of(self.archive.read(member)))
        self.rows.append(record.Row(self.venv.recorded(path), row.hash, str(member.size)))

    def _own(self, path: str, member: Member) -> None:
        """Raises where the file at ``path`` would be the environment's own."""
        if path in self.venv.own:
            raise self.archive.fail(f"would stand in the place of the environment's own `/{path}`", member.name)
        folder, _, name = path.rpartition("/")
        if folder == self.venv.bin:
            try:
                launchers.check_script(name, self.distribution)
            except ValueError as e:
                raise self.archive.fail(str(e), member.name) from None

    def _verified(self, member: Member, row: record.Row) -> bytes:
        """The content of a member that is needed here, which RECORD vouches for."""
        body = self.archive.read(member)
        expected = record.expected(row)
        if expected is None:
            return body
        import hashlib

        if hashlib.new(expected[0], body).digest() != expected[1]:
            raise self.archive.fail(f"expected {row.hash}, as RECORD says; found another {expected[0]}", member.name)
        return body

    def _lying(self, member: Member, row: record.Row) -> Content:
        """The member's content where it lies; empty files have none."""
        if member.size == 0:
            self._verified(member, row)
            return ()
        path, hash_ = self.archive.path, record.expected(row) if self.verify else None
        if member.method == DEFLATED:
            return (Deflated(path, member.offset, member.csize, member.size, member.crc32, hash_),)
        return (Plain(path, member.offset, member.size, member.crc32, hash_),)

    def _fresh(self, name: str, path: str, mode: int, body: bytes) -> None:
        self._add(name, Entry(path, "file", mode, (body,)))
        self.rows.append(record.Row(self.venv.recorded(path), record.hash_of(body), str(len(body))))

    def _add(self, name: str, entry: Entry) -> None:
        if entry.path in self.entries:
            raise self.archive.fail(f"the wheel installs `{entry.path}` twice", name)
        self.entries[entry.path] = entry


def _field(text: str, name: str) -> str:
    """A field of ``WHEEL``, as ``email`` reads it (PEP 427); empty where there is none.

    That takes longer to import than a small layer to make, and nearly every such file is lines of ``Name: value``.
    """
    stated: str | None = None
    for line in text.split("\n"):
        if not line:
            return stated or ""
        found, colon, value = line.partition(":")
        if not (colon and found and line.isascii() and line.isprintable()) or " " in found:
            break
        if stated is None and found.lower() == name.lower():
            stated = value
    from email.parser import Parser

    return str(Parser().parsestr(text).get(name, ""))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
