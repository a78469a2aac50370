"""The store as the rest uses it: its contents, the writing side and the housekeeping, each loaded when it is asked for.

Holds no bytes and no rule of its own: ``contents`` answers, ``session`` writes, ``verify`` and ``gc`` keep house.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..kernel.reporting import Reporter, Silent
from .contents import Contents

if TYPE_CHECKING:
    from .gc import Collected
    from .session import Session
    from .verify import Verification

__all__ = ["Store"]


class Store(Contents):
    """The store in ``root`` (default: :func:`flyte_build.kernel.paths.cache_dir`), which need not exist yet.

    Safe to use from several threads and several processes.
    """

    @contextmanager
    def session(self, cancelled: Callable[[], bool] | None = None) -> Iterator[Session]:
        """A share in the store for one piece of work that writes; ``gc`` waits for it. See :class:`Session`."""
        from .session import Session

        session = Session(self, cancelled)
        try:
            yield session
        finally:
            session.close()

    def verify(self, reporter: Reporter | None = None) -> Verification:
        """Hash everything again; see ``flyte_build.store.verify``."""
        from .verify import verify

        return verify(self, reporter or Silent())

    def gc(
        self,
        *,
        keep_days: float = 30,
        dry_run: bool = False,
        reporter: Reporter | None = None,
        patience: float = 30,
    ) -> Collected:
        """Remove what no image used in the last ``keep_days`` days needs; see ``flyte_build.store.gc``."""
        from .gc import collect

        return collect(self, keep_days=keep_days, dry_run=dry_run, reporter=reporter or Silent(), patience=patience)
