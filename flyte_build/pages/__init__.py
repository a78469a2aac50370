"""A run to look at: one HTML file that loads nothing, and a small server that shows runs while they go on.

What a task wrote is hostile (law 10): it is read with a bound, shown as text, and its HTML reports run without scripts'
rights over the page. Never changes a run.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .document import DetailsOf, details_of, document_of
    from .rendering import render_page
    from .server import Pages, serve

__all__ = ["DetailsOf", "Pages", "details_of", "document_of", "render_page", "serve"]

__getattr__ = offering(
    __name__, {"document": "DetailsOf details_of document_of", "rendering": "render_page", "server": "Pages serve"}
)
