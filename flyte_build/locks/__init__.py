"""What a lock says: the artifacts that answer a recipe, by name, version, size and SHA-256, and its JSON on disk.

Never chooses a version, never names a place (law 1). :func:`read` gives a :class:`Lock`; ``locking`` is what makes one.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import LockedBase
    from .lockfile import lock_path, parse, read, write_all
    from .nouns import Lock, LockedDeb, LockedPlatform, LockedWheel, Pin
    from .pythons import LockedPython
    from .seals import LockedSeal

__all__ = [
    "Lock",
    "LockedBase",
    "LockedDeb",
    "LockedPlatform",
    "LockedPython",
    "LockedSeal",
    "LockedWheel",
    "Pin",
    "lock_path",
    "parse",
    "read",
    "write_all",
]

__getattr__ = offering(
    __name__,
    {
        "nouns": "Lock LockedDeb LockedPlatform LockedWheel Pin",
        "base": "LockedBase",
        "pythons": "LockedPython",
        "seals": "LockedSeal",
        "lockfile": "lock_path parse read write_all",
    },
)
