"""Files that a recipe names by their address, or that lie in the project: where they are. A locator of such wheels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..deriving.nouns import Artifact
from ..kernel.errors import FetchError
from ..locks.nouns import LockedWheel
from ..recipe import Recipe, SourceTree, fetched
from .index_clients import IndexClients
from .lent import filled_tree
from .places import Place

__all__ = ["FetchedFiles", "LocatedWheels", "place_of"]


class LocatedWheels:
    """Wheels that a recipe names by their address, or in a file: that place, and no index, is asked for them."""

    def __init__(self, recipes: Iterable[Recipe], root: Path) -> None:
        every = ((tree, step) for recipe in recipes for step in recipe.pip_steps for tree in step.sources)
        self._trees = [(t, step) for t, step in every if t.file is not None and t.file.endswith(".whl")]
        self._root, self._clients = root, IndexClients()

    def places(self, artifact: Artifact) -> Iterator[Place]:
        if not isinstance(artifact.source, LockedWheel):
            return
        found = [filled_tree(tree, step) for tree, step in self._trees if tree.file == artifact.file]
        for tree in found:
            if (place := place_of(tree, self._root, self._clients)) is not None:
                yield place
        if found:
            raise FetchError(
                f"{artifact.file}: the address that the image names does not have SHA-256 {artifact.sha256}"
                if any(not (tree.url or "").startswith("sha256:") for tree in found)
                else f"{artifact.file}: the lock alone does not say where it is from",
                hint="name the file that defines the environment, or get the wheel from a cache or a bundle; "
                f"`flyte-build lock --upgrade-package {artifact.source.name}` takes what the address has now",
            )

    def close(self) -> None:
        self._clients.close()


class FetchedFiles:
    """Files that a recipe copies from an address (``ADD``), by their hashes."""

    def __init__(self, recipes: Iterable[Recipe], root: Path) -> None:
        every = (step for recipe in recipes for step in fetched(recipe))
        self._urls = {step.sha256: str(step.url) for step in every if step.sha256 is not None}
        self._root, self._clients = root, IndexClients()

    def places(self, artifact: Artifact) -> Iterator[Place]:
        from .indexes import configured

        url = self._urls.get(artifact.sha256) if artifact.source is None else None
        if url is None:
            return
        if url.startswith("sha256:"):
            raise FetchError(
                f"{artifact.file}: the lock alone does not say where it is from",
                hint="name the file that defines the environment, or get the image from a cache or a bundle",
            )
        yield Place(url, self._clients.of(configured(self._root)).stream)
        raise FetchError(
            f"{artifact.file}: its address does not have SHA-256 {artifact.sha256}",
            hint="`flyte-build lock --upgrade` takes what it has now",
        )

    def close(self) -> None:
        self._clients.close()


def place_of(tree: SourceTree, root: Path, clients: IndexClients) -> Place | None:
    """Where a file that a recipe names is; ``None`` where only its address's digest is known."""
    from .indexes import configured

    if tree.url is None:
        return Place(Path(os.path.abspath(root / str(tree.path))).as_uri())
    return None if tree.url.startswith("sha256:") else Place(tree.url, clients.of(configured(root)).stream)
