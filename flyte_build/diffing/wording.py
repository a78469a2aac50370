"""A difference in words, one short line a change and no sizes: for reasons, which are read beside a table.

``flyte_build.cli.differences`` draws the long form. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from .comparison import Change, Difference
from .contents import Package

__all__ = ["brief", "change_line", "package_line", "several"]


def package_line(change: Change[Package]) -> str:
    """``pandas 3.0.1 → 3.0.2``, ``+ ruff 0.14``, ``− six 1.17``, ``numpy 2.3: other bytes``."""
    before, after = change.before, change.after
    if before is None or after is None:
        return f"+ {change.name} {after.version}" if after else f"− {change.name} {before.version if before else ''}"
    if before.version == after.version:
        return f"{change.name} {after.version}: other bytes"
    return f"{change.name} {before.version} → {after.version}"


def change_line(change: Change[str], equals: str = " ") -> str:
    """``+ A=1`` (with ``equals`` ``=``), ``− A=1``, ``A: 1 → 2``."""
    if change.before is None:
        return f"+ {change.name}{equals}{change.after}"
    if change.after is None:
        return f"− {change.name}{equals}{change.before}"
    return f"{change.name}: {change.before} → {change.after}"


def several(lines: Sequence[str], most: int = 3) -> list[str]:
    """The first ``most`` lines, and how many more there are."""
    return [*lines[:most], f"{len(lines) - most} more"] if len(lines) > most + 1 else list(lines)


def brief(found: Difference) -> list[str]:
    """What differs, for the reason why an image is built: packages, copied files, configuration, then the rest."""
    lines = [package_line(c) for c in (*(found.wheels or ()), *(found.debs or ()))]
    if found.copied:
        one = len(found.copied) == 1
        lines.append(f"{found.copied[0].name} changed" if one else f"{len(found.copied)} copied files changed")
    if found.env or found.labels or found.config or found.annotations:
        lines.append("environment variables or configuration changed")
    lines += [change_line(c).replace(": ", " ", 1) for c in found.facts if c.name in ("python", "assembler")]
    layers = found.layers
    if not lines and layers is not None and not layers.empty:
        sealed = [one.title for one in layers.new if one.kind == "sealed"]
        if sealed and len(layers.new) == len(sealed):
            return [f"another layer of `{title}`" for title in sealed]
        only = layers.retitled and not (layers.gone or layers.new or layers.reordered)
        lines.append("its layers are titled differently" if only else "its layers are arranged differently")
    return lines
