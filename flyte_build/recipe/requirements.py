"""Requirements as users write them (a requirements file, a script's PEP 723 block) → PEP 508 strings.

Only what a lock can answer is accepted; every other line or option is an error that names its place,
never skipped. The requirements file format is pip's (pip documentation, "Requirements File Format").
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..kernel.errors import LoadError, RefusedError
from ..kernel.values import dataclass, field, replace
from .located import SourceTree
from .source_trees import source_tree

__all__ = [
    "ParsedRequirements",
    "normalise",
    "parse_requirements",
    "parse_requirements_file",
    "parse_script",
    "script_document",
]

Relative = Callable[[Path], str]

_COMMENT = re.compile(r"(^|\s)#.*$")
# What pip takes in place of a name: an address, that of a repository, a file or a folder.
_LOCATION = re.compile(
    r"[a-z][a-z0-9+.-]*://|(git|hg|svn|bzr)\+|file:|\.{0,2}/|\S+\.(whl|tar\.gz|zip)(\s|$)", re.IGNORECASE
)


@dataclass(slots=True)
class ParsedRequirements:
    """What a requirements file asks for; ``hashes`` maps a normalised name to the SHA-256 it allows."""

    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    index: str | None = None
    extra_indexes: list[str] = field(default_factory=list)
    pre: bool = False
    hashes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: list[SourceTree] = field(default_factory=list)


def normalise(text: str, where: str) -> str:
    """The PEP 508 string of ``text`` in one spelling; raises :class:`LoadError` naming ``where``, and
    :class:`RefusedError` for what is installed from a location."""
    try:
        requirement = Requirement(text.strip())
    except InvalidRequirement as e:
        if _LOCATION.match(text.strip()):
            raise _from_location(text, where) from None
        reason = str(e).splitlines()[0]
        raise LoadError(
            f"{where}: `{text.strip()}` is not a requirement: {reason}",
            hint="write it as PEP 508 does, for example `pandas>=2,<3` or `torch==2.5.1`",
        ) from None
    if requirement.url is not None:
        raise _from_location(text, where)
    requirement.name = canonicalize_name(requirement.name)
    return str(requirement)


def _from_location(text: str, where: str) -> RefusedError:
    shown = re.sub(r"(://)[^/\s@]+@", r"\1***@", text.strip())
    return RefusedError(
        f"{where}: `{shown}` installs from a location, which a lock cannot name (law 1)",
        hint="a wheel or source archive by its address, `git+https://…@rev`, `./folder` and `./file.whl` are locked; "
        "else publish it to an index",
    )


def _logical_lines(path: Path) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    pending, start = "", 0
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not pending:
            start = number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        text = _COMMENT.sub("", pending + line).strip()
        pending = ""
        if text:
            lines.append((start, _expanded(text)))
    if pending.strip():
        lines.append((start, _expanded(_COMMENT.sub("", pending).strip())))
    return lines


def _expanded(line: str) -> str:
    """With the variables of the environment, where tokens are (pip documentation, "Using environment variables")."""
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda m: os.environ.get(m[1]) or m[0], line)


def parse_requirements(texts: Iterable[str], where: str, base: Path, relative: Relative) -> ParsedRequirements:
    """Requirements one by one; ``base`` is where their relative paths start, ``relative`` gives one as recipes do."""
    out = ParsedRequirements()
    for text in texts:
        if (source := source_tree(text, where, base, relative)) is not None:
            out.sources.append(source)
        else:
            out.requirements.append(normalise(text, where))
    return out


def parse_requirements_file(path: Path, relative: Relative, _seen: frozenset[Path] = frozenset()) -> ParsedRequirements:
    """Read ``path`` with the files it includes (``-r``, ``-c``); ``relative`` gives a path as recipes write it."""
    if path.resolve() in _seen:
        raise LoadError(f"{path}: includes itself")
    out = ParsedRequirements()
    try:
        lines = _logical_lines(path)
    except (OSError, UnicodeDecodeError) as e:
        raise LoadError(f"{path}: cannot be read: {e}") from None
    for number, line in lines:
        where = f"{path}:{number}"
        if line.startswith("-"):
            _option(shlex.split(line), path, where, out, relative, _seen | {path.resolve()})
            continue
        text, *options = re.split(r"\s(?=--)", line)
        hashes = tuple(_hash(option.strip(), where) for option in options)
        if (source := source_tree(text, where, path.parent, relative)) is not None:
            out.sources.append(_hashed(source, hashes, where))
            continue
        requirement = normalise(text, where)
        out.requirements.append(requirement)
        if hashes:
            name = canonicalize_name(Requirement(requirement).name)
            out.hashes[name] = (*out.hashes.get(name, ()), *hashes)
    return out


def _hash(option: str, where: str) -> str:
    m = re.fullmatch(r"--hash[= ]sha256:([0-9a-f]{64})", option)
    if not m:
        raise RefusedError(f"{where}: the option `{option}` has no place in a lock")
    return m[1]


def _hashed(source: SourceTree, hashes: tuple[str, ...], where: str) -> SourceTree:
    """``source`` with the hash that its line asks for."""
    if not hashes:
        return source
    if source.url is None or len(hashes) > 1 or source.sha256 not in (None, hashes[0]):
        raise RefusedError(
            f"{where}: {source.title}: expected one --hash, of a file by its address",
            hint="a repository is pinned by its commit, and a folder by the digest of its files: leave --hash out",
        )
    return replace(source, sha256=hashes[0])


def _option(
    words: list[str], path: Path, where: str, out: ParsedRequirements, relative: Relative, seen: frozenset[Path]
) -> None:
    name, _, value = words[0].partition("=")
    if not value and len(words) == 2:
        value = words[1]
    if name in ("-r", "--requirement", "-c", "--constraint") and value:
        inner = parse_requirements_file(path.parent / value, relative, seen)
        if name in ("-c", "--constraint"):
            if inner.sources:
                raise _from_location(f"{inner.sources[0].title} in {value}", where)
            out.constraints += inner.requirements
        else:
            out.requirements += inner.requirements
            out.sources += inner.sources
        out.constraints += inner.constraints
        out.extra_indexes += inner.extra_indexes
        out.index = inner.index or out.index
        out.pre = out.pre or inner.pre
        out.hashes |= inner.hashes
    elif name in ("-i", "--index-url") and value:
        out.index = value
    elif name == "--extra-index-url" and value:
        out.extra_indexes.append(value)
    elif name == "--pre":
        out.pre = True
    elif name in ("--only-binary", "--prefer-binary", "--require-hashes"):
        return  # a lock always does
    else:
        raise RefusedError(
            f"{where}: the option `{' '.join(words)}` has no place in a lock",
            hint="supported: -r, -c, --index-url, --extra-index-url, --pre, --hash",
        )


def _dependencies(values: Any, where: str, base: Path, relative: Relative) -> ParsedRequirements:
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise LoadError(f"{where}: expected an array of requirement strings, found {values!r}")
    return parse_requirements(values, where, base, relative)


def _script_block(text: str, script: Path) -> str:
    """The TOML between ``# /// script`` and the last ``# ///`` of the comment lines that follow (PEP 723)."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.rstrip() == "# /// script"]
    blocks: list[list[str]] = []
    for start in starts:
        end = start + 1
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        closing = max((i for i in range(start + 1, end) if lines[i].rstrip() == "# ///"), default=None)
        if closing is not None:
            blocks.append([line[2:] for line in lines[start + 1 : closing]])
    if len(blocks) != 1:
        raise LoadError(f"{script}: expected one `# /// script` block (PEP 723), found {len(blocks)}")
    return "\n".join(blocks[0])


def script_document(script: Path) -> dict[str, Any]:
    """The TOML of a script's PEP 723 block; raises :class:`LoadError`."""
    try:
        text = script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise LoadError(f"{script}: cannot be read: {e}") from None
    content = _script_block(text, script)
    try:
        return tomllib.loads(content)
    except (ValueError, RecursionError) as e:
        raise LoadError(f"{script}: the script block is not TOML: {e}") from None


def parse_script(script: Path, document: Mapping[str, Any], relative: Relative) -> ParsedRequirements:
    """The dependencies of a script's PEP 723 block, which says nothing else that uv would have to judge."""
    return _dependencies(document.get("dependencies", []), f"{script}: dependencies", script.parent, relative)
