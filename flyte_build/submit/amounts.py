"""Amounts as Kubernetes writes them, and so every specification of a task: ``500m``, ``2Gi``, ``1e3``. Exact."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

__all__ = ["number", "octets", "quantity"]

_SUFFIXES: Mapping[str, int | Decimal] = {
    "": 1, "m": Decimal("0.001"), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]{1,40}(?:[eE][+-]?[0-9]{1,2})?)([a-zA-Z]*)")


def quantity(text: str) -> Decimal:
    """A Kubernetes quantity (``500m``, ``1Gi``, ``2e3``); raises ``ValueError``."""
    found = _QUANTITY.fullmatch(text.strip())
    try:
        if found is None:
            raise KeyError(text)
        return Decimal(found[1]) * _SUFFIXES[found[2]]
    except (KeyError, InvalidOperation):
        raise ValueError(f"expected a quantity such as `500m` or `2Gi`, found {text!r}") from None


def number(text: str | None) -> float | None:
    """A quantity as a number; ``None`` where nothing is said."""
    return float(quantity(text)) if text else None


def octets(text: str | None) -> int | None:
    """A quantity of bytes; ``None`` where nothing is said."""
    return int(quantity(text)) if text else None
