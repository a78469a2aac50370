"""JSON by strangers → values, or a ``ValueError`` that says why not: never a traceback, whatever it holds.

``json`` itself gives what breaks others later: numbers of thousands of digits, ``NaN``, halves of surrogate pairs that
no file and no terminal takes, and nesting that no function can walk. RFC 8259, section 9, lets a parser have limits.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

__all__ = ["DEEPEST", "is_number", "parse", "parse_object"]

DEEPEST = 100
"""Objects and arrays in each other; the documents that we read have six."""
_DIGITS = 18
# Where a text has none of these, it has no half of a pair.
_ESCAPED = re.compile(r"\\u[dD][89a-fA-F]", re.ASCII)


def parse(data: bytes | str) -> Any:
    """The value of a JSON text (UTF-8); raises ``ValueError``."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        found = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_constant)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} deep") from None
    except UnicodeDecodeError as e:
        raise ValueError(f"it is no UTF-8: {e}") from None
    if text.count("[") + text.count("{") > DEEPEST:
        _shallow(found)
    if _ESCAPED.search(text) or not text.isascii():
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a string holds half of a surrogate pair, which is no character") from None
    return found


def parse_object(data: bytes | str) -> dict[str, Any]:
    """:func:`parse`, of an object."""
    found = parse(data)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, found {'null' if found is None else type(found).__name__}")
    return cast("dict[str, Any]", found)


def is_number(text: str) -> bool:
    """Whether ``text`` is a number of bytes or seconds as headers have it: `isdigit` takes ``²`` and 5,000 digits."""
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS + 1:
        raise ValueError(f"a number has {len(digits)} digits, expected at most {_DIGITS}")
    return int(digits)


def _float(digits: str) -> float:
    found = float(digits)
    if not math.isfinite(found):
        raise ValueError(f"the number {digits[:20]} has no value")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"`{name}` is no JSON")


def _shallow(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [x for v in level for x in (v.values() if isinstance(v, dict) else v) if isinstance(x, dict | list)]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} deep")
