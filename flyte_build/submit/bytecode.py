"""Compile an image's modules once, on this machine, so that every task imports them fast.

Locks and images hold no bytecode of ours to trust: here an image's own interpreter makes it, inside a sandbox without
network, into ``__pycache__`` folders with unchecked hashes (PEP 552: no dates to compare). A module that does not
compile is skipped.

What is made of a layer's modules is kept beside that layer, in ``<diff hex>.<chain>``, sealed, and shared by the images
that have the layer and the chain: the lowest layers of the image, up to those that Python is in. The interpreter runs
over them alone and has one layer's modules before it as data. So no other layer, of this image or of another one,
has a say in what an image gets; and an interpreter that lies, lies to the images that were made on it.

Worth it: importing the runtime took 1.3 s without and 0.34 s with it, in every fresh sandbox, for 2.4 s once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from ..kernel.errors import FlyteBuildError
from ..kernel.quantities import counted
from ..kernel.reporting import Reporter
from ..kernel.values import dataclass, field
from ..store.locks import held
from ..store.seal_files import remove_seal
from ..store.sealed import seal
from .imports import modules_below, names_of, reached
from .lending import MARK
from .pyc import bytecode_of, chained, keep, kept_at, linked, same
from .sandbox.engines import init_mount, popen
from .sandbox.spec import Engine, Mount, Sandbox, Tmpfs
from .unpack import remove_tree, scoped

__all__ = ["Compiler"]

TIMEOUT_SECONDS = 900
# Seconds between looks whether it is wanted still.
_LOOK = 0.2
_SOURCES = "/mnt/flyte"
_TAG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_CHAINED = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{64}")
# Of the standard library, what starting and compiling takes: they may lie in another layer than the interpreter.
_NEEDED = ("encodings/__init__.py", "contextlib.py", "importlib/util.py")
_START = "import importlib.util, marshal, os, sys"
# Run by the image's interpreter: compiles the modules named in the file that is its first argument, one a line, from
# below the folder that is its second, each into the same path below the third; prints the magic number. As py_compile
# does it, which imports, here without bytecode, more than there mostly is to compile; so does what starts processes.
_COMPILE = (
    _START
    + """
HEAD = importlib.util.MAGIC_NUMBER + b"\\1\\0\\0\\0"
def one(path):
    folder, name = os.path.split(path)
    made = f"{sys.argv[3]}{folder}/__pycache__/{name[:-3]}.{sys.implementation.cache_tag}.pyc"
    try:
        with open(sys.argv[2] + path, "rb") as f:
            source = f.read()
        code = marshal.dumps(compile(source, path, "exec", dont_inherit=True))
        os.makedirs(os.path.dirname(made), exist_ok=True)
        with open(made + ".partial", "wb") as f:
            f.write(HEAD + importlib.util.source_hash(source) + code)
        os.replace(made + ".partial", made)
    except Exception:
        pass
with open(sys.argv[1], encoding="utf-8", errors="surrogateescape") as f:
    paths = f.read().splitlines()
