"""Debian's control files by strangers → their stanzas (deb-control(5)): of a text, whatever stands in it.

The library takes a text of one line for the name of a file, which it would open; it guesses the encoding of bytes that
are no UTF-8, and says so on the terminal; and of a text it takes more for the end of a line than Debian does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["stanzas"]

# What else ends a line to Python (str.splitlines); to Debian it is a character.
_NO_ENDS = dict.fromkeys(map(ord, "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), " ")


def stanzas(text: bytes | str) -> Iterator[Mapping[str, str]]:
    """The stanzas of ``text`` in their order; names of fields in any case. Raises ``ValueError`` for what is none."""
    from debian.deb822 import Deb822

    plain = text if isinstance(text, str) else text.decode("utf-8", "replace")
    yield from Deb822.iter_paragraphs(plain.translate(_NO_ENDS).split("\n"), use_apt_pkg=False)
