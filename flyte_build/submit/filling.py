"""Roots get the bytecode of what is about to be imported in them: when they are made, and again when that is more.

    roots/<manifest hex>.compiled     {"schema": 1, "seal": the root's, "imports": [names] or null, which is everything}

Compiling everything that an image has took longer than all else before a first run, for modules of which nobody ever
imports the most; and compiling even those took longer than a first task takes to compile its own. So a run may begin
without, and have it made beside its layers meanwhile, for the next one. A note of another seal is none. Never fails a
run: without bytecode modules are only slower.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.documents import parse_object
from ..kernel.files import write_whole
from ..kernel.reporting import Reporter
from ..store.seal_files import beside, find_listing
from .furnish import find_python, prepare
from .image_documents import Config, LayerOf, Manifest
from .imports import RUNTIME
from .layers import Layers
from .lender import Borrow
from .lending import borrow, lend
from .merge import merge
from .unpack import remove_tree

if TYPE_CHECKING:
    from .bytecode import Compiler
    from .sandbox.spec import Engine

__all__ = ["Filling"]

_SCHEMA = 1


class Filling:
    """For the roots of one run. ``imports``: what is about to be imported besides the runtime; ``None``: anything."""

    def __init__(
        self,
        engine: Engine | None,
        layers: Layers,
        locks: Path,
        reporter: Reporter,
        imports: Collection[str] | None,
        borrowing: Borrow = borrow,
    ) -> None:
        self._engine = engine
        self._borrow = borrowing
        self._layers = layers
        self._locks = locks
        self._reporter = reporter
        self._imports = None if imports is None else frozenset((*RUNTIME, *imports))
        self._read: dict[tuple[int, str], tuple[str, ...]] = {}
        self._borrowed: dict[Path, Mapping[str, str] | None] = {}

    def lacks(self, root: Path) -> bool:
        """Whether the root, which is as it was sealed, was not yet compiled for all that is about to be imported."""
        if self._engine is None or not os.access(root, os.W_OK):
            return False
        noted = _noted(root)
        return noted is not None and (self._imports is None or not self._imports <= noted)

    def note(self, root: Path) -> None:
        """The root has just been sealed, and is compiled for what is about to be imported."""
        listing = find_listing(root)
        if self._engine is None or listing is None:
            return
        imports = None if self._imports is None else sorted(self._imports | (_noted(root) or frozenset()))
        document = {"schema": _SCHEMA, "seal": listing.seal, "imports": imports}
        with suppress(OSError):
            write_whole(beside(root, ".compiled"), json.dumps(document))

    def lend(self, tree: Path, diff_ids: Sequence[str]) -> Mapping[str, str]:
        """Put into ``tree``, of these layers, what our own Python has; how the files lie → their SHA-256."""
        folders = [self._layers.folder / diff_id.removeprefix("sha256:") for diff_id in diff_ids]
        out: dict[str, str] = {}
        for folder in folders:
            asked = folder in self._borrowed
            out |= lend(folder, tree, self._locks, self._borrowed.pop(folder, None), asked=asked)
        return out

    def borrow(self, layer: Path) -> None:
        """Have what our own Python has of a layer that was just unpacked ready for :meth:`lend`."""
        self._borrowed[layer] = self._borrow(layer, self._locks)

    def fill(self, tree: Path, manifest: Manifest, config: Config, *, compiling: bool) -> Mapping[str, str]:
        """Put bytecode into ``tree``, without ``compiling`` what is there; how its files lie → their SHA-256."""
        compiler = self._compiler(tree, manifest, config)
        return {} if compiler is None else compiler.fill(compiling=compiling)

    def has(self, root: Path, manifest: Manifest, config: Config) -> bool:
        """Whether there is bytecode that the root may lack."""
        compiler = self._compiler(root, manifest, config)
        return compiler is not None and compiler.kept()

    def make(
        self, root: Path, manifest: Manifest, config: Config, left: Callable[[], bool]
    ) -> Callable[[], Mapping[str, str]]:
        """Make the bytecode that the root lacks; it stays as it is, and may be in use. ``left``: no more is wanted.

        What is given puts it there, as :meth:`fill` does.
        """
        compiler = self._compiler(root, manifest, config, left)
        chain = compiler.make() if compiler is not None else None
        return dict if compiler is None or chain is None else partial(compiler.put, chain)

    def _compiler(
        self, tree: Path, manifest: Manifest, config: Config, left: Callable[[], bool] = bool
    ) -> Compiler | None:
        python = find_python(tree, config.env) if self._engine is not None else None
        if self._engine is None or python is None:
            return None
        from .bytecode import Compiler  # which unpacking alone does without, and so without sandboxes

        layers = list(zip(manifest.layers, config.diff_ids, strict=True))
        folders = [self._layers.folder / diff_id.removeprefix("sha256:") for diff_id in config.diff_ids]
        return Compiler(
            self._engine, tree, python, folders, lambda: self._lowest(tree, layers), self._locks, self._reporter,
            self._imports, left, self._read,
        )  # fmt: skip

    @contextmanager
    def _lowest(self, tree: Path, layers: Sequence[tuple[LayerOf, str]]) -> Iterator[Callable[[int], Path]]:
        small = tree.with_name(f"{tree.name.removesuffix('.partial')}.below.partial")
        left = list(layers)

        def grown(count: int) -> Path:
            while len(layers) - len(left) < count:
                layer, diff_id = left.pop(0)
                with self._layers.held(layer, diff_id) as unpacked:
                    merge(unpacked.folder, small)
            prepare(small)
            return small

        remove_tree(small)
        small.mkdir()
        try:
            yield grown
        finally:
            remove_tree(small)


def _noted(root: Path) -> frozenset[str] | None:
    """The names that the root was compiled for; ``None``: all that it has."""
    try:
        found = parse_object(beside(root, ".compiled").read_bytes())
        listing = find_listing(root)
        if found.get("schema") == _SCHEMA and listing is not None and found.get("seal") == listing.seal:
            imports = found.get("imports")
            return None if imports is None else frozenset(map(str, imports))
    except (OSError, ValueError, TypeError):
        pass
    return frozenset()
