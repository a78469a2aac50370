"""The content-addressed store: a plain OCI image layout, fetched artifacts, and what derivations became.

Never fetches, never builds. :class:`Store` answers and opens a :class:`Session` for writing; realisations and built
images are its nouns.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .built import BuiltImage, BuiltLayer
    from .gc import Collected
    from .realisations import ImageRealisation, LayerRealisation, Realisation
    from .session import Session
    from .store import Store
    from .verify import Verification

__all__ = [
    "BuiltImage",
    "BuiltLayer",
    "Collected",
    "ImageRealisation",
    "LayerRealisation",
    "Realisation",
    "Session",
    "Store",
    "Verification",
]

__getattr__ = offering(
    __name__,
    {
        "store": "Store",
        "session": "Session",
        "realisations": "ImageRealisation LayerRealisation Realisation",
        "built": "BuiltImage BuiltLayer",
        "gc": "Collected",
        "verify": "Verification",
    },
)
