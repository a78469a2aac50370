"""What ``with_source_folder`` and ``with_source_file`` copy: local files as entries with hashes.

The same tree gives the same entries on every machine: names in order, modes 0644 or 0755, no owners, no times.
Where things go follows Flyte's own builder, which is a Dockerfile's ``COPY`` of a filtered copy of the folder: its
contents go to the destination, folders without files are not copied. Links stay links where they stay inside the
folder and lead to something that is copied too; a link to a file elsewhere becomes that file, as Flyte's builder
has it. What cannot be a file in an image is refused. Never reads what is ignored, never writes.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import ArtifactError, LoadError, LockError, RefusedError
from ..recipe import CopyFiles, Recipe, Scratch
from ..recipe.dockerignore import DockerIgnore
from .derivation import FileEntry, working_directories
from .nouns import Copied
from .overlay import folders_of

if TYPE_CHECKING:
    from ..locks.base import LockedBase
    from ..locks.stages import LockedStage

__all__ = ["hidden_links", "snapshot", "sources"]

# Folders that a Debian system has; a copy goes into them and leaves their owners alone.
_TOPS = (
    *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt", "proc", "root"),
    *("run", "sbin", "srv", "sys", "tmp", "usr", "var"),
)
_SYSTEM = frozenset(
    (
        *_TOPS,
        *("etc/ssl", "etc/ssl/certs", "etc/profile.d", "home/flyte", "opt/venv", "opt/venv/bin", "opt/venv/lib"),
        *("usr/bin", "usr/include", "usr/lib", "usr/local", "usr/local/bin", "usr/local/etc", "usr/local/lib"),
        *("usr/local/share", "usr/sbin", "usr/share", "usr/src", "var/cache", "var/lib", "var/log", "var/tmp"),
    )
)
# Below these, folders that the copy needs are made anew and belong to the image's user; below other system folders
# they may well be the system's own.
_OPEN = frozenset(("home", "media", "mnt", "opt", "root", "srv"))


@dataclass(slots=True)
class _Tree:
    """What one step copies: entries by path, and which local file each one's content is."""

    entries: dict[str, FileEntry] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)


def snapshot(recipe: Recipe, root: Path, base: LockedBase | None = None, stages: Sequence[LockedStage] = ()) -> Copied:
    """For each :class:`CopyFiles` step of ``recipe``, by its index: what it copies, paths without a leading slash; and
    the same for its ``stages``, as far as they are locked.

    ``root`` is the project's; ``base`` what is locked of a registry base, whose working directory counts and whose
    folders keep their owners. Raises :class:`LoadError` for a source that is not there, :class:`ArtifactError` for a
    socket, a device or a link that leads nowhere, :class:`RefusedError` for a destination with variables.
    """
    trees = _trees(recipe, root, base)
    found = Copied({i: sorted(tree.entries.values(), key=lambda e: e.path) for i, tree in trees})
    if len(stages) == len(recipe.stages):
        made = (snapshot(recipe.stage(n), root, held.base, stages[:n]) for n, held in enumerate(stages))
        found.stages = tuple(made)
    return found


def sources(recipe: Recipe, root: Path) -> dict[str, Path]:
    """SHA-256 (hex) → a local file with that content, for every file that :func:`snapshot` gives; raises as it does."""
    return {
        str(tree.entries[target].sha256): source
        for one in (recipe, *map(recipe.stage, range(len(recipe.stages))))
        for _, tree in _trees(one, root)
        for target, source in tree.sources.items()
    }


def hidden_links(recipe: Recipe, step: int, root: Path) -> list[Path]:
    """The files of a copy step that were links to others of its files before somebody put the files in their place.

    Bazel hands an action what a link leads to, under the link's name: such a file really lies where another one does,
    while all others lie under their own names, wherever that is.
    """
    for index, tree in _trees(recipe, root):
        if index == step:
            real = {path: os.path.realpath(path) for path in tree.sources.values()}
            named = {r for path, r in real.items() if r.endswith(f"/{path.relative_to(root).as_posix()}")}
            return sorted(
                p for p, r in real.items() if r in named and not r.endswith(f"/{p.relative_to(root).as_posix()}")
            )
    return []


def _trees(recipe: Recipe, root: Path, base: LockedBase | None = None) -> Iterator[tuple[int, _Tree]]:
    facts = base.facts if base is not None else None
    system = frozenset[str]() if isinstance(recipe.base, Scratch) else _SYSTEM
    there = system | frozenset(folders_of(facts)) if facts is not None else system
    folders = set(there)
    for index, (step, workdir) in enumerate(zip(recipe.steps, working_directories(recipe, base), strict=False)):
        folders |= set(_ancestors(workdir.strip("/"))) | {workdir.strip("/")}
        if not isinstance(step, CopyFiles):
            continue
        tree = _Tree()
        source = root / step.source
        target = _target(step, workdir)
        if not step.folder:
            if step.url is None and not source.is_file():
                raise LoadError(f"{source}: expected a file to copy into the image, found {_kind(source)}")
            if target in folders or step.destination.endswith(("/", "/.")) or step.destination in ("", "."):
                target = posixpath.join(target, source.name)
            if step.url is None:
                _add_file(tree, target, source, step.mode)
            else:
                tree.entries[target] = _fetched(step, target)
        elif not source.is_dir():
            raise LoadError(f"{source}: expected a folder to copy into the image, found {_kind(source)}")
        else:
            _add_folder(tree, step, source, target)
        if not tree.entries:
            raise LoadError(
                f"{source}: expected files to copy into the image, found none",
                hint="check the folder, and the patterns of .dockerignore",
            )
        _add_parents(tree, folders, there, system, _kept(step, target, folders))
        yield index, tree


