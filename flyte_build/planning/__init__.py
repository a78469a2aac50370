"""Locks + derivations + caches → a plan: what would be built, and why. Checks and pictures of it, too.

Never builds, never fetches an artifact. :func:`plan_images` gives a :class:`Plan` for a :class:`Workspace`; ``checks``
proves the two constraints, ``explain`` gives reasons, ``graph`` draws, ``noop`` answers when nothing changed.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .explain import explain_plan
    from .images import plan_images
    from .plan import ImagePlan, LayerPlan, Plan
    from .workspace import Workspace, open_workspace

__all__ = ["ImagePlan", "LayerPlan", "Plan", "Workspace", "explain_plan", "open_workspace", "plan_images"]

__getattr__ = offering(
    __name__,
    {
        "images": "plan_images",
        "plan": "ImagePlan LayerPlan Plan",
        "workspace": "Workspace open_workspace",
        "explain": "explain_plan",
    },
)
