"""Text by strangers → text that a terminal, or a CI that reads along, shows and does not obey. Pure.

Names, versions, fields of artifacts, answers of servers and what a task says went wrong are data: whoever wrote them
shall not move the cursor, retitle the window, hide a line, or turn the direction of writing.
"""

from __future__ import annotations

import re

__all__ = ["CONTROL", "coloured", "inert", "visible"]

CONTROL = re.compile("[\\0-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
"""C0, DEL and C1 controls, and what overrides the direction of writing (UAX 9)."""
# Line ends and tabs are layout. Half a pair of surrogates is a byte that was no UTF-8: no terminal takes it.
_SHOWN = re.compile("[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")
# Colours and weights (ECMA-48, SGR), which change no more than how what follows looks.
_COLOUR = re.compile(r"(\x1b\[[0-9;:]*m|\r)")


def visible(text: str) -> str:
    """``text`` with what a terminal would obey written out: ``\\x1b``, and ``\\u009b`` as JSON has it too."""
    return text if text.isprintable() else _SHOWN.sub(_escape, text)


def coloured(text: str) -> str:
    """:func:`visible`, but colours and carriage returns stay: for what a program of the user's printed."""
    return "".join(part if i % 2 else visible(part) for i, part in enumerate(_COLOUR.split(text)))


# What GitHub's runner takes for a command: `::` where a line begins, whatever blanks are before it, and `##[` anywhere.
# It compares as people read: characters that take no room count neither before nor within.
_COMMAND = re.compile(r"(?:^|(?<=[\r\n]))[^!-~\r\n]*:(?=[^ -~\r\n]*:)|#[^ -~\r\n]*#[^ -~\r\n]*\[")


def inert(text: str) -> str:
    """``text`` with what a CI's runner would obey written out, as JSON has it: ``\\u003a:``, ``##\\u005b``."""
    if "::" not in text and "##[" not in text and text.isascii():
        return text
    return _COMMAND.sub(lambda found: f"{found[0][:-1]}\\u{ord(found[0][-1]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"
