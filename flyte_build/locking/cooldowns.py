"""Cooldowns of single indexes (``exclude-newer-index``): what they mean now, whether there are such indexes, and what a
lock says of them. Decides only about what is chosen anew, and asks nobody."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..kernel.cutoff import NONE, rfc3339
from ..kernel.errors import InputError
from ..recipe import Recipe
from ..recipe.located import hidden
from ..sources.indexes import IndexSettings

__all__ = ["DEBIAN", "Rules", "applied", "debian_rule", "instants", "recorded", "told"]

DEBIAN = "debian"
"""What Debian's archive is called there."""

Rules = tuple[tuple[str, str], ...]
"""By an index's name or address: the instant (RFC 3339), or that there is none."""


def instants(stated: Iterable[tuple[str, str]]) -> Rules:
    """The rules as settings have them → the instants that they mean now. Raises :class:`InputError`."""
    return tuple((index, age if age == NONE else rfc3339(age)) for index, age in stated)


def applied(settings: IndexSettings, rules: Rules, recipes: Iterable[Recipe]) -> tuple[IndexSettings, list[str]]:
    """``settings`` with ``rules``, and a line for each address that no index of these has.

    Raises :class:`InputError` for a name that no index has: a cooldown that holds for nothing protects nobody.
    """
    names = sorted({index.name for index in settings.indexes if index.name} | {DEBIAN})
    stated = (url for r in recipes for step in r.pip_steps for url in (step.index, *step.extra_indexes) if url)
    addresses = {hidden(url.rstrip("/")) for url in (*(i.url for i in settings.indexes), *stated)}
    notes = []
    for index, _ in rules:
        if "://" in index:
            if hidden(index.rstrip("/")) not in addresses:
                notes.append("`exclude-newer-index`: an address there is that of no index that is asked")
        elif index not in names:
            close = difflib.get_close_matches(index, names, 1)
            raise InputError(
                f"exclude-newer-index: expected the name of an index that is configured ({', '.join(names)}), or an "
                f"address, found `{index}`",
                hint=f"did you mean `{close[0]}`?" if close else "names are those of uv's `[[tool.uv.index]]`, or of "
                "UV_INDEX=NAME=URL; an index without one is named by its address",
            )  # fmt: skip
    return replace(settings, newer=rules), notes


def debian_rule(rules: Rules, general: str | None) -> str | None:
    """The cut-off for Debian packages."""
    own = dict(rules).get(DEBIAN, general)
    return None if own == NONE else own


def recorded(rules: Rules) -> Mapping[str, str]:
    """As a lock has it: names as they are, and addresses by their digest (law 1)."""
    return {hidden(index.rstrip("/")) if "://" in index else index: instant for index, instant in sorted(rules)}


def told(rules: Rules) -> list[str]:
    """For a person, who is not shown addresses: whoever logs in may be part of them."""
    lines = []
    for index, instant in rules:
        whose = "an index that is named by its address" if "://" in index else index
        what = "whatever its age" if instant == NONE else f"up to {instant}"
        lines.append(f"of {whose} everything was taken {what}: `exclude-newer-index` of pyproject.toml")
    return lines
