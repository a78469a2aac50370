"""Debian packages: a suite and names in, locked packages out.

    mirrors ──release──▶ verified Release ──index──▶ universe ──solve──▶ closure ──▶ LockedDeb

:func:`lock_debian` does one image; :class:`Debian` does several from one state of the archive. What is
trusted starts at a signature by Debian's archive keys and goes down by SHA-256; locations never come out.
"""

from .lock import Debian, DebianResolution, lock_debian
from .solve import Omitted

__all__ = ["Debian", "DebianResolution", "Omitted", "lock_debian"]
