"""The store of this machine, looked after: everything hashed again, and what nothing has used lately removed."""

from __future__ import annotations

from pathlib import Path

from ..kernel.paths import cache_dir
from ..kernel.reporting import Logged, Reporter
from ..store import Collected, Store, Verification
from ..store.inventory import StoredImage, stored_images

__all__ = ["StoredImage", "collect_garbage", "images_here", "store_folder", "verify_store"]


def store_folder() -> Path:
    """Where the store lies: ``$FLYTE_BUILD_CACHE``, else the user's cache folder."""
    return cache_dir()


def verify_store(reporter: Reporter | None = None) -> Verification:
    """Hash everything again and check every reference; what is damaged is moved aside and in the result."""
    return Store().verify(reporter or Logged())


def collect_garbage(*, keep_days: float = 30, dry_run: bool = False, reporter: Reporter | None = None) -> Collected:
    """Remove images, layers and artifacts that nothing used in the last ``keep_days`` days; waits for running builds.

    Raises :class:`StoreError` where a build or a run goes on using the store.
    """
    return Store().gc(keep_days=keep_days, dry_run=dry_run, reporter=reporter or Logged())


def images_here() -> list[StoredImage]:
    """The images of this machine's store: current ones first, then by their last use."""
    store = Store()
    with store.reading():
        return stored_images(store)
