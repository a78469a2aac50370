"""Stacks of layers → the paths in which two images certainly differ.

What is at a path is decided by the topmost layer that mentions it. A layer whose files are not known may hide what
lies below it, or hold what is nowhere else, so a path is reported only where no such layer can change the answer.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .contents import Layer
from .entries import OPAQUE, WHITEOUT, File, differs
from .pairing import LayerDifference

__all__ = ["FileComparison", "compare_files", "merged"]

_Stack = dict[str, tuple[File | None, int]]
"""Path → what is there (``None``: removed) and the position of the layer that says so."""


@dataclass(frozen=True, slots=True)
class FileComparison:
    """``changes``: path, what the earlier image has there, what the later one has. ``vague``: files of equal size whose
    content is known by sums of two kinds. ``lacking``: for each of the two, the layers that leave open whether there
    are more changes. ``comparable``: whether anything could be compared at all."""

    changes: tuple[tuple[str, File | None, File | None], ...]
    vague: int
    lacking: tuple[tuple[Layer, ...], tuple[Layer, ...]]
    comparable: bool


def merged(files: Sequence[Mapping[str, File] | None]) -> dict[str, File]:
    """What a container sees of these layers, lowest first; layers that are not known count as empty."""
    paths = _stack(files)
    return {path: file for path, (file, _) in sorted(paths.items()) if file is not None}


def compare_files(before: Sequence[Layer], after: Sequence[Layer], paired: LayerDifference) -> FileComparison:
    """Compare what is at every path of two images, whose layers are paired."""
    old = [layer.files for layer in before]
    new = [layer.files for layer in after]
    for i, j in paired.pairs:
        # One layer: what either knows of it holds for both.
        old[i] = new[j] = old[i] if old[i] is not None else new[j]
    found = _changes(old, new)
    settled = not (found.undecided or paired.reordered)
    partners = {i for i, _ in paired.pairs} if settled else set(), {j for _, j in paired.pairs} if settled else set()
    lacking = _lacking(before, old, partners[0]), _lacking(after, new, partners[1])
    nothing_known = all(f is None for f in old) or all(f is None for f in new)
    return FileComparison(tuple(found.certain), found.vague, lacking, not (nothing_known and any(lacking)))


def _lacking(
    layers: Sequence[Layer], known: Sequence[Mapping[str, File] | None], shared: set[int]
) -> tuple[Layer, ...]:
    """The layers without known files; a shared one matters only where something else differs."""
    return tuple(layer for i, layer in enumerate(layers) if known[i] is None and i not in shared)


@dataclass(slots=True)
class _Found:
    """``undecided``: paths that layers without known files may decide; ``vague``: files with sums of two kinds."""

    certain: list[tuple[str, File | None, File | None]] = field(default_factory=list)
    undecided: int = 0
    vague: int = 0


def _changes(before: Sequence[Mapping[str, File] | None], after: Sequence[Mapping[str, File] | None]) -> _Found:
    olds, news = _stack(before), _stack(after)
    top_old = max((i for i, files in enumerate(before) if files is None), default=-1)
    top_new = max((i for i, files in enumerate(after) if files is None), default=-1)
    found = _Found()
    for path in sorted({*olds, *news}):
        old, at_old = olds.get(path, (None, -1))
        new, at_new = news.get(path, (None, -1))
        unequal = differs(old, new) if old is not None and new is not None else old is not new
        if unequal is False:
            continue
        if at_old < top_old or at_new < top_new:
            found.undecided += 1
        elif unequal is None:
            found.vague += 1
        else:
            found.certain.append((path, old, new))
    return found


def _stack(layers: Sequence[Mapping[str, File] | None]) -> _Stack:
    paths: _Stack = {}
    for position, files in enumerate(layers):
        for path in sorted(p for p in files or () if _name(p).startswith(WHITEOUT)):
            folder, name = path.rpartition("/")[0], _name(path)
            target = folder if name == OPAQUE else f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/")
            _hide(paths, target, position, itself=name != OPAQUE)
        for path, file in (files or {}).items():
            if _name(path).startswith(WHITEOUT):
                continue
            old = paths.get(path, (None, -1))[0]
            if old is not None and old.kind == "folder" and file.kind != "folder":
                _hide(paths, path, position, itself=False)
            paths[path] = file, position
    return paths


def _hide(paths: _Stack, target: str, position: int, *, itself: bool) -> None:
    inside = f"{target}/" if target else ""
    for path in [p for p in paths if p.startswith(inside)]:
        paths[path] = None, position
    if itself:
        paths[target] = None, position


def _name(path: str) -> str:
    return path.rpartition("/")[2]
