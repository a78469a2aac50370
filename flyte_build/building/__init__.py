"""Executes a plan: fetches, assembles and stores what it lacks; pins what images turned out to be; compares.

Never decides what to build. :func:`build_plan` gives :class:`~flyte_build.store.BuiltImage` values, :func:`check_pins`
and :func:`record_pins` hold them against the locks, :func:`verify_images` rebuilds from nothing.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .images import build_plan
    from .pins import check_pins, check_planned, record_pins
    from .verifying import Verified, verify_images

__all__ = ["Verified", "build_plan", "check_pins", "check_planned", "record_pins", "verify_images"]

__getattr__ = offering(
    __name__,
    {"images": "build_plan", "pins": "check_pins check_planned record_pins", "verifying": "Verified verify_images"},
)
