"""What names an image or a repository: ``host[:port]/repository[:tag][@digest]``.

The grammar is the one Docker, podman and Kubernetes read. Docker Hub's short forms are spelled out when they are read
(``python:3.12`` is ``docker.io/library/python:3.12``), so that equal things are equal. Nothing here asks a registry.
"""

from __future__ import annotations

import re

from ..kernel.errors import InputError
from ..kernel.values import dataclass, replace

__all__ = ["Reference", "check_digest"]

_HUB = "docker.io"
_HUB_ALIASES = {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?"
)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_LONGEST_NAME = 255


def check_digest(digest: str) -> str:
    """``digest`` itself, if it is a SHA-256 or SHA-512 digest in the form of the image specification."""
    if not _DIGEST.fullmatch(digest):
        raise InputError(f"expected a digest `sha256:` and 64 hexadecimal digits, found `{digest}`")
    return digest


@dataclass(frozen=True, slots=True)
class Reference:
    """An image (with ``tag`` or ``digest``) or a repository (without) in the registry at ``host``.

    ``str()`` gives the full form, which :meth:`parse` reads back to an equal value. A digest wins over a tag wherever
    something is read.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that ``text`` spells; raises :class:`InputError` that says which part is wrong."""
        rest, at, digest = text.partition("@")
        head, slash, last = rest.rpartition("/")
        last, colon, tag = last.partition(":")
        name = head + slash + last
        if at and not _DIGEST.fullmatch(digest):
            raise _wrong(text, f"`{digest}` is no digest")
        if colon and not _TAG.fullmatch(tag):
            raise _wrong(text, f"`{tag}` is no tag")
        host, repository = _split(name)
        if not _HOST.fullmatch(host):
            raise _wrong(text, f"`{host}` is no host name")
        components = repository.split("/")
        if host in _HUB_ALIASES:
            host = _HUB
            components = ["library", *components] if len(components) == 1 else components
        for component in components:
            if not _COMPONENT.fullmatch(component):
                raise _wrong(
                    text, f"`{component}` is no part of a repository's name (lower case, digits, `.`, `_`, `-`)"
                )
        repository = "/".join(components)
        if len(repository) > _LONGEST_NAME:
            raise _wrong(text, f"a repository's name has at most {_LONGEST_NAME} characters")
        return cls(host, repository, tag or None, digest or None)

    @property
    def name(self) -> str:
        """``host/repository``, without tag and digest."""
        return f"{self.host}/{self.repository}"

    @property
    def target(self) -> str:
        """What is asked of the registry: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def with_tag(self, tag: str) -> Reference:
        """The image ``tag`` of this repository: what digest that is, is not said."""
        if not _TAG.fullmatch(tag):
            raise InputError(f"`{tag}` is no tag (letters, digits, `_`, `.`, `-`, at most 128)")
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The image ``digest`` of this repository; the tag is kept for people to read."""
        return replace(self, digest=check_digest(digest))

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def _split(name: str) -> tuple[str, str]:
    """Host and repository; a first part that could not be a host of a network is Docker Hub's."""
    first, slash, rest = name.partition("/")
    if slash and (any(c in first for c in ".:[") or first == "localhost" or first != first.lower()):
        return first, rest
    return _HUB, name


def _wrong(text: str, why: str) -> InputError:
    return InputError(f"expected an image reference `host/repository:tag` or `…@sha256:…`, found `{text}`: {why}")
