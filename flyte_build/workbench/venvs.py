"""``project.venv``: one environment's locked wheels, installed on this machine."""

from __future__ import annotations

from pathlib import Path

from ..exporting.venv import Made, make_venv, venv_platform
from ..exporting.wheels import fetched, wheels_of
from ..kernel.reporting import Reporter
from ..store import Store
from .named_lock import Named

__all__ = ["Made", "venv"]


def venv(
    named: Named,
    folder: Path,
    reporter: Reporter,
    *,
    store: Store | None = None,
    root: Path | None = None,
    python: str | None = None,
) -> Made:
    """See :func:`flyte_build.exporting.venv.make_venv`; the wheels are fetched by hash where the store has them not."""
    store = store or Store()
    wheels = wheels_of(named.lock, [venv_platform(named.lock)])
    paths = fetched(wheels, store, named.locator(), reporter)
    with store.session() as session:
        scratch = session.temporary("venv")
        scratch.mkdir()
        return make_venv(
            named.lock, paths, folder.absolute(), root=root, scratch=scratch, reporter=reporter, python=python
        )
