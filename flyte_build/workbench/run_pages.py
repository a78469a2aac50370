"""The page of a run, as a file or served: runs of this machine or of a target, with the layers of images that the store
has. Of a target all comes from its storage, but what pods print while they run: that comes from a cluster in reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernel.errors import RunError, StoreError
from ..kernel.outputs import write_output
from ..pages import DetailsOf, Pages, details_of, document_of, render_page, serve
from ..store import Store
from ..submit.action import Phase
from ..submit.history import Run
from ..submit.journal import ActionRecord
from ..submit.storage import MOUNT
from .runs import kept_run, kept_runs

if TYPE_CHECKING:
    from ..submit.kubernetes.api import Cluster
    from ..submit.kubernetes.live_runs import LiveRuns

__all__ = ["DetailsOf", "Pages", "page_of", "serve", "serving", "target_page_run", "write_page"]

# A list reads the journal of each of its runs, once; a log's end is what the page shows of it.
_LISTED, _TAIL_LINES, _TAIL = 50, "2000", 64 << 10


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


def page_of(run: Run, base: str | None = None, details: DetailsOf | None = None) -> str:
    """The page of ``run`` as one HTML file; ``base``: what :func:`target_page_run` gave with it. ``details``: of what
    there are no files, who gives them."""
    return render_page(document_of(run, layers_of=_layers, base=base or MOUNT, details=details))


def write_page(run: Run, file: Path, base: str | None = None, details: DetailsOf | None = None) -> None:
    """Write the page to ``file``, whole or not at all. Raises :class:`StoreError`."""
    write_output(file, page_of(run, base, details))


def serving(port: int = 0, limit: int = 200, *, on: str | None = None) -> Pages:
    """A server of the runs of this machine, or of the target ``on``, which listens but does not answer yet; see
    :func:`serve`. Raises :class:`InputError` for a target that there is not."""
    if on is None:
        return Pages(lambda: kept_runs(limit), kept_run, port=port, layers_of=_layers)
    from ..submit.kubernetes.live_runs import LiveRuns
    from .reaching import storage_of_target
    from .tailing import cluster_of

    runs, cluster = LiveRuns(storage_of_target(on)), cluster_of(on)
    return Pages(
        lambda: runs.runs(min(limit, _LISTED)), runs.find, port=port, layers_of=_layers, title=f"Runs on {on}",
        seconds=5, details=lambda run, record: _details(runs, cluster, run, record),
    )  # fmt: skip


def _details(runs: LiveRuns, cluster: Cluster | None, run: Run, record: ActionRecord) -> Mapping[str, Any]:
    """As :func:`details_of`, with what the pod of an attempt that runs has printed, which no storage has yet."""
    found = details_of(run, runs.files(run, record), base=runs.mirror.url)
    logs = found["logs"]
    if record.phase is not Phase.RUNNING or record.kind != "task" or record.attempt in {log["number"] for log in logs}:
        return found
    from .tailing import pod_log

    data = pod_log(cluster, run.name, record, tailLines=_TAIL_LINES) if cluster is not None else b""
    if not data:
        why = "its pod has printed nothing yet" if cluster is not None else "the cluster is not reached from here"
        return found | {"later": f"{why}; its log is shown here once the attempt has ended"}
    text = data[-_TAIL:].decode("utf-8", "replace")
    return found | {"logs": [*logs, {"number": record.attempt, "text": text, "size": len(data)}]}


@cache
def _layers(digest: str) -> Sequence[Mapping[str, Any]]:
    """The layers of an image that the store has: what its configuration's history calls them, and their sizes."""
    store = Store()
    try:
        manifest = store.manifest(digest) or {}
        if isinstance(several := manifest.get("manifests"), list):  # one for each platform: the first that is here
            manifest = next(filter(None, (store.manifest(str(one["digest"])) for one in several)), {})
        config = store.manifest(str((manifest.get("config") or {}).get("digest"))) or {}
        history = [h for h in config.get("history") or [] if not h.get("empty_layer")]
        titles = [str(h.get("comment") or h.get("created_by") or "layer") for h in history]
        return [
            {"title": titles[i] if i < len(titles) else "layer", "size": int(row["size"]), "digest": str(row["digest"])}
            for i, row in enumerate(manifest.get("layers") or [])
        ]
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        return ()
