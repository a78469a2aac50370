"""Who follows a verb as it goes: for whoever shows a plan before it is carried out, or stops something then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..planning.plan import Plan

__all__ = ["Follower", "Nobody"]


class Follower(Protocol):
    """Called by :meth:`Workbench.build`, ``push`` and ``ready``, in the thread that called them."""

    def planned(self, plan: Plan) -> None:
        """What is cached and what is to build is known; nothing is checked yet."""

    def making(self) -> None:
        """Everything is decided; from now on artifacts are fetched and images made."""


class Nobody:
    """Follows nothing."""

    def planned(self, plan: Plan) -> None:
        return None

    def making(self) -> None:
        return None
