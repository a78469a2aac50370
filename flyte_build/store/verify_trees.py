"""Unpacked images and layers, hashed file by file and held against their seals; what is damaged is moved aside.

What is not here is made again by the next run, so nothing is mended. A root that a run is using is named and left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import locks
from .checked import set_aside
from .files import storing
from .seal_files import beside, remove_seal
from .sealed import Difference, Examiner

if TYPE_CHECKING:
    from .contents import Contents

__all__ = ["Damage", "Tree", "total", "unpacked_trees", "verify_tree"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Tree:
    """``of`` is what its name says that it is a tree of; ``lock`` is held alone by whoever moves it."""

    path: Path
    of: str
    lock: Path


@dataclass(frozen=True, slots=True)
class Damage:
    """``problem`` in words; ``moved``: where the tree is now (``None``: left)."""

    problem: str
    moved: Path | None


def unpacked_trees(store: Contents) -> list[Tree]:
    """Every unpacked image, layer and folder of bytecode, but for what is being made, or was being removed when
    somebody was killed: it has no listing, so nobody enters it."""
    return [*_in(store, store.roots, "use"), *_in(store, store.layers, "layer")]


def _in(store: Contents, folder: Path, lock: str) -> Iterator[Tree]:
    with storing(folder):
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
    for name in names:
        stem, dot, more = name.partition(".")
        path = folder / name
        if (dot and len(more) != len(stem)) or not path.is_dir() or not beside(path, ".json").exists():
            continue
        of = f"bytecode of sha256:{stem} by sha256:{more}" if dot else f"sha256:{stem}"
        yield Tree(path, of, store.locks / f"{lock}-{stem}")


def total(trees: list[Tree]) -> int:
    """Bytes to hash: a file that several trees share counts once."""
    examiner, records = Examiner(), set[str]()
    for tree in trees:
        with suppress(OSError):
            records.update(line.partition("\0")[2] for line in examiner.lie(tree.path))
    return sum(int(record.split(" ")[2]) for record in records if " " in record)


def verify_tree(store: Contents, tree: Tree, examiner: Examiner, advance: Callable[[int], None]) -> Damage | None:
    """What is wrong with the tree, in words, and where it is now; ``None`` where all is as it was sealed."""
    wrong = examiner.look(tree.path, tree.of, full=True, advance=advance)
    if not wrong:
        return None
    with _alone(tree.lock) as alone:
        if not alone:
            return Damage(f"{_words(wrong)}; left, as a run is using it", None)
        # Somebody may have made it anew since.
        wrong = Examiner().look(tree.path, tree.of, full=True)
        if not wrong or not os.path.lexists(tree.path):
            return None
        moved = set_aside(store.root, tree.path)
        if moved is not None:
            with suppress(OSError):
                remove_seal(tree.path)
        return Damage(_words(wrong), moved)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    try:
        handle = locks.try_acquire(path)
    except OSError:
        handle = None
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def _words(wrong: tuple[Difference, ...]) -> str:
    shown = "; ".join(map(str, wrong[:_SHOWN]))
    more = len(wrong) - _SHOWN
    return f"not as it was sealed: {shown}" + (f"; and {more} more" if more > 0 else "")
