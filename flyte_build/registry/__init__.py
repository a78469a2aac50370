"""A client of OCI registries (distribution specification 1.1).

Never knows what an image means. :class:`Registry` is the connection; references and values come without one, because an
HTTP client takes longer to load than a build that fetches nothing takes to run.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .client import Registry
    from .failures import StatusError
    from .reference import Reference
    from .values import IMAGE_INDEX, IMAGE_MANIFEST, MANIFEST_TYPES, Descriptor, Manifest, PutResult

__all__ = [
    "IMAGE_INDEX",
    "IMAGE_MANIFEST",
    "MANIFEST_TYPES",
    "Descriptor",
    "Manifest",
    "PutResult",
    "Reference",
    "Registry",
    "StatusError",
]

__getattr__ = offering(
    __name__,
    {
        "client": "Registry",
        "failures": "StatusError",
        "reference": "Reference",
        "values": "Descriptor IMAGE_INDEX IMAGE_MANIFEST MANIFEST_TYPES Manifest PutResult",
    },
)
