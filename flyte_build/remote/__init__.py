"""Image registries as the place where images go, and where machines share what they made.

Never speaks the protocol itself (``registry`` does), never builds. :func:`publish` pushes to a :class:`Target`;
:func:`connected` opens the shared :class:`RemoteCache`, whose claims are checked before they count.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cache import RemoteCache
    from .connecting import connected
    from .publishing import PushedImage, publish
    from .target import Target

__all__ = ["PushedImage", "RemoteCache", "Target", "connected", "publish"]

__getattr__ = offering(
    __name__,
    {"publishing": "PushedImage publish", "target": "Target", "connecting": "connected", "cache": "RemoteCache"},
)
