"""The page of a run, as a file or served: runs of this machine, with the layers of images that its store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..kernel.errors import RunError, StoreError
from ..kernel.files import write_whole
from ..pages import Pages, document_of, render_page, serve
from ..store import Store
from ..submit.history import Run
from ..submit.storage import MOUNT
from .runs import kept_run, kept_runs

__all__ = ["Pages", "page_of", "serve", "serving", "target_page_run", "write_page"]


def target_page_run(on: str, name: str | None) -> tuple[Run, str]:
    """A run of the target ``on`` (``None``: its newest), with all that its page shows, and what its tasks call the
    storage.

    Raises :class:`RunError` where there is no such run, or the storage cannot be read.
    """
    from ..submit.kubernetes.page_files import fetch_page
    from ..submit.loop import run_apart
    from .reaching import storage_of_target, target_run, target_runs

    found = target_runs(on, 1) if name is None else [target_run(on, name)]
    if not found:
        raise RunError(f"there are no runs on {on} yet", hint=f"`flyte-build run --on {on} FILE TASK` makes one")
    mirror = storage_of_target(on)
    return run_apart(fetch_page(mirror, found[0])), mirror.url


def page_of(run: Run, base: str | None = None) -> str:
    """The page of ``run`` as one HTML file; ``base``: what :func:`target_page_run` gave with it."""
    return render_page(document_of(run, layers_of=_layers, base=base or MOUNT))


def write_page(run: Run, file: Path, base: str | None = None) -> None:
    """Write the page to ``file``, whole or not at all. Raises :class:`StoreError`."""
    try:
        file.absolute().parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, page_of(run, base))
    except OSError as e:
        raise StoreError(f"{file}: cannot be written: {e.strerror or e}") from None


def serving(port: int = 0, limit: int = 200) -> Pages:
    """A server of this machine's runs, which listens but does not answer yet; see :func:`serve`."""
    return Pages(lambda: kept_runs(limit), kept_run, port=port, layers_of=_layers)


@cache
def _layers(digest: str) -> Sequence[Mapping[str, Any]]:
    """The layers of an image that the store has: what its configuration's history calls them, and their sizes."""
    store = Store()
    try:
        manifest = store.manifest(digest) or {}
        config = store.manifest(str((manifest.get("config") or {}).get("digest"))) or {}
        history = [h for h in config.get("history") or [] if not h.get("empty_layer")]
        titles = [str(h.get("comment") or h.get("created_by") or "layer") for h in history]
        return [
            {"title": titles[i] if i < len(titles) else "layer", "size": int(row["size"]), "digest": str(row["digest"])}
            for i, row in enumerate(manifest.get("layers") or [])
        ]
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        return ()
