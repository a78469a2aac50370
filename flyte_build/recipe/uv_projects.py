"""uv projects and scripts as users have them → what of them decides the answer that uv gives.

Nothing is resolved here and no uv runs: the files are read that uv would read, so that a lock knows when any of
them says something else. Every local package counts that uv may meet on its way: the project, the members of its
workspace, and what ``[tool.uv.sources]`` names by path (uv documentation, "Workspaces", "Dependency sources").
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..kernel.canonical import Json, digest
from ..kernel.errors import LoadError, RefusedError
from ..kernel.values import dataclass, replace
from .nouns import UvProject
from .requirements import script_document
from .source_trees import ARCHIVES, tree_digest

__all__ = ["LocalPackage", "UvFiles", "read_uv_files", "toml_document", "uv_options", "uv_project"]

# Of `uv sync`'s arguments, those that choose what is installed: how many values they take, how `uv export` says them.
_CHOOSING: Mapping[str, tuple[int, str]] = {
    **{f"--{name}": (0, f"--{name}") for name in (
        "all-extras", "all-groups", "all-packages", "dev", "no-default-groups", "no-dev", "only-dev",
    )},
    **{f"--{name}": (1, f"--{name}") for name in (
        "extra", "group", "no-extra", "no-group", "only-group", "package",
        "exclude-newer", "exclude-newer-package", "fork-strategy", "index-strategy", "no-sources-package",
        "prerelease", "resolution",
    )},
    "--frozen": (0, "--frozen"),
    "--no-editable": (0, "--no-editable"),
    "--no-install-local": (0, "--no-emit-local"),
    "--no-install-package": (1, "--no-emit-package"),
    "--no-install-project": (0, "--no-emit-project"),
    "--no-install-workspace": (0, "--no-emit-workspace"),
    "--no-sources": (0, "--no-sources"),
}  # fmt: skip
# Those that a lock always honours, or that are about the machine that runs uv.
_MEANINGLESS = {
    **{f"--{name}": 0 for name in (
        "active", "compile-bytecode", "exact", "inexact", "locked", "no-build", "no-cache", "no-progress", "quiet",
        "verbose",
    )},
    **dict.fromkeys(("-q", "-v", "-n"), 0),
    "--link-mode": 1,
    "--no-build-package": 1,
}  # fmt: skip


def uv_options(words: Sequence[str], where: str) -> tuple[str, ...]:
    """``extra_args`` of ``with_uv_project`` as ``uv export`` has them. Raises :class:`RefusedError` for the others."""
    out: list[str] = []
    left = list(words)
    while left:
        name, given, value = left.pop(0).partition("=")
        values, exported = _CHOOSING.get(name, (_MEANINGLESS.get(name, -1), ""))
        if values < 0 or (given and not values) or (values and not given and not left):
            raise RefusedError(
                f"{where}: the argument `{name}` has no place in a lock",
                hint="what chooses is known (--extra, --group, --only-group, --no-dev, --package …); indexes belong "
                "into [[tool.uv.index]], and what uv builds into an index or a local wheel",
            )
        if values and not given:
            value = left.pop(0)
        if exported:
            out += [exported, value] if values else [exported]
    return tuple(out)


@dataclass(frozen=True, slots=True)
class LocalPackage:
    """One ``pyproject.toml`` (or script) that uv reads; ``document`` is its TOML."""

    file: Path
    document: Mapping[str, Any]

    @property
    def project(self) -> Mapping[str, Any]:
        """``[project]``; a script's own keys (PEP 723) are those of one."""
        return self.document if self.file.suffix == ".py" else _table(self.document, "project")

    @property
    def uv(self) -> Mapping[str, Any]:
        return _table(self.document, "tool", "uv")

    @property
    def dynamic(self) -> tuple[str, ...]:
        """What only the package's build backend could tell: all of it, where there is no ``[project]``."""
        if not self.project and "workspace" not in self.uv:
            return ("metadata",)
        named = self.project.get("dynamic") or []
        return tuple(k for k in ("version", "dependencies", "optional-dependencies", "requires-python") if k in named)

    def sources(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """``[tool.uv.sources]``: the normalised name, and each of its tables."""
        for name, entry in _table(self.uv, "sources").items():
            for one in entry if isinstance(entry, list) else [entry]:
                if isinstance(one, dict):
                    yield canonicalize_name(name), one

    def requirements(self) -> Iterator[Requirement]:
        """Every requirement that is stated anywhere: dependencies, extras, groups, overrides."""
        lists = [self.project.get("dependencies"), *_table(self.project, "optional-dependencies").values()]
        lists += [*_table(self.document, "dependency-groups").values(), self.uv.get("dev-dependencies")]
        lists += [self.uv.get("override-dependencies")]
        for text in (text for one in lists if isinstance(one, list) for text in one):
            try:
                yield Requirement(text)
            except (InvalidRequirement, TypeError):
                continue  # a group that another includes is a table; what is no requirement uv will say

    def asked(self) -> Json:
        """What of it decides uv's answer. Not the whole: a linter's settings change no image."""
        keys = ("name", "version", "dependencies", "optional-dependencies", "requires-python", "dynamic")
        kept = {key: self.project[key] for key in keys if key in self.project}
        uv = {key: value for key, value in self.uv.items() if key != "build-backend"}
        groups = self.document.get("dependency-groups", {})
        text = json.dumps({"project": kept, "groups": groups, "uv": uv}, default=str, sort_keys=True)
        out: Json = json.loads(text, parse_float=str, parse_constant=str)
        return out


@dataclass(frozen=True, slots=True)
class UvFiles:
    """The files of one uv project or script: where uv starts (``folder``), its local packages, the nearest first, the
    wheels and source archives that they name by path, and its lock where there is one."""

    folder: Path
    packages: tuple[LocalPackage, ...]
    wheels: tuple[Path, ...]
    lock: Path | None
    archives: tuple[Path, ...] = ()

    @property
    def main(self) -> LocalPackage:
        return self.packages[0]

    @property
    def script(self) -> bool:
        return self.main.file.suffix == ".py"

    @property
    def root(self) -> Path:
        """The folder of uv's own lock: the workspace's root, or the project's."""
        for package in self.packages:
            folder = package.file.parent
            if "workspace" in package.uv and _is_member(package, self.folder):
                return folder
        return self.folder

    @property
    def own_lock(self) -> Path:
        """Where uv itself keeps the lock."""
        return self.main.file.with_name(f"{self.main.file.name}.lock") if self.script else self.root / "uv.lock"

    @property
    def requires_python(self) -> tuple[str, ...]:
        """What the project and its workspace say of Python; all of it has to hold."""
        root = next((p for p in self.packages if p.file.parent == self.root and "workspace" in p.uv), None)
        ours = [p for p in self.packages if p is self.main or (root is not None and _is_member(root, p.file.parent))]
        said = [package.project.get("requires-python") for package in ours]
        return tuple(dict.fromkeys(text for text in said if isinstance(text, str)))


def read_uv_files(file: Path, lock: Path | None = None) -> UvFiles:
    """The files of the project of ``file``, a ``pyproject.toml`` or a script; ``lock`` is used in place of its own.

    Raises :class:`LoadError` for one that cannot be read.
    """
    file = Path(os.path.normpath(file.absolute()))
    lock = Path(os.path.normpath(lock.absolute())) if lock is not None else None
    first = LocalPackage(file, _document(file))
    found = {str(file): first}
    wheels, archives = dict[str, Path](), dict[str, Path]()
    waiting = [first]
    if file.suffix != ".py":
        root = _workspace(first)
        waiting += [root] if root is not None and root.file != file else []
        found |= {os.path.normpath(one.file): one for one in waiting}
    while waiting:
        package = waiting.pop(0)
        for path in (*_members(package), *_paths(package)):
            at = os.path.normpath(path / "pyproject.toml")
            if path.name.endswith((".whl", *ARCHIVES)):
                named = wheels if path.suffix == ".whl" else archives
                named[os.path.normpath(path)] = Path(os.path.normpath(path))
            elif at not in found and os.path.isdir(path):
                found[at] = LocalPackage(Path(at), _document(Path(at)) if os.path.isfile(at) else {})
                waiting.append(found[at])
    files = UvFiles(file.parent, tuple(found.values()), tuple(wheels.values()), lock, tuple(archives.values()))
    return replace(files, lock=files.own_lock) if lock is None and files.own_lock.is_file() else files


def uv_project(
    files: UvFiles, options: tuple[str, ...], relative: Callable[[Path], str], *, installs: bool = False
) -> UvProject:
    """What a recipe says of a uv project; ``relative`` gives a path as recipes write it. Raises :class:`LoadError`.

    ``installs``: local packages are installed with their code.
    """
    asked: dict[str, Json] = {}
    for package in files.packages:
        asked[os.path.relpath(package.file, files.folder)] = package.asked()
    settings = files.root / "uv.toml"
    if settings.is_file():
        asked["uv.toml"] = settings.read_text(encoding="utf-8", errors="replace")
    indexes: dict[str, list[str]] = {}
    for package in files.packages:
        for name, source in package.sources():
            if isinstance(source.get("index"), str):
                indexes.setdefault(name, []).append(source["index"])
    elsewhere = files.lock is not None and files.lock != files.own_lock
    return UvProject(
        file=relative(files.main.file),
        asked=digest(asked),
        locked=_content(files.lock) if files.lock is not None else None,
        lock=relative(files.lock) if elsewhere and files.lock is not None else None,
        options=options,
        installs=installs,
        trees=_trees(files, installs),
        indexes=tuple((name, tuple(dict.fromkeys(names))) for name, names in sorted(indexes.items())),
    )


def _trees(files: UvFiles, installs: bool) -> str | None:
    """The digest of the source trees whose code is in the image: those that no editable install leaves in place."""
    built = {
        os.path.normpath(package.file.parent / source["path"])
        for package in files.packages
        for _, source in package.sources()
        if isinstance(source.get("path"), str) and source.get("editable") is not True
    }
    trees = {
        os.path.relpath(p.file.parent, files.folder): tree_digest(p.file.parent)
        for p in files.packages
        if p.file.suffix != ".py" and p.file.is_file() and (installs or os.path.normpath(p.file.parent) in built)
    }
    return digest(dict(sorted(trees.items()))) if trees else None


def _content(path: Path) -> str:
    try:
        return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as e:
        raise LoadError(f"{path}: cannot be read: {e}") from None


def _document(path: Path) -> Mapping[str, Any]:
    return script_document(path) if path.suffix == ".py" else toml_document(path)


def toml_document(path: Path) -> Mapping[str, Any]:
    """Raises :class:`LoadError` where it cannot be read, or is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise LoadError(f"{path}: cannot be read: {e}") from None
    except tomllib.TOMLDecodeError as e:
        raise LoadError(f"{path}: not TOML: {e}") from None


def _table(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _workspace(package: LocalPackage) -> LocalPackage | None:
    """The workspace that a project belongs to, by uv's rule: its own, else the nearest one upwards that has it."""
    if "workspace" in package.uv:
        return package
    for folder in package.file.parent.parents:
        path = folder / "pyproject.toml"
        if path.is_file():
            found = LocalPackage(path, _document(path))
            if "workspace" in found.uv:
                return found if _is_member(found, package.file.parent) else None
    return None


def _is_member(root: LocalPackage, folder: Path) -> bool:
    at = os.path.normpath(folder)
    return at == os.path.normpath(root.file.parent) or at in {os.path.normpath(path) for path in _members(root)}


def _members(package: LocalPackage) -> list[Path]:
    workspace = _table(package.uv, "workspace")
    folder = package.file.parent

    def matching(patterns: object) -> Iterable[Path]:
        for pattern in patterns if isinstance(patterns, list) else []:
            if isinstance(pattern, str) and pattern.strip("./") and not os.path.isabs(pattern):
                with suppress(ValueError, NotImplementedError):  # what is no pattern uv will say
                    yield from sorted(folder.glob(pattern.rstrip("/")))
            elif isinstance(pattern, str):
                yield folder / pattern

    excluded = {os.path.normpath(path) for path in matching(workspace.get("exclude"))}
    return [path for path in matching(workspace.get("members")) if os.path.normpath(path) not in excluded]


def _paths(package: LocalPackage) -> Iterator[Path]:
    for _, source in package.sources():
        if isinstance(source.get("path"), str):
            yield Path(os.path.normpath(package.file.parent / source["path"]))
    for requirement in package.requirements():
        if requirement.url is not None and requirement.url.startswith("file:"):
            yield Path(os.path.normpath(requirement.url.removeprefix("file://")))
