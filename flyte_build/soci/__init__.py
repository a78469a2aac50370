"""SOCI indexes of pushed images, for nodes that fetch files of a layer when they are read (``docs/lazy.md``).

Never changes a layer or the image itself: what has an index is another image, of the same layers. :func:`push_indexed`
puts it beside the pushed ones; :func:`ztoc` is the table of contents of one layer.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .publishing import push_indexed
    from .tables import ztoc

__all__ = ["push_indexed", "ztoc"]

__getattr__ = offering(__name__, {"publishing": "push_indexed", "tables": "ztoc"})
