"""What importing a module leads to, read from sources: what is worth compiling before a run begins.

Told by text alone, in a time that the bytes bound: import statements at a module's top, and in its ``try``, ``with``
and ``if`` there, but for what only type checkers see. Which names are made up at run time nobody can tell: such modules
are only slower. Never runs or parses anything; strangers' sources can make it name modules, and nothing else.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from ..kernel.errors import FlyteBuildError
from .unpack import scoped

__all__ = ["CACHE", "LARGEST", "RUNTIME", "imported_by_bundle", "modules_below", "names_in", "names_of", "reached"]

CACHE = "__pycache__"

RUNTIME = (
    "certifi", "concurrent.futures.thread", "encodings.utf_8", "h11", "httpcore", "httpx", "runpy", "site", "sysconfig",
    "flyte._bin.runtime", "flyte._internal.controllers.remote._client", "flyte._internal.imagebuild.image_builder",
    "flyte._internal.resolvers.default", "flyte._internal.runtime.entrypoints", "flyte._utils.asyncify", "flyte.git",
    "flyte.remote._client.auth._interceptors.default_metadata", "flyte.remote._client.auth._interceptors.retry",
    "flyte.remote._client.controlplane", "flyteidl2.actions.actions_service_connect", "rich.logging",
    "flyteidl2.workflow.queue_service_connect", "flyteidl2.workflow.state_service_connect", "pydantic.main",
    "opentelemetry.baggage.propagation", "opentelemetry.context.contextvars_context", "opentelemetry.metrics",
    "opentelemetry.propagate", "opentelemetry.trace.propagation.tracecontext", "pyqwest", "pyqwest._glue",
)  # fmt: skip
"""What leads to all that the stock runtime imports in an action; found by running it, for not all is said in texts."""

# More than any module that somebody wrote by hand; what is longer is not looked into.
LARGEST = 4 << 20
_STATEMENT = re.compile(rb"\n([ \t]*)(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\(?)|import[ \t]+(?=\w))")
_NAME = re.compile(r"\w+(?:\.\w+)*")
_BLOCKS = (b"try:", b"except", b"else:", b"finally:", b"if ", b"elif ", b"with ")
_ENDS_LINE = re.compile(rb"\\\r?\n|[\n;#]")


def names_in(source: bytes, package: str, *, deep: bool = False) -> Iterator[str]:
    """The modules that ``source``, in ``package``, names in imports; ``from a import b`` names ``a`` and ``a.b``.

    ``deep``: those within functions, too.
    """
    source = b"\n" + source
    at, hit, blocks = 0, 0, _Blocks(source)
    # By the word that all of them have: an expression is tried where it is, not in every line.
    while (hit := source.find(b"import", hit)) >= 0:
        line = source.rfind(b"\n", 0, hit)
        hit += 6
        if line < at or (found := _STATEMENT.match(source, line)) is None:
            continue
        indent, above, opened, at = found[1], found[2], found[3], found.end()
        if indent and not deep and not blocks.runs(found.start() + 1):
            continue
        if opened:
            end = source.find(b")", at)
            if end < 0:
                return
        else:
            end = _end_of_line(source, at)
        words = [_first_word(part) for part in source[at:end].split(b",")]
        at = hit = end
        if above is None:
            yield from (word for word in words if word)
            continue
        base = _resolved(above.decode(errors="replace"), package)
        if base:
            yield base
            yield from (f"{base}.{word}" for word in words if word)


class _Blocks:
    """Which indented lines of a source run whenever it is imported. Asked of lines in order."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._last, self._answer = 0, False

    def runs(self, line: int) -> bool:
        """Whether the unindented line above the one that begins at ``line`` opens a block that always runs."""
        at = line
        while at > self._last:
            at = self._source.rfind(b"\n", 0, at - 1) + 1
            if self._source[at : at + 1] not in (b" ", b"\t", b"\n", b"\r", b"#", b")"):
                text = self._source[at : at + 80]
                self._answer = text.startswith(_BLOCKS) and b"TYPE_CHECKING" not in text
                break
        self._last = line
        return self._answer


def _end_of_line(source: bytes, at: int) -> int:
    while found := _ENDS_LINE.search(source, at):
        if not found[0].startswith(b"\\"):
            return found.start()
        at = found.end()
    return len(source)


def _first_word(part: bytes) -> str:
    """``name`` of ``name as other  # and a remark``, which may begin with remarks on lines of their own."""
    lines = (line.partition(b"#")[0].strip(b" \t\r\\") for line in part.split(b"\n"))
    word = next((line for line in lines if line), b"").decode(errors="replace").split(None, 1)[:1]
    return word[0] if word and _NAME.fullmatch(word[0]) else ""


def _resolved(name: str, package: str) -> str:
    """The absolute name of what is imported from ``name``, ``""`` where there is none."""
    below = name.lstrip(".")
    dots = len(name) - len(below)
    if not dots:
        return name
    parts = package.split(".")
    if not package or dots > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - dots + 1], *([below] if below else [])])


def reached(
    starts: Collection[str], modules: Mapping[str, str], names: Callable[[str, str], Collection[str]]
) -> set[str]:
    """The paths of ``modules`` (name → path; a package's ends with ``/__init__.py``) that importing ``starts`` reads.

    ``names`` tells what the module at a path, in a package, imports.
    """
    out: set[str] = set()
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        whole = waiting.pop()
        if whole in seen:
            continue
        parts = whole.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in seen:
                continue
            # Most names are of no module, and come again and again.
            seen.add(name)
            path = modules.get(name)
            if path is not None:
                out.add(path)
                waiting.extend(names(path, name if path.endswith("/__init__.py") else name.rpartition(".")[0]))
    return out


def names_of(handle: int, package: str) -> tuple[str, ...]:
    """What the module that is open as ``handle`` names; nothing of one that is larger than anybody writes."""
    source = os.pread(handle, LARGEST + 1, 0)
    return tuple(dict.fromkeys(names_in(source, package))) if len(source) <= LARGEST else ()


def modules_below(root: Path, path: str, tag: str) -> Iterator[tuple[str, str, bool]]:
    """Name, path inside and whether there is bytecode, of the modules below ``path``, an entry of an image's search
    path; ``tag`` is its Python's. Links are not followed, but those that lead there."""
    try:
        top = scoped(root, path, follow=True)
    except (FlyteBuildError, ValueError):
        return
    if top == root or not top.is_dir():
        return
    for folder, names, files in os.walk(top):
        names[:] = [n for n in names if n != CACHE]
        cache = os.path.join(folder, CACHE)
        have = set(os.listdir(cache)) if os.path.isdir(cache) and not os.path.islink(cache) else set()
        inside = "/" + os.path.relpath(folder, root)
        package = os.path.relpath(folder, top).replace("/", ".").removeprefix(".")
        for name in files:
            if name.endswith(".py") and "\n" not in name:
                parts = [p for p in (package, name[:-3]) if p and p != "__init__"]
                yield ".".join(parts), f"{inside}/{name}", f"{name[:-3]}.{tag}.pyc" in have


def imported_by_bundle(bundle: Path) -> frozenset[str]:
    """What the modules of a code bundle (.tgz) import, functions included: its tasks are about to be called."""
    out: set[str] = set()
    with tarfile.open(bundle, "r:*") as tar:
        for member in tar:
            if member.isreg() and member.name.endswith(".py") and member.size <= LARGEST:
                content = tar.extractfile(member)
                assert content is not None
                out.update(names_in(content.read(), "", deep=True))
    return frozenset(out)
