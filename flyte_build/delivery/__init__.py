"""The ways out of the store that need no registry: folders and archives, local engines, bundles for other sites.

Never chooses what an image is made of, never compresses. :func:`deliver` writes to a :class:`Destination`,
:func:`load` fills Docker or podman, ``bundle`` and ``unbundle`` carry a project over an air gap.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .daemons import load
    from .destination import Destination, check_destination, deliver, parse_destination
    from .engines import LoadedImage

__all__ = ["Destination", "LoadedImage", "check_destination", "deliver", "load", "parse_destination"]

__getattr__ = offering(
    __name__,
    {
        "destination": "Destination check_destination deliver parse_destination",
        "daemons": "load",
        "engines": "LoadedImage",
    },
)
