"""The SHA-256 of what is at hand: a few kilobytes at a time. Files are hashed with ``hashlib``.

That one loads OpenSSL, which takes longer than to make a small layer. Python brings an implementation of its own, for
where there is no OpenSSL: slower, and there at once.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    try:
        from _sha256 import sha256  # until Python 3.11
    except ImportError:
        try:
            from _sha2 import sha256
        except ImportError:
            from hashlib import sha256

__all__ = ["sha256"]
