"""What the repositories of a uv project without a ``uv.lock`` say in turn: which packages are theirs, and where what
these require is from.

Read at the commits that our lock has, of the packages that it was built of, and of their workspaces. A repository is
fetched when a file is not here, and its place is asked for.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from ..kernel.scratch import scratch
from ..kernel.values import dataclass, field
from ..recipe import SourceTree
from ..recipe.uv_projects import LocalPackage, UvFiles
from .git_mirrors import Mirrors
from .uv_trees import asked_of, stated, trees_of

__all__ = ["Beyond", "beyond"]

_NOWHERE = Path("/nonexistent")


@dataclass(frozen=True, slots=True)
class Beyond:
    """``packages``: their manifests; ``trees`` as :func:`trees_of` has them."""

    packages: tuple[LocalPackage, ...] = ()
    trees: Mapping[str, SourceTree] = field(default_factory=dict)


def beyond(files: UvFiles, commits: Mapping[str, str]) -> Beyond:
    """``commits`` by :func:`asked_of`, as a lock has them. Raises what fetching a repository raises."""
    if files.lock is not None or not commits:
        return Beyond()
    trees = trees_of(files)
    waiting, packages = [tree for tree in trees.values() if tree.git is not None], list[LocalPackage]()
    found: dict[str, SourceTree] = {}
    seen: set[tuple[str, str]] = set()
    with scratch() as folder:
        mirrors = Mirrors(folder / "repositories")
        while waiting:
            tree = waiting.pop(0)
            url, commit = str(tree.git), commits.get(asked_of(str(tree.name)))
            if commit is None or (url, commit) in seen:
                continue
            seen.add((url, commit))
            for package, mine in _read(mirrors.manifests(url, commit), url, commit, commits):
                packages.append(package)
                if mine is not None:
                    found.setdefault(asked_of(str(mine.name)), mine)
                for one in stated(package):
                    if one.path is None and asked_of(str(one.name)) not in {**trees, **found}:
                        found[asked_of(str(one.name))] = one
                        waiting += [one] if one.git is not None else []
    return Beyond(tuple(packages), found)


def _read(
    held: Mapping[str, bytes], url: str, commit: str, commits: Mapping[str, str]
) -> Iterator[tuple[LocalPackage, SourceTree | None]]:
    """The packages of a repository that the lock was built of, and the workspaces around them."""
    every: dict[str, LocalPackage] = {}
    for path, data in held.items():
        try:
            every[os.path.dirname(path)] = LocalPackage(_NOWHERE / path, tomllib.loads(data.decode()))
        except ValueError:
            continue
    names = {at: package.project.get("name") for at, package in every.items()}
    mine = {at: str(canonicalize_name(n)) for at, n in names.items() if isinstance(n, str)}
    mine = {at: name for at, name in mine.items() if commits.get(asked_of(name)) == commit}
    for at, package in every.items():
        if at in mine:
            yield package, SourceTree(mine[at], git=url, rev=commit, subdirectory=at or None)
        elif "workspace" in package.uv and any(one.startswith(f"{at}/" if at else "") for one in mine):
            yield package, None
