"""Poetry projects as users have them → what their ``poetry.lock`` installs, as requirements with one version each.

A lock of version 2.1 (Poetry 2) says of every package for which groups and markers it is, so that nothing is
resolved: what ``poetry install`` would take is read off; for an older one :mod:`.poetry_older` works it out. Whether
it still answers the project is told by its ``content-hash``, as Poetry itself does (``poetry.packages.locker``).
Hashes are the lock's. Runs no Poetry; reads files.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from ..kernel.errors import LoadError, LockError, RefusedError
from ..kernel.values import dataclass
from .requirements import ParsedRequirements
from .source_trees import source_tree
from .uv_projects import toml_document

__all__ = ["PoetryChoice", "poetry_choice", "poetry_requirements"]

_CHOOSING = {"--with": "wanted", "--without": "left", "--only": "only", "--extras": "extras", "-E": "extras"}
_MEANINGLESS = ("--sync", "--compile", "--no-interaction", "-n", "--no-ansi", "--no-cache", "--quiet", "-q", "-v")
_EXTRA = re.compile(r"""extra\s*(==|!=)\s*["']([^"']+)["']""")
_SAYING = Version("2.1")
_TRUE, _FALSE = 'python_version >= "3"', 'python_version < "3"'
# Of `git@host:path`, which is no URL.
_SCP = re.compile(r"([\w.-]+@[\w.-]+):(?!//)(.+)")


@dataclass(frozen=True, slots=True)
class PoetryChoice:
    """The arguments of ``poetry install`` that choose."""

    wanted: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    extras: frozenset[str] = frozenset()
    all_groups: bool = False
    all_extras: bool = False
    directories: bool = True


def poetry_choice(words: Sequence[str], where: str) -> PoetryChoice:
    """``extra_args`` of ``with_poetry_project``. Raises :class:`RefusedError` for what has no place in a lock."""
    named: dict[str, set[str]] = {"wanted": set(), "left": set(), "only": set(), "extras": set()}
    flags = {"--all-groups": False, "--all-extras": False, "--no-directory": False, "--no-root": False}
    rest = list(words)
    while rest:
        name, given, value = rest.pop(0).partition("=")
        if name in _CHOOSING and (given or rest):
            texts = re.split(r"[,\s]+", value if given else rest.pop(0))
            named[_CHOOSING[name]] |= {canonicalize_name(text) for text in texts if text}
        elif name in flags:
            flags[name] = True
        elif name not in _MEANINGLESS:
            raise RefusedError(
                f"{where}: the argument `{name}` has no place in a lock",
                hint="what chooses is known: --with, --without, --only, --all-groups, --extras, --all-extras",
            )
    wanted, left, only, extras = (frozenset(named[key]) for key in ("wanted", "left", "only", "extras"))
    return PoetryChoice(
        wanted,
        left,
        only,
        extras,
        all_groups=flags["--all-groups"],
        all_extras=flags["--all-extras"],
        directories=not flags["--no-directory"],
    )


def poetry_requirements(
    pyproject: Path, lock: Path, choice: PoetryChoice, relative: Callable[[Path], str], *, installs: bool
) -> ParsedRequirements:
    """What is installed for the project of ``pyproject``; ``installs``: its own code, too. ``relative`` gives a path as
    recipes write it.

    Raises :class:`LockError` for a lock that does not answer the project, :class:`LoadError` for files that cannot be
    read, :class:`RefusedError` for a lock of another version, and for one of Poetry 1 where poetry-core is missing.
    """
    project, held = toml_document(pyproject), toml_document(lock)
    version = _check(project, held, pyproject, lock)
    groups = _groups(project, choice, pyproject)
    extras = set(_table(held, "extras")) if choice.all_extras else choice.extras
    extras = {canonicalize_name(extra) for extra in extras}
    out = ParsedRequirements()
    if version < _SAYING:
        from .poetry_older import older_rows

        for package, marker in older_rows(pyproject, lock, held, groups, extras):
            _take(package, f" ; {marker}" if marker else "", lock, choice, out, relative)
    for package in held.get("package", []) if version >= _SAYING else ():
        for marker in _markers(package, groups, extras):
            _take(package, marker, lock, choice, out, relative)
    if installs and _table(project, "tool", "poetry").get("package-mode") is not False:
        own = source_tree("./", str(pyproject), pyproject.parent, relative)
        out.sources += [own] if own is not None else []
    return out


def _take(
    package: Mapping[str, Any],
    marker: str,
    lock: Path,
    choice: PoetryChoice,
    out: ParsedRequirements,
    relative: Callable[[Path], str],
) -> None:
    name, source = canonicalize_name(str(package["name"])), _table(package, "source")
    kind, url = source.get("type", "legacy"), str(source.get("url", ""))
    hashes = [str(file.get("hash", "")).removeprefix("sha256:") for file in package.get("files", [])]
    if kind == "legacy":
        out.requirements.append(f"{name}=={package['version']}{marker}")
        out.hashes[name] = tuple(dict.fromkeys((*out.hashes.get(name, ()), *hashes)))
        if url and url not in out.extra_indexes:
            out.extra_indexes.append(url)
        return
    if kind == "directory" and not choice.directories:
        return
    if kind == "git":
        below = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
        found, commit = _SCP.fullmatch(url), source.get("resolved_reference") or source.get("reference")
        place = f"git+{f'ssh://{found[1]}/{found[2]}' if found else url}@{commit}{below}"
    elif kind == "url":
        place = url + (f"#sha256={hashes[0]}" if hashes else "")
    else:
        place = url if Path(url).is_absolute() else f"./{url}"
    tree = source_tree(f"{name} @ {place}{marker}", str(lock), lock.parent, relative)
    if tree is None:
        raise LoadError(f"{lock}: {name}: a source of the type `{kind}` is not known")
    out.sources.append(tree)


def _check(project: Mapping[str, Any], held: Mapping[str, Any], pyproject: Path, lock: Path) -> Version:
    """The lock's version."""
    stated = _table(held, "metadata")
    try:
        version = Version(str(stated.get("lock-version")))
    except InvalidVersion:
        raise LoadError(f"{lock}: expected a poetry.lock: it has no `lock-version`") from None
    if not Version("1.0") <= version < Version("3"):
        raise RefusedError(
            f"{lock}: expected a lock-version from 1.0 on, and below 3, found {version}",
            hint="run `poetry lock` with Poetry 2; or `poetry export`, and with_requirements",
        )
    if stated.get("content-hash") not in (_content(project, True), _content(project, False)):
        raise LockError(
            f"{lock}: does not answer {pyproject.name} as it is now",
            hint=f"run `poetry lock` in {pyproject.parent}, and commit the poetry.lock",
        )
    return version


