"""Words of a Dockerfile: where they end, and what variables in them come to. Pure.

``$NAME``, ``${NAME}``, and ``${NAME`` with one of ``:-`` ``-`` ``:+`` ``+`` ``:?`` ``?`` ``#`` ``##`` ``%`` ``%%``
``/`` ``//``, whose words may hold variables themselves (Dockerfile reference, "Environment replacement"). Quotes and
backslashes count where an instruction is read, and not in the values of an image's variables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["deferred", "expand", "known", "words_of"]

_NAME = re.compile(r"\w+")
_OPERATOR = re.compile(r":[-+?]|[-+?]|##?|%%?|//?")
_SPACE = " \t\r\n"
_DEEPEST = 32


def words_of(text: str) -> list[str]:
    """``text`` parted where blanks are outside of quotes; quotes and backslashes stay. Raises :class:`ValueError` for a
    quote that is never closed."""
    found: list[str] = []
    word, quote, at = "", "", 0
    while at < len(text):
        c = text[at]
        if c == "\\" and quote != "'":
            word += text[at : at + 2]
            at += 2
            continue
        if not quote and c in _SPACE:
            found += [word] if word else []
            word = ""
        else:
            quote = "" if c == quote else c if not quote and c in "\"'" else quote
            word += c
        at += 1
    if quote:
        raise ValueError(f"a {quote} is never closed")
    return [*found, word] if word else found


def expand(value: str, variables: Mapping[str, str]) -> str:
    """``value`` with its variables, as an image's own has it: what is not set is empty, ``\\$`` is a dollar sign."""
    return _Text(value, variables, quotes=False).whole()


def known(text: str, variables: Mapping[str, str], *, quotes: bool = True) -> tuple[str, list[str]]:
    """A word as an instruction means it, and the names of the variables that nothing here sets.

    Raises :class:`ValueError` for what is none, in words.
    """
    read = _Text(text, variables, quotes=quotes, strict=True)
    return read.whole(), read.unknown


def deferred(text: str, variables: Mapping[str, str]) -> str:
    """A word whose unknown variables are left for :func:`expand`, once more is known; raises as :func:`known` does."""
    return _Text(text, variables, quotes=True, strict=True, defers=True).whole()


class _Text:
    def __init__(
        self, text: str, variables: Mapping[str, str], *, quotes: bool, strict: bool = False, defers: bool = False
    ) -> None:
        self._text, self._variables, self._at = text, variables, 0
        self._quotes, self._strict, self._defers = quotes, strict, defers
        self._depth = 0
        self.unknown: list[str] = []

    def whole(self) -> str:
        return self._until("")

    def _until(self, stop: str) -> str:
        """Up to one of the characters ``stop``, which is left."""
        out = ""
        while self._at < len(self._text):
            c = self._text[self._at]
            if c in stop:
                break
            if c == "$":
                out += self._variable()
            elif c == "\\" and (self._quotes or self._text[self._at + 1 : self._at + 2] == "$"):
                out += self._literal(self._text[self._at + 1 : self._at + 2])
                self._at += 2
            elif c == "'" and self._quotes:
                end = self._text.find("'", self._at + 1)
                end = len(self._text) if end < 0 else end
                out += self._literal(self._text[self._at + 1 : end])
                self._at = end + 1
            elif c == '"' and self._quotes:
                self._at += 1
                out += self._double()
            else:
                out += c
                self._at += 1
        return out

    def _double(self) -> str:
        out = ""
        while self._at < len(self._text) and (c := self._text[self._at]) != '"':
            after = self._text[self._at + 1 : self._at + 2]
            if c == "$":
                out += self._variable()
            elif c == "\\" and after in ('"', "$", "\\"):
                out += self._literal(after)
                self._at += 2
            else:
                out += c
                self._at += 1
        self._at += 1
        return out

    def _literal(self, text: str) -> str:
        return text.replace("$", "\\$") if self._defers else text

    def _variable(self) -> str:
        """From a dollar sign on."""
        start, braced = self._at, self._text.startswith("{", self._at + 1)
        m = _NAME.match(self._text, self._at + 1 + braced)
        if m is None:
            self._at += 1
            return self._broken(start, "expected a name after $") if braced else self._literal("$")
        self._at = m.end()
        if not braced:
            return self._valued(m[0], "", "", start)
        operator = word = ""
        if (op := _OPERATOR.match(self._text, self._at)) is not None and self._depth < _DEEPEST:
            operator, self._at = op[0], op.end()
            self._depth += 1
            word = self._until("}")
            self._depth -= 1
        if not self._text.startswith("}", self._at):
            # What one lacks, all those after it lack, too: nothing is read twice.
            self._depth = _DEEPEST if operator else self._depth
            self._at = start + 1
            return self._broken(start, f"`{self._text[start : start + 40]}` is no variable")
        self._at += 1
        return self._valued(m[0], operator, word, start)

    def _broken(self, start: int, why: str) -> str:
        if self._strict:
            raise ValueError(why)
        return self._text[start : self._at]

    def _valued(self, name: str, operator: str, word: str, start: int) -> str:
        value = self._variables.get(name)
        if value is None:
            self.unknown.append(name)
            if self._defers:
                return f"${{{name}{operator}{word}}}" if operator else self._text[start : self._at]
        if value is not None:
            value = self._literal(value)
        if operator in ("-", ":-"):
            return word if value is None or (not value and operator == ":-") else value
        if operator in ("+", ":+"):
            return "" if value is None or (not value and operator == ":+") else word
        if operator in ("?", ":?") and self._strict and (value is None or (not value and operator == ":?")):
            raise ValueError(f"{name}: {word or 'not set'}")
        return _changed(value or "", operator, word)


def _changed(value: str, operator: str, word: str) -> str:
    """``value`` after ``#``, ``##``, ``%``, ``%%``, ``/`` or ``//``."""
    if operator in ("#", "##", "%", "%%"):
        ends = range(len(value) + 1)
        at_start, longest = operator[0] == "#", len(operator) == 2
        # The shortest start is what ends first, the shortest end what begins last.
        order = ends if at_start != longest else reversed(ends)
        fits = _pattern(word)
        for end in order:
            if fits(value[:end] if at_start else value[end:]):
                return value[end:] if at_start else value[:end]
        return value
    if operator in ("/", "//"):
        old, _, new = word.partition("/")
        return re.sub(_regular(old), lambda _: new, value, count=0 if operator == "//" else 1) if old else value
    return value


def _pattern(word: str) -> Callable[[str], bool]:
    compiled = re.compile(_regular(word), re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None


def _regular(word: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in word)
