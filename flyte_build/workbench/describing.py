"""``project.sbom``: what is in an image, by its lock: SBOMs and provenance as documents. Builds and fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..kernel.errors import InputError
from ..store import Store
from ..supply.artifact_metadata import StoredFacts
from ..supply.documents import FORMATS, document
from ..supply.licenses import words
from ..supply.packages import Inventory
from ..supply.subjects import Described, of_lock_file, of_workspace
from .opened import OpenProject
from .shown import html_table, text_table

__all__ = ["FORMATS", "Document", "describe", "describe_lock", "only", "words"]

Form = Literal["cyclonedx", "spdx", "provenance"]
_COLUMNS = ("package", "version", "kind", "sha256")


@dataclass(frozen=True, slots=True)
class Document:
    """One image and what is in it. ``absent`` is how many of its packages' licences nobody here knows."""

    described: Described = field(repr=False)
    absent: int

    @property
    def image(self) -> Inventory:
        """The image's packages, its digest where it is known, and its base."""
        return self.described.image

    def render(self, form: Form = "cyclonedx") -> bytes:
        """The document: CycloneDX 1.6 or SPDX 2.3 JSON, or SLSA provenance (in-toto JSON).

        Depends on the lock, the image's digest and the licences alone. Raises :class:`InputError` for the provenance of
        an image whose digest is not known yet.
        """
        image = self.image
        if form == "provenance" and image.digest is None:
            raise InputError(
                f"{image.environment} on {image.platform}: provenance is about an image's digest, which is not known "
                "yet",
                hint="build the image; its digest is then pinned in the lock",
            )
        return document(form, self.described.lock, image, self.described.made)

    def __str__(self) -> str:
        return text_table(_COLUMNS, self._rows(), self._title())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows(), self._title())

    def _title(self) -> str:
        return f"{self.image.environment} {self.image.platform} {self.image.digest or 'not built yet'}"

    def _rows(self) -> list[tuple[str, ...]]:
        return [(p.name, p.version, p.kind, p.sha256 or "–") for p in self.image.packages]


def describe(bench: OpenProject, task: str | None, env: Sequence[str], platform: str | None) -> tuple[Document, ...]:
    """See :meth:`Workbench.sbom`. Not what the environments depend on: a document is about one image."""
    selected = bench.select(task, env)
    names = [bench.task(task).environment] if task is not None else env or [e.name for e in selected]
    facts = StoredFacts(bench.store)
    with bench.store.reading():
        found = of_workspace(bench.workspace, list(dict.fromkeys(names)), platform, bench.store, facts)
    return tuple(Document(d, len(facts.absent)) for d in found)


def describe_lock(file: Path, platform: str | None = None, store: Store | None = None) -> tuple[Document, ...]:
    """The same of the lock in ``file``, without the user's code; the digest is the pin's."""
    store = store or Store()
    facts = StoredFacts(store)
    with store.reading():
        found = of_lock_file(file, platform, store, facts)
    return tuple(Document(d, len(facts.absent)) for d in found)


def only(found: Sequence[Document], form: str) -> Document:
    """The one image that there is; raises :class:`InputError` where there are more or none."""
    if len(found) != 1:
        images = ", ".join(f"{d.image.environment} on {d.image.platform}" for d in found)
        raise InputError(
            f"--format {form}: a document is about one image, and these are {len(found)}: {images}",
            hint="choose one with --env NAME and --platform OS/ARCH",
        )
    return found[0]
