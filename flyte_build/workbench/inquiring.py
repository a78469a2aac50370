"""The verbs of a workbench that ask about locks and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .opened import OpenProject

if TYPE_CHECKING:
    from .questions import Graphs, Outdated, Why

__all__ = ["Inquiring"]


class Inquiring(OpenProject):
    """Arguments as :class:`flyte_build.workbench.Workbench` has them."""

    def why(
        self,
        package: str,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        platform: str | None = None,
        online: bool = True,
    ) -> Why:
        """Why ``package`` is in the images that are meant: who asked, by way of whom. ``online``: the indexes may be
        asked what a wheel requires. Raises :class:`InputError` where no image has it, :class:`LockError`."""
        from .questions import why

        return why(self, package, task, env, platform, online=online)

    def tree(
        self,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        platform: str | None = None,
        online: bool = True,
    ) -> Graphs:
        """What stands on what in the images that are meant; the rest as :meth:`why`."""
        from .questions import graphs

        return graphs(self, task, env, platform, online=online)

    def outdated(
        self, *, env: Sequence[str] = (), exclude_newer: str | None = None, osv: str | None = None
    ) -> Outdated:
        """What ``lock(upgrade=True)`` would move; no lock is touched. ``osv``: a service that knows advisories
        (``https://…``), or a folder of them; then also what is known against locked packages. Raises what
        :meth:`lock` raises."""
        from .questions import outdated

        return outdated(self, env=env, exclude_newer=exclude_newer, osv=osv)
