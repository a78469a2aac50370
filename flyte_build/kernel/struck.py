"""Values that are secret, as they become known in this process: struck out of whatever is about to be shown or kept.

Of an address the user and the password are left out anyway; a token may stand in its path, or in a program's words.
Keeps no value beyond the process.
"""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["strike", "struck"]

# Shorter ones stand in words by chance.
_SHORTEST = 6
_known: set[str] = set()


def strike(*values: str) -> None:
    """From now on :func:`struck` leaves these out, as they are and as an address has them."""
    _known.update(form for value in values if len(value) >= _SHORTEST for form in (value, quote(value, safe="")))


def struck(text: str) -> str:
    """``text`` with ``***`` for each secret in it, the longest first."""
    for value in sorted(_known, key=lambda v: (-len(v), v)):
        text = text.replace(value, "***")
    return text