def _fetched(step: CopyFiles, target: str) -> FileEntry:
    if step.sha256 is None or step.size is None or step.mode is None:
        raise LockError(f"{step.source}: nobody knows yet what is at its address", hint="run `flyte-build lock`")
    return FileEntry(target, step.mode, step.sha256, step.size)


def _target(step: CopyFiles, workdir: str) -> str:
    if "$" in step.destination:
        raise RefusedError(
            f"copy of {step.source}: the destination `{step.destination}` has a variable in it",
            hint="write the path out",
        )
    return posixpath.normpath(posixpath.join(workdir, step.destination)).strip("/")


def _add_folder(tree: _Tree, step: CopyFiles, source: Path, target: str) -> None:
    links: list[tuple[str, Path]] = []
    for inside, path in _named(step, source) if step.files is not None else _walk(source, DockerIgnore(step.ignore)):
        try:
            inside.encode("utf-8")
        except UnicodeEncodeError:
            raise ArtifactError(f"{os.fsencode(path)!r}: expected a name in UTF-8") from None
        if path.is_symlink():
            links.append((inside, path))
        else:
            _add_file(tree, posixpath.join(target, inside), path, step.mode)
    copied = {posixpath.relpath(p, target or ".") for p in tree.entries} | {inside for inside, _ in links}
    copied |= {parent for p in copied for parent in _ancestors(p)}
    for inside, path in links:
        _add_link(tree, posixpath.join(target, inside), path, inside, copied)


def _named(step: CopyFiles, source: Path) -> Iterator[tuple[str, Path]]:
    for name in sorted(step.files or ()):
        inside = posixpath.normpath(name)
        if inside.startswith(("/", "../")) or inside == "..":
            raise ArtifactError(f"{source}: expected files inside the folder, found `{name}`")
        yield inside, source / inside


def _walk(source: Path, ignore: DockerIgnore, inside: str = "") -> Iterator[tuple[str, Path]]:
    try:
        found = sorted(os.scandir(source / inside), key=lambda e: e.name)
    except OSError as e:
        raise ArtifactError(f"{source / inside}: cannot be read: {e.strerror or e}") from None
    for entry in found:
        name = posixpath.join(inside, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if not ignore.prunes(name):
                yield from _walk(source, ignore, name)
        elif not ignore.ignores(name):
            yield name, Path(entry.path)


def _add_file(tree: _Tree, target: str, path: Path, asked: int | None = None) -> None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ArtifactError(
                f"{path}: expected a file, found {_kind(path)}",
                hint="name it in .dockerignore, or take it out of the folder",
            )
        sha256, size = _hashed(path, found)
    except OSError as e:
        raise ArtifactError(f"{path}: cannot be read: {e.strerror or e}") from None
    mode = asked if asked is not None else 0o755 if found.st_mode & stat.S_IXUSR else 0o644
    tree.entries[target] = FileEntry(target, mode, sha256, size)
    tree.sources[target] = path


def _add_link(tree: _Tree, target: str, path: Path, inside: str, copied: set[str]) -> None:
    to = os.readlink(path)
    leads = posixpath.normpath(posixpath.join(posixpath.dirname(inside), to))
    if path.exists() and not to.startswith("/") and leads in copied:
        tree.entries[target] = FileEntry(target, 0o777, link=to)
    elif path.is_file():
        _add_file(tree, target, path)
    else:
        what = "outside of what is copied" if path.exists() else "nowhere"
        raise ArtifactError(
            f"{path}: the link leads {what}: {to}",
            hint="name it in .dockerignore, or put what it means into the folder",
        )


def _kept(step: CopyFiles, target: str, folders: set[str]) -> Callable[[str], bool]:
    """Which folders a copy leaves alone, as COPY does: the one that it goes to, and those on the way, which may be
    there with an owner of their own. Where they are not, an unpacked layer has them for root."""
    known, inside = set(folders), f"{target}/".lstrip("/")

    def kept(folder: str) -> bool:
        if step.owner is None or (step.folder and folder.startswith(inside)):
            return False
        return step.owner == (0, 0) or folder in known

    return kept


def _add_parents(
    tree: _Tree, folders: set[str], there: frozenset[str], system: frozenset[str], kept: Callable[[str], bool]
) -> None:
    """Folders on the way, owned as what is copied, but for those that are the system's, ``there`` in a base or
    ``kept``."""
    for parent in sorted({p for path in tree.entries for p in _ancestors(path)}):
        top = parent.partition("/")[0]
        if (
            parent not in there
            and not kept(parent)
            and (top not in system or top in _OPEN)
            and not parent.startswith("opt/venv/")
        ):
            tree.entries.setdefault(parent, FileEntry(parent, 0o755))
        folders.add(parent)


def _ancestors(path: str) -> Iterator[str]:
    while path := posixpath.dirname(path):
        yield path


def _kind(path: Path) -> str:
    try:
        mode = path.stat().st_mode
    except OSError:
        return "nothing"
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISSOCK, "a socket"), (stat.S_ISFIFO, "a named pipe"))
    for test, name in (*kinds, (stat.S_ISREG, "a file")):
        if test(mode):
            return name
    return "a device"


_known: dict[tuple[str, int, int, int, int], tuple[str, int]] = {}


def _hashed(path: Path, found: os.stat_result) -> tuple[str, int]:
    """SHA-256 and size; a file that this process hashed before and that looks untouched is not read again.

    A wrong guess does no harm: what enters the store is held against its hash.
    """
    key = (str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if key not in _known:
        with open(path, "rb") as f:
            _known[key] = hashlib.file_digest(f, "sha256").hexdigest(), f.tell()
    return _known[key]