def _content(document: Mapping[str, Any], groups: bool) -> str:
    """Poetry's own digest of what decides its lock; before 2.3 it was without ``[dependency-groups]``."""
    keys = ("requires-python", "dependencies", "optional-dependencies")
    project = {key: value for key in keys if (value := _table(document, "project").get(key)) is not None}
    named = _table(document, "dependency-groups") if groups else {}
    poetry = _table(document, "tool", "poetry")
    older = ("dependencies", "source", "extras", "dev-dependencies")
    own = {key: poetry.get(key) for key in older if poetry.get(key) is not None or not (project or named)}
    own |= {"group": poetry["group"]} if poetry.get("group") is not None else {}
    whole: dict[str, Any] = {"project": project} if project else {}
    whole |= {"dependency-groups": named} if named else {}
    whole = {**whole, "tool": {"poetry": own}} if whole else own
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def _groups(project: Mapping[str, Any], choice: PoetryChoice, pyproject: Path) -> frozenset[str]:
    """The groups that are installed: all that are not optional, unless the arguments say otherwise."""
    poetry = _table(project, "tool", "poetry")
    tables = _table(poetry, "group")
    optional = {
        canonicalize_name(n) for n, group in tables.items() if isinstance(group, dict) and group.get("optional") is True
    }
    every = {canonicalize_name(n) for n in (*tables, *_table(project, "dependency-groups"))} | {"main"}
    every |= {"dev"} if "dev-dependencies" in poetry else set()
    if unknown := sorted((choice.wanted | choice.left | choice.only) - every):
        raise LoadError(f"{pyproject}: no group `{unknown[0]}`; there are: {', '.join(sorted(every))}")
    wanted = every if choice.all_groups else (every - optional) | choice.wanted
    return choice.only or frozenset(wanted - choice.left)


def _markers(package: Mapping[str, Any], groups: frozenset[str], extras: set[str]) -> Iterator[str]:
    """``"; …"`` for each way in which the package is installed; nothing where it is not."""
    said = package.get("markers", "")
    mine = [group for group in package.get("groups", ["main"]) if canonicalize_name(group) in groups]
    texts = dict.fromkeys(said if isinstance(said, str) else said.get(group, "") for group in mine)

    def known(found: re.Match[str]) -> str:
        return _TRUE if (canonicalize_name(found[2]) in extras) is (found[1] == "==") else _FALSE

    if "" in texts:
        yield ""
        return
    for text in texts:
        yield f" ; {_EXTRA.sub(known, text)}"


def _table(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
