"""What is in an image, said in the field's formats: SBOMs, provenance, signatures, and their place beside the image.

Never scans, guesses or reads a clock: all of it follows from the lock. :func:`inventory` gives an :class:`Inventory`,
:func:`document` writes one, :func:`attach` puts documents beside pushed images.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attaching import attach
    from .documents import document
    from .packages import Inventory, inventory

__all__ = ["Inventory", "attach", "document", "inventory"]

__getattr__ = offering(__name__, {"packages": "Inventory inventory", "documents": "document", "attaching": "attach"})
