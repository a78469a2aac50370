"""Where bytes come from (indexes, mirrors, local files), and fetching them by hash into the store.

Never chooses a version, never trusts what arrives before its SHA-256 is the one asked for. :func:`fetch` is the
function; a :class:`Locator` names :class:`Place` after :class:`Place`, and :func:`project_locator` is a project's.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fetching import Fetcher, fetch
    from .locators import Locators, project_locator
    from .places import Locator, Place

__all__ = ["Fetcher", "Locator", "Locators", "Place", "fetch", "project_locator"]

__getattr__ = offering(
    __name__, {"fetching": "Fetcher fetch", "places": "Locator Place", "locators": "Locators project_locator"}
)
