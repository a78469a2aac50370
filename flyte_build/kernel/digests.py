"""The SHA-256 of what is at hand: documents, names, a command's few kilobytes.

``hashlib`` loads OpenSSL, which takes two milliseconds, a tenth of a command that has nothing to do. Python brings an
implementation of its own, for where there is no OpenSSL: slower, and there at once. Files are hashed elsewhere.
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
