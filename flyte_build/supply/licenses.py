"""What an artifact says its licence is, and which source a .deb was built from. Reads one file; never guesses.

A wheel says it in METADATA (core metadata specification: ``License-Expression``, else ``License``, else classifiers), a
.deb in its machine-readable copyright file (DEP-5). Words that are not clearly one SPDX expression are handed on as the
words they are; an artifact that says nothing, or cannot be read, gives nothing.
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..assemble.errors import AssembleError
from ..kernel.scratch import scratch
from ..kernel.stanzas import stanzas

__all__ = ["UNKNOWN", "Facts", "License", "of_deb", "of_wheel", "read_deb", "read_wheel"]

# Longer than any name of a licence: a field with more holds the licence's text.
_NAME = 120
_MAX_TEXT = 4 << 20
# Classifiers that mean one SPDX licence; "BSD License" and its like, which mean several, are not here.
_CLASSIFIERS = {
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "Zero-Clause BSD (0BSD)": "0BSD",
}
# DEP-5's short names, where they are not SPDX's; versions of the GNU licences are read by rule.
_SHORT_NAMES = {"expat": "MIT", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "zlib": "Zlib"}
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d)(?:\.(\d))?(\+?)", re.IGNORECASE)
_FORMAT = re.compile(r"/copyright-format/1\.0/?$")
_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)\s]+)\))?")


@dataclass(frozen=True, slots=True)
class License:
    """``expression``: SPDX, canonical, or ``None``; ``names``: what is said in words where that is no expression."""

    expression: str | None = None
    names: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return self.expression is not None or bool(self.names)


UNKNOWN = License()


@dataclass(frozen=True, slots=True)
class Facts:
    """What an artifact says of itself beyond the lock; ``source_version`` is a .deb's source package's."""

    license: License = UNKNOWN
    source_version: str | None = None


def read_wheel(path: Path) -> Facts:
    """The facts of the wheel at ``path``; empty where it is not readable as one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
            if len(names) != 1:
                return Facts()
            stated = archive.getinfo(names[0])
            # A buffer of the compressed size is made before anything is read.
            if max(stated.file_size, stated.compress_size) > _MAX_TEXT:
                return Facts()
            text = archive.read(names[0]).decode()
    except (
        OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error,
        lzma.LZMAError,
    ):  # fmt: skip
        return Facts()
    return Facts(of_wheel(text))


def of_wheel(metadata: str) -> License:
    """The licence that a METADATA file's text states. PEP 639: the expression wins over the fields before it."""
    from packaging.metadata import parse_email  # what is known of an artifact is known without it

    raw, _ = parse_email(metadata)
    for field in (raw.get("license_expression"), raw.get("license")):
        if found := _expression(field or ""):
            return License(found)
    prefix = "License :: "
    said = [c.removeprefix(prefix) for c in raw.get("classifiers", []) if c.startswith(prefix)]
    kinds = [c.rpartition(" :: ")[2] for c in said if c != "OSI Approved"]
    # How several classifiers relate ("and", "or") is not said.
    if len(kinds) == 1 and kinds[0] in _CLASSIFIERS:
        return License(_CLASSIFIERS[kinds[0]])
    word = (raw.get("license_expression") or raw.get("license") or "").strip()
    if word and "\n" not in word and len(word) <= _NAME and word.upper() != "UNKNOWN":
        return License(names=(word,))
    return License(names=tuple(sorted(set(kinds))))


def read_deb(path: Path, package: str) -> Facts:
    """The facts of the .deb of ``package`` at ``path``; empty where it is not readable as one.

    It is read as the assembler reads it, with its bounds.
    """
    from ..assemble.deb import open_deb

    try:
        with scratch() as folder:
            deb = open_deb(path, folder, path.name, "package")
            wanted = [m for m in deb.members if m.kind == "file" and m.path == f"usr/share/doc/{package}/copyright"]
            text = None
            for member in wanted[:1]:
                with open(deb.data, "rb") as data:
                    data.seek(member.offset)
                    text = data.read(min(member.size, _MAX_TEXT)).decode("utf-8", "replace")
    except (OSError, AssembleError):
        return Facts()
    version = deb.control.version
    stated = _SOURCE.fullmatch(deb.control.fields.get("Source", "").strip())
    source_version = stated[2] if stated and stated[2] else version
    return Facts(of_deb(text) if text is not None else UNKNOWN, source_version)


def of_deb(text: str) -> License:
    """The licence that a machine-readable copyright file states: all of its stanzas together, if each is clear, else
    their names. Of another file nothing is known.

    The file is about the source package, of which the .deb may be a part: the conjunction never says too little.
    """
    try:
        found = list(stanzas(text))
    except ValueError:
        return UNKNOWN
    if not found or not _FORMAT.search(str(found[0].get("Format", ""))):
        return UNKNOWN
    said = [str(s["License"]).partition("\n")[0].strip() for s in found[1:] if "Files" in s and "License" in s]
    clear = [_debian_expression(one) for one in dict.fromkeys(said)]
    if None in clear or not clear:
        return License(names=tuple(sorted({one for one in said if one and len(one) <= _NAME})))
    parts = sorted({one for one in clear if one is not None})
    return License(_expression(parts[0] if len(parts) == 1 else " AND ".join(_grouped(parts))))


def _grouped(parts: Iterable[str]) -> list[str]:
    return [f"({p})" if " OR " in p else p for p in parts]


def _debian_expression(synopsis: str) -> str | None:
    """DEP-5, "License specification": names joined by ``and``, ``or``; a comma binds weaker than either."""
    groups = [g for g in re.split(r"\s*,\s*", synopsis.strip()) if g]
    out: list[str] = []
    for number, group in enumerate(groups):
        word, _, rest = group.partition(" ")
        if number:
            if word.lower() not in ("and", "or"):
                return None
            out.append(word.upper())
        words = (rest if number else group).split()
        named = [w.upper() if w.lower() in ("and", "or") else _debian_name(w) for w in words]
        inner = " ".join(named)
        out.append(f"({inner})" if len(groups) > 1 and len(named) > 1 else inner)
    return _expression(" ".join(out))


def _debian_name(name: str) -> str:
    if match := _GNU.fullmatch(name):
        family, major, minor, later = match.groups()
        return f"{family.upper()}-{major}.{minor or 0}-{'or-later' if later else 'only'}"
    return _SHORT_NAMES.get(name.lower(), name)


def _expression(text: str) -> str | None:
    """``text`` as a canonical SPDX expression, ``None`` where it is none."""
    if not text.strip() or "\n" in text.strip():
        return None
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except (InvalidLicenseExpression, ValueError):
        return None


def words(license: License) -> Sequence[str]:
    """What there is to show of a licence."""
    return (license.expression,) if license.expression is not None else license.names
