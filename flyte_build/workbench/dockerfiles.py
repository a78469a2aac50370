"""What Dockerfiles leave to others to say, found out while they are locked.

That is what their bases begin with (``ONBUILD``), and what is at the addresses that they add.

Joins reading, which takes it, with locking and the store, which have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import FetchError
from ..kernel.reporting import Reporter
from ..project.nouns import Environment
from ..recipe import CopyFiles, Known, Recipe, fetched, hidden, known_in
from ..store import Store

if TYPE_CHECKING:
    from ..locking.project import LockReport
    from ..sources.index_clients import IndexClients

__all__ = ["found_out"]

_BLOCK = 1 << 20


def found_out(
    environments: Sequence[Environment],
    root: Path,
    store: Store,
    reporter: Reporter,
    locked: Callable[[Mapping[str, Recipe]], LockReport],
    *,
    anew: bool = False,
) -> LockReport:
    """What ``locked`` gives for the recipes of ``environments``, once all is known of their Dockerfiles. ``anew``: what
    is at addresses is asked again. Raises :class:`FetchError` for an address that does not have what it should, and
    what ``locked`` raises."""
    from ..locking.triggers import TriggersError

    known = {e.name: known_in(e.recipe) for e in environments if e.again is not None}
    asked: dict[str, tuple[str, int]] = {}
    if anew:
        known = {name: Known(one.triggers) for name, one in known.items()}
    for environment in environments:
        if environment.name in known and anew:
            environment.read_again(known[environment.name])
    while True:
        for environment in environments:
            if environment.name in known and any(step.size is None for step in fetched(environment.recipe)):
                files = _brought(environment, root, store, reporter, asked)
                one = known[environment.name]
                known[environment.name] = Known(one.triggers, {**one.files, **files})
                environment.read_again(known[environment.name])
        try:
            return locked({e.name: e.recipe for e in environments})
        except TriggersError as e:
            for environment in environments:
                if environment.name in e.found:
                    one = known[environment.name]
                    known[environment.name] = Known({**one.triggers, **e.found[environment.name]}, one.files)
                    environment.read_again(known[environment.name])


def _brought(
    environment: Environment, root: Path, store: Store, reporter: Reporter, asked: dict[str, tuple[str, int]]
) -> dict[str, tuple[str, int]]:
    """What is at each address, brought into the store. ``asked``: what this command has brought already."""
    from ..sources.index_clients import IndexClients

    clients, files = IndexClients(), dict[str, tuple[str, int]]()
    try:
        for step in fetched(environment.recipe):
            if step.size is None:
                where = hidden(str(step.url))
                if where not in asked or step.sha256 not in (None, asked[where][0]):
                    asked[where] = _fetch(environment, step, root, store, reporter, clients)
                files[where] = asked[where]
    finally:
        clients.close()
    return files


def _fetch(
    environment: Environment, step: CopyFiles, root: Path, store: Store, reporter: Reporter, clients: IndexClients
) -> tuple[str, int]:
    from ..sources.download import redact
    from ..sources.indexes import configured

    url = str(step.url)
    if step.sha256 is not None and (held := store.sound(step.sha256, None, step.source)) is not None:
        return step.sha256, held.stat().st_size
    what = f"environment {environment.name}: {redact(url)}"
    with store.session() as session, reporter.work(f"fetch {step.source}", None, unit="bytes") as bar:
        with clients.of(configured(root)).stream(url, {}) as response:
            if response.status_code != 200:
                raise FetchError(f"{what}: {response.status_code} {response.reason_phrase}")
            temporary, found, length = session.written("added", response.iter_bytes(_BLOCK), bar.advance)
        if step.sha256 not in (None, found):
            temporary.unlink()
            raise FetchError(
                f"{what}: expected SHA-256 {step.sha256}, found {found}",
                hint="the Dockerfile's `--checksum` says what it shall be: mend that, or the address",
            )
        session.put_artifact(temporary, found)
        session.sync()
    return found, length