share = max(1, min(os.cpu_count() or 1, len(paths) // 25))
others = []
for number in range(1, share):
    others.append(os.fork())
    if not others[-1]:
        list(map(one, paths[number::share]))
        os._exit(0)
list(map(one, paths[::share]))
if any(os.waitpid(other, 0)[1] for other in others):
    sys.exit(1)
print(importlib.util.MAGIC_NUMBER.hex())
"""
)
_ASK = "import sys; print(sys.implementation.cache_tag); print(*[p for p in sys.path if p], sep='\\n')"


@dataclass(frozen=True, slots=True)
class Compiler:
    """For the image whose layers' folders are ``layers``, the lowest first, merged into ``root``.

    ``python`` is its interpreter, a path inside. ``lowest`` holds a function that gives a root of the image's lowest
    layers, as many as it is asked for, more each time. ``locks`` is the folder of locks. ``imports`` are modules that
    are about to be imported: they and what they import are compiled; ``None``: all that there is. Once ``left``
    says so, nothing more is wanted, and what runs is ended. ``read`` keeps what files import, for the next one.
    """

    engine: Engine
    root: Path
    python: str
    layers: Sequence[Path]
    lowest: Callable[[], AbstractContextManager[Callable[[int], Path]]]
    locks: Path
    reporter: Reporter
    imports: Collection[str] | None = None
    left: Callable[[], bool] = bool
    read: dict[tuple[int, str], tuple[str, ...]] = field(default_factory=dict)

    def fill(self, *, compiling: bool = True) -> Mapping[str, str]:
        """Put into ``root`` the bytecode that its layers' modules lack; how the files lie → their SHA-256 in hex.

        Without ``compiling`` it is what is there of it already. Never fails the caller: it only says so.
        """
        found = self._asked() if compiling or self.kept() else None
        if found is None:
            return {}
        tag, paths = found
        least = self._interpreter(paths)
        out: dict[str, str] = {}
        for layer in self.layers:
            for count in range(least, len(self.layers) + 1):
                out |= linked(layer, self._chain(count), self.root, self.locks)
        if compiling and (chain := self._made(tag, paths, least)) is not None:
            # After all of it: what was made of one layer has no say in the next one's.
            out |= self.put(chain)
        return out

    def make(self) -> str | None:
        """Make the bytecode that is lacking, and give what :meth:`put` is to be told.

        ``None``: nothing is lacking, or none can be made. ``root`` stays as it is: it may be in use.
        """
        found = self._asked()
        return None if found is None else self._made(*found, self._interpreter(found[1]))

    def put(self, chain: str) -> Mapping[str, str]:
        """As :meth:`fill`, of what was made by ``chain``."""
        out: dict[str, str] = {}
        for layer in self.layers:
            out |= linked(layer, chain, self.root, self.locks)
        return out

    def _asked(self) -> tuple[str, list[str]] | None:
        """How the image's Python calls its bytecode, and where it looks for modules: it names what is in its image."""
        asked = _run(self.engine, self.root, self.python, ["-c", _ASK], left=self.left)
        if self.left():
            return None
        if asked is None or not asked.strip():
            self.reporter.warn(
                "the image's Python does not start alone, so its modules are compiled by every task anew"
            )
            return None
        tag, *paths = asked.splitlines()
        return (tag, paths) if _TAG.fullmatch(tag) else None

    def kept(self) -> bool:
        """Whether there is bytecode of any of the layers that was not borrowed."""
        names = {layer.name for layer in self.layers}
        there = (name for folder in {layer.parent for layer in self.layers} for name in os.listdir(folder))
        mine = (name.partition(".") for name in there if _CHAINED.fullmatch(name))
        return any(layer in names and chain != MARK for layer, _, chain in mine)

    def _made(self, tag: str, paths: Sequence[str], least: int) -> str | None:
        """Make what is lacking; by which chain, ``None`` where it is nothing, or nothing can be made."""
        wanted = self._wanted(paths, tag)
        mine = [(layer, [m for m in wanted if same(layer / m[1:], self.root / m[1:])]) for layer in self.layers]
        python = self._at(self.python)
        if python is None or not any(modules for _, modules in mine):
            return None
        if (chain := self._all_made(mine, tag, least)) is not None:
            return chain
        inside = "/" + str(python.relative_to(self.root))
        title = f"compile {counted(len(wanted), 'module')} of image {self.root.name[:12]}"
        with self.lowest() as lowest, self.reporter.work(title):
            if (found := self._start(inside, least, lowest)) is None:
                return None
            chain, small = found
            for layer, modules in mine:
                # Another image may have had it made meanwhile.
                lacking = [m for m in modules if not kept_at(chained(layer, chain), m, tag).exists()]
                if lacking and not self.left():
                    self._compile(small, inside, layer, lacking, tag, chain)
            return chain

    def _all_made(self, mine: Sequence[tuple[Path, list[str]]], tag: str, least: int) -> str | None:
        """The shortest chain by which there is bytecode of all these modules of layers already, for another image."""
        for count in range(least, len(self.layers) + 1):
            chain = self._chain(count)
            if all(kept_at(chained(layer, chain), m, tag).exists() for layer, modules in mine for m in modules):
                return chain
        return None

    def _start(self, python: str, least: int, lowest: Callable[[int], Path]) -> tuple[str, Path] | None:
        """The shortest chain of lowest layers over which the interpreter starts, and a root of it."""
        for count in range(least, len(self.layers) + 1):
            small = lowest(count) if count < len(self.layers) else self.root
            if _run(self.engine, small, python, ["-S", "-c", _START], left=self.left) is not None:
                return self._chain(count), small
        return None

    def _chain(self, count: int) -> str:
        return hashlib.sha256("\n".join(layer.name for layer in self.layers[:count]).encode()).hexdigest()

    def _interpreter(self, paths: Sequence[str]) -> int:
        """How many of the lowest layers, at least, have all that the interpreter needs."""
        owners = [self._owner(self.python)]
        for name in _NEEDED:
            there = [owner for path in paths if (owner := self._owner(f"{path}/{name}")) is not None]
            owners.append(there[0] if there else None)
        return max(len(self.layers) - 1 if owner is None else owner for owner in owners) + 1

    def _at(self, path: str) -> Path | None:
        """The regular file at ``path`` of the root, with every link followed inside; ``None``: there is none."""
        with suppress(FlyteBuildError, OSError, ValueError):
            found = scoped(self.root, path, follow=True)
            return found if found.is_file() and not found.is_symlink() else None
        return None

    def _owner(self, path: str) -> int | None:
        """The layer that the file at ``path`` is from."""
        found = self._at(path)
        for number, layer in enumerate(self.layers):
            if found is not None and same(layer / found.relative_to(self.root), found):
                return number
        return None

    def _wanted(self, paths: Sequence[str], tag: str) -> list[str]:
        """The modules without bytecode that are to get it, as paths inside."""
        found = [module for path in paths for module in modules_below(self.root, path, tag)]
        lacking = {path for _, path, compiled in found if not compiled}
        if self.imports is not None:
            # The first of a name is the one that is imported.
            first = {name: path for name, path, _ in reversed(found)}
            lacking &= reached(self.imports, first, self._names)
        return sorted(lacking)

    def _names(self, path: str, package: str) -> tuple[str, ...]:
        """What the module at ``path`` imports; images share files, and a file is read once."""
        try:
            handle = os.open(self.root / path[1:], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return ()
        try:
            key = (os.fstat(handle).st_ino, package)
            if key not in self.read:
                self.read[key] = names_of(handle, package)
            return self.read[key]
        finally:
            os.close(handle)

    def _compile(self, small: Path, python: str, layer: Path, modules: Sequence[str], tag: str, chain: str) -> None:
        """Fill the folder of bytecode beside ``layer`` with that of its ``modules``, by ``python`` in ``small``."""
        work = self.root.with_name(f"{self.root.name.removesuffix('.partial')}.compile.partial")
        remove_tree(work)
        (work / "out").mkdir(parents=True)
        try:
            (work / "compile.py").write_text(_COMPILE)
            (work / "modules").write_text("\n".join(modules), errors="surrogateescape")
            mounts = (Mount(work, "/tmp", writable=True), Mount(layer, _SOURCES))
            # Without `site`: a wheel's .pth file has no say in what becomes of other wheels' modules.
            arguments = ["-S", "/tmp/compile.py", "/tmp/modules", _SOURCES, "/tmp/out"]
            magic = _run(self.engine, small, python, arguments, mounts, left=self.left)
            beside = chained(layer, chain)
            with held(self.locks / f"layer-{layer.name}"):
                if keep(work, layer, beside, modules, tag, (magic or "").strip()):
                    remove_seal(beside)
                    seal(beside, beside, bytecode_of(layer, chain), (), lambda _: None)
        finally:
            remove_tree(work)


def _run(
    engine: Engine,
    root: Path,
    python: str,
    arguments: list[str],
    mounts: tuple[Mount, ...] = (),
    *,
    left: Callable[[], bool],
) -> str | None:
    """What the interpreter printed; ``None`` where it failed, or was ended. It may write to what is mounted so only."""
    box = Sandbox(root, python, (init_mount(), *mounts), (Tmpfs("/run"), Tmpfs("/dev/shm")), network="none")
    header = {"argv": [python, "-I", *arguments], "env": {"PATH": "/usr/bin:/bin"}, "cwd": "/"}
    try:
        child = popen(engine, box, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(header).encode() + b"\n")
            latest = time.monotonic() + TIMEOUT_SECONDS
            while True:
                with suppress(subprocess.TimeoutExpired):
                    code = child.wait(_LOOK)
                    return child.stdout.read().decode() if code == 0 else None
                if left() or time.monotonic() > latest:
                    return None
        except (BrokenPipeError, UnicodeDecodeError):
            return None
        finally:
            child.kill()
