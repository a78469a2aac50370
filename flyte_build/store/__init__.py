"""The content-addressed store: a plain OCI image layout, fetched artifacts, and what derivations became.

``store`` is the question side, ``session`` the writing side, ``verify`` and ``gc`` keep house, ``locks`` and
``files`` are the ground floor, ``layout`` and ``realisations`` the values.
"""

from .gc import Collected
from .realisations import ImageRealisation, LayerRealisation, Realisation
from .session import Session
from .store import Store
from .verify import Verification

__all__ = ["Collected", "ImageRealisation", "LayerRealisation", "Realisation", "Session", "Store", "Verification"]
