"""Other people's apt sources, as a project allows them: files in apt's own format (sources.list(5), deb822), each with
the key that its Release files are signed by.

    [tool.flyte-build]
    apt-sources = ["apt/company.sources"]

The file's name is the source's, in locks and messages; where it is stays in the file (law 1). ``${NAME}`` in its URIs
is a secret of ``with_apt_packages``, or a variable. Reads files; fetches and verifies nothing.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..kernel.errors import InputError
from ..kernel.stanzas import stanzas
from ..kernel.struck import strike
from ..recipe import SecretMount
from .lent import filled, variables_of

__all__ = ["ThirdParty", "key_bytes", "third_parties", "unread"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_ASKED = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")
_ARMOR = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*\n(?:[A-Za-z-]+:[^\n]*\n)*\s*\n?([A-Za-z0-9+/=\s]+?)\n"
    r"(?:=[A-Za-z0-9+/]{4}\s*\n)?-----END PGP PUBLIC KEY BLOCK-----"
)


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """One root of a source. ``suites`` are names, or paths that end in a slash where there are no components
    (a flat repository); ``architectures`` empty: every; ``key``: OpenPGP public keys, in binary form."""

    name: str
    url: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    architectures: tuple[str, ...]
    key: bytes
    where: Path

    def serves(self, architecture: str) -> bool:
        return not self.architectures or architecture in self.architectures


def third_parties(files: Sequence[Path], secrets: Iterable[SecretMount] = ()) -> tuple[ThirdParty, ...]:
    """What ``files`` name, in their order. Raises :class:`InputError` that names the file and the field, and for a
    secret that a file asks for and nobody gave."""
    mine = tuple(secrets)
    return tuple(one for file in files for one in _read(file, mine))


def unread(files: Sequence[Path], secrets: Iterable[SecretMount]) -> tuple[str, ...]:
    """The names of those ``secrets`` that no file asks for."""
    asked = {name for file in files if file.is_file() for name in _ASKED.findall(file.read_text(errors="replace"))}
    return tuple(dict.fromkeys(secret.name for secret in secrets if secret.env not in asked))


def _lent(text: str, secrets: Sequence[SecretMount], file: Path) -> str:
    """``text`` with the secrets and variables that it asks for."""
    asked = set(_ASKED.findall(text))
    given = variables_of((secret for secret in secrets if secret.env in asked), str(file))
    more = {name: value for name in asked if name not in given and (value := os.environ.get(name))}
    strike(*more.values())
    if lacking := sorted(asked - given.keys() - more.keys()):
        raise InputError(
            f"apt-sources: {file}: URIs: `${{{lacking[0]}}}` is neither a secret of with_apt_packages nor a variable",
            hint=f"give it as the variable {lacking[0]}",
        )
    return filled(text, given | more)


def _read(file: Path, secrets: Sequence[SecretMount]) -> Iterator[ThirdParty]:
    name = file.name.removesuffix(".sources")
    if not file.name.endswith(".sources") or not _NAME.fullmatch(name) or name in ("debian", "debian-security"):
        raise InputError(
            f"apt-sources: {file}: expected a file called NAME.sources (small letters, digits, `.` and `-`)",
            hint="its name stands for the source in locks; its format is apt's own (sources.list(5), deb822)",
        )
    try:
        text = file.read_text(encoding="utf-8")
        found = list(stanzas(text))
    except (OSError, ValueError) as e:
        raise InputError(f"apt-sources: {file}: cannot be read: {e}") from None
    for fields in found:
        if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes").lower() not in ("no", "false"):
            yield from _stanza(file, name, fields, secrets)


def _stanza(file: Path, name: str, fields: Mapping[str, str], secrets: Sequence[SecretMount]) -> Iterator[ThirdParty]:
    def words(key: str) -> tuple[str, ...]:
        return tuple(fields.get(key, "").split())

    urls, suites, components = words("URIs"), words("Suites"), words("Components")
    if not urls or not suites:
        raise InputError(f"apt-sources: {file}: expected URIs and Suites, found {', '.join(fields) or 'nothing'}")
    for url in urls:
        if not url.startswith(("http://", "https://")) or "$(" in url:
            raise InputError(f"apt-sources: {file}: URIs: expected http or https addresses, found `{url}`")
    for suite in suites:
        if suite.endswith("/") == bool(components):
            raise InputError(
                f"apt-sources: {file}: expected Components for the suite `{suite}`, or a Suites that ends in a slash"
            )
    key = _key(file, fields.get("Signed-By", ""))
    for url in urls:
        yield ThirdParty(
            name, _lent(url, secrets, file).rstrip("/"), suites, components, words("Architectures"), key, file
        )


def _key(file: Path, said: str) -> bytes:
    if "BEGIN PGP" in said:
        # deb822: a line that is only a dot is an empty one.
        lines = (line.strip() for line in said.splitlines())
        return key_bytes("\n".join("" if line == "." else line for line in lines).encode(), str(file))
    if not said.strip():
        raise InputError(
            f"apt-sources: {file}: expected Signed-By, found none",
            hint="name the file of its public key, or put the key itself there: nothing is taken unsigned",
        )
    path = file.parent / said.strip()
    try:
        return key_bytes(path.read_bytes(), str(path))
    except OSError as e:
        raise InputError(f"apt-sources: {file}: Signed-By: {path}: cannot be read: {e.strerror}") from None


def key_bytes(data: bytes, where: str) -> bytes:
    """OpenPGP public keys in binary form; armored ones (RFC 9580, section 6) are opened."""
    if not data.lstrip().startswith(b"-----BEGIN"):
        return data
    blocks = _ARMOR.findall(data.decode("ascii", "replace").replace("\r\n", "\n"))
    try:
        found = b"".join(base64.b64decode("".join(block.split()), validate=True) for block in blocks)
    except binascii.Error:
        found = b""
    if not found:
        raise InputError(f"apt-sources: {where}: expected an OpenPGP public key, found an armor that cannot be read")
    return found
