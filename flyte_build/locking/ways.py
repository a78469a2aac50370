"""Who is asked what lies under the Python packages, where nobody else is handed in: Debian's archive, and registries.

Decides nothing: the project's settings and the machine's say where these are.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

from ..kernel.reporting import Reporter
from ..recipe import SecretMount
from ..registry import Registry
from ..settings import read_settings
from ..sources.apt_third_parties import third_parties, unread
from .apt import Debian
from .bases import BasesFactory, DebianFactory, DebianLocker
from .registry_bases import Bases

__all__ = ["bases_of", "debian_of"]


def debian_of(root: Path, ahead: Collection[tuple[str, str]], secrets: Collection[SecretMount] = ()) -> DebianFactory:
    """Debian's archive, which is told of the suites and architectures that will be wanted, and what else the project's
    settings allow packages to come from, with the ``secrets`` that images mount for it."""

    def make(cutoff: str | None, reporter: Reporter) -> AbstractContextManager[DebianLocker]:
        settings = read_settings(root)
        others = third_parties(settings.apt_sources, secrets)
        if ignored := unread(settings.apt_sources, secrets):
            reporter.note(
                f"with_apt_packages mounts {', '.join(ignored)}, which no file of `apt-sources` asks for: not read"
            )
        return Debian(cutoff=cutoff, reporter=reporter, ahead=ahead, components=settings.apt_components, others=others)

    return make


def bases_of(root: Path, *, attempts: int = 6, timeout: float = 60.0) -> BasesFactory:
    """Bases from the registries themselves, as the project's settings have them."""

    def make(reporter: Reporter) -> Bases:
        insecure = read_settings(root).insecure_registries
        return Bases(lambda: Registry(insecure=insecure, attempts=attempts, timeout=timeout), reporter)

    return make
