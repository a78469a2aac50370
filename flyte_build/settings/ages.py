"""Values that say how new something may be: dates, instants and ages, each alone or a table of them. They are held
against what can be read, and stay as they were written: what an age means is known when it is asked."""

from __future__ import annotations

from typing import Any

from ..kernel.cutoff import NONE, parse_cutoff
from ..kernel.errors import InputError

__all__ = ["stated_ages"]


def stated_ages(key: str, value: Any, where: str, *, several: bool) -> str | tuple[tuple[str, str], ...]:
    """``value`` of ``key``: a text, or of ``several`` a table of them, as pairs. Raises :class:`InputError`."""
    if not several:
        return _checked(value, f"{where}: {key}")
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key}: expected a table, index = age, found {value!r}")
    return tuple((name, age if age == NONE else _checked(age, f"{where}: {key}.{name}")) for name, age in value.items())


def _checked(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: expected a date, an instant or an age such as `7 days`, found {value!r}")
    try:
        parse_cutoff(value)
    except InputError as e:
        raise InputError(f"{where}: {e.message}") from None
    return value
