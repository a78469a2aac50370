"""Which way into a sandbox works on this machine is tried while a command still imports: mostly it is waited for.

A trial takes as long as a small sandbox takes to come and go. It is begun by a guess of what the run will ask; who asks
for the very same has what came of it, errors too, and who asks otherwise has it tried anew.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from ..kernel.errors import FlyteBuildError
from ..kernel.paths import cache_dir, runs_dir
from ..settings import read_settings
from ..submit.sandbox.entrance import Entrance, entrance
from ..submit.sandbox.spec import Engine, Network

__all__ = ["begin", "tried"]

_Asked = tuple[Network | None, tuple[Path, ...]]
_BEGUN: dict[_Asked, Future[Entrance]] = {}


def begin(file: Path, network: Network | None) -> None:
    """Try what a run of a task of ``file`` will ask for, if nobody says otherwise."""
    with suppress(FlyteBuildError, OSError):
        settings = read_settings(file.absolute().parent, said={"network": network})
        asked = settings.network, (runs_dir(), cache_dir())
        _BEGUN[asked] = _trying(None, *asked)


def tried(engine: Engine | None, network: Network | None, folders: Sequence[Path]) -> Future[Entrance]:
    """As ``entrance`` gives it, or what it raises."""
    begun = _BEGUN.pop((network, tuple(folders)), None)
    return begun if begun is not None and engine is None else _trying(engine, network, tuple(folders))


def _trying(engine: Engine | None, network: Network | None, folders: tuple[Path, ...]) -> Future[Entrance]:
    found: Future[Entrance] = Future()

    def go() -> None:
        try:
            found.set_result(entrance(engine, network, folders))
        except BaseException as e:
            found.set_exception(e)

    # Nobody waits for it who has no use for it any more.
    threading.Thread(target=go, name="trying", daemon=True).start()
    return found
