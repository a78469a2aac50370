"""What tasks' pods take on this machine besides their own images: brought into the store, by the digests of the lock.

An image that several platforms share is taken for this machine's. What is there already is asked of nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..kernel.errors import RegistryError
from ..kernel.platforms import host_platform
from ..kernel.reporting import Reporter
from ..project.nouns import Environment
from ..settings import Settings
from ..store import Session, Store
from ..store.files import storing
from ..submit.pods.given import read_shelf
from ..submit.pods.posing import Pods
from ..submit.roots import Roots
from .opened import OpenProject
from .sidecars import here

if TYPE_CHECKING:
    from ..registry import Manifest, Reference, Registry

__all__ = ["bring", "pods_of"]


def pods_of(bench: OpenProject, environments: Sequence[Environment], roots: Roots) -> Pods:
    """What the tasks of ``environments`` need for their pods here; pulls images that are not here yet.

    Raises :class:`LockError` for an image that is not locked, :class:`RegistryError` for one that cannot be had, and
    :class:`InputError` for a folder of templates that cannot be read.
    """
    settings = bench.settings()
    names = {environment.name for environment in environments}
    tasks = [task for task in bench.workspace.project.tasks if task.environment in names]
    if not any(getattr(task.template, "pod_template", None) is not None for task in tasks):
        return Pods(roots=partial(roots.get, anything=True))
    shelf = read_shelf(settings.pod_templates)
    images = bring(bench.store, here(bench.workspace, environments, shelf), settings, bench.reporter)
    return Pods(shelf, images, partial(roots.get, anything=True))


def bring(store: Store, wanted: Mapping[str, Reference], settings: Settings, reporter: Reporter) -> dict[str, str]:
    """The images of ``wanted`` in ``store``: name → its manifest's digest.

    Raises :class:`RegistryError` where one cannot be had, or is not for this machine.
    """
    found: dict[str, str] = {}
    if not wanted:
        return found
    from ..registry import Registry  # with an HTTP client, which few runs need

    with Registry(insecure=settings.insecure_registries) as registry, store.session() as session:
        for name, reference in wanted.items():
            found[name] = _Bringing(store, session, registry, reference, reporter).image()
        session.sync()
    return found


class _Bringing:
    """One image, by digest."""

    def __init__(
        self, store: Store, session: Session, registry: Registry, reference: Reference, reporter: Reporter
    ) -> None:
        self._store, self._session, self._registry = store, session, registry
        self._reference, self._reporter = reference, reporter

    def image(self) -> str:
        """The manifest's digest, once all of the image is in the store."""
        from ..sources.registry_mirrors import located

        found = self._manifest(str(self._reference.digest))
        if "manifests" in found.json:
            found = self._manifest(self._chosen(found))
        blobs = list(found.blobs())
        lacking = [x for x in blobs if self._store.blob(x.digest, x.size) is None]
        if lacking:
            with self._reporter.work(f"pull {self._reference.name}", sum(x.size for x in lacking), unit="bytes") as bar:
                for blob in lacking:
                    target = self._session.temporary("pulled")
                    with storing(target, blob.size):
                        self._registry.pull_blob(
                            located(self._reference), blob.digest, blob.size, target, advance=bar.advance
                        )
                    self._session.put(target, self._store.blob_path(blob.digest))
        return found.digest

    def _manifest(self, digest: str) -> Manifest:
        from ..registry import Manifest
        from ..sources.registry_mirrors import located

        data = self._store.document(digest)
        if data is not None:
            return Manifest("", digest, data)
        found = self._registry.manifest(located(self._reference.with_digest(digest)))
        if found is None:
            raise RegistryError(f"its registry has no image {self._reference.with_digest(digest)}")
        self._session.put_blob(found.data)
        return found

    def _chosen(self, index: Manifest) -> str:
        """The manifest of an index for this machine."""
        system, architecture = host_platform().split("/")
        for row in index.json["manifests"]:
            platform = row.get("platform") or {}
            if (platform.get("os"), platform.get("architecture")) == (system, architecture):
                return str(row["digest"])
        raise RegistryError(f"{self._reference} is not for {host_platform()}, the platform of this machine")
