"""Where images go besides the store: a folder, or one file for other tools, as written on a command line.

    oci:DIR               an OCI image layout
    oci-archive:FILE      the same as one tar
    docker-archive:FILE   a tar for `docker load` and `podman load`, which is an OCI layout, too

The names are skopeo's. What is written depends on the images alone, and appears whole or not at all. Never compresses
or unpacks anything: the layers go as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ..kernel.errors import InputError

if TYPE_CHECKING:
    from ..kernel.reporting import Reporter
    from ..store import Store
    from ..store.built import BuiltImage

__all__ = ["FORMS", "Destination", "Kind", "check_destination", "deliver", "parse_destination"]

Kind = Literal["oci", "oci-archive", "docker-archive"]

FORMS = "oci:DIR | oci-archive:FILE | docker-archive:FILE"
_KINDS = {"oci": "DIR", "oci-archive": "FILE", "docker-archive": "FILE"}


@dataclass(frozen=True, slots=True)
class Destination:
    """A parsed destination; ``str()`` gives it back."""

    kind: Kind
    path: Path

    def __str__(self) -> str:
        return f"{self.kind}:{self.path}"


def parse_destination(text: str) -> Destination:
    """``text`` as a destination; everything behind the first colon is the path.

    Raises :class:`InputError` that names the forms there are.
    """
    kind, colon, path = text.partition(":")
    if kind not in _KINDS:
        hint = f"did you mean `oci:{text}`?" if not colon else None
        raise InputError(f"expected a destination like {FORMS}, found `{text}`", hint=hint)
    if not path:
        raise InputError(f"expected `{kind}:{_KINDS[kind]}`, found `{text}`")
    return Destination(cast(Kind, kind), Path(path))


def check_destination(destination: Destination) -> None:
    """Raise what :func:`deliver` would for what is there already, or for a place that takes nothing: before images are
    made for it."""
    from ..kernel.outputs import check_place

    if destination.kind == "oci":
        from .layout import check_folder

        check_folder(destination.path)
    else:
        from .tarball import check_target

        check_target(destination.path, "an archive")
    check_place(destination.path)


def deliver(store: Store, images: Sequence[BuiltImage], destination: Destination, reporter: Reporter) -> Path:
    """Write ``images``, whose blobs ``store`` has, to ``destination``; gives the folder or file.

    An existing layout or archive is replaced. Raises :class:`InputError` where something else is there, and
    :class:`StoreError` where a blob is not in the store or the disk refuses.
    """
    if destination.kind == "oci":
        from .layout import export_layout

        return export_layout(store, images, destination.path)
    from .archive import write_archive

    return write_archive(store, images, destination.path, reporter, docker=destination.kind == "docker-archive")
