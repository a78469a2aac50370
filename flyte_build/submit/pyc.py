"""Files of bytecode: which are sound, and their way from where they were made to a layer's side, and into a root.

What an image's interpreter wrote is opened through the door, and goes where its module is from (see ``bytecode``).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..native.lying import lie
from ..store.locks import held
from ..store.seal_files import remove_seal
from ..store.sealed import Examiner, records
from . import door
from .imports import CACHE
from .unpack import place, remove

__all__ = ["bytecode_of", "cached", "chained", "keep", "kept_at", "linked", "same", "sound_bytecode", "spread"]

_UNCHECKED = 0b01
_HEADER = 16


def same(one: Path | str, other: Path | str) -> bool:
    """Whether both are one file, and not a link to one."""
    try:
        a, b = os.lstat(one), os.lstat(other)
    except OSError:
        return False
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def cached(module: str, tag: str) -> str:
    """Where the bytecode of ``module`` lies below the folder that the module does."""
    folder, _, name = module.lstrip("/").rpartition("/")
    return f"{folder}/{CACHE}/{name[:-3]}.{tag}.pyc"


def kept_at(beside: Path, module: str, tag: str) -> Path:
    """Where the bytecode of ``module`` (a path inside) lies or would lie in ``beside``."""
    return beside / cached(module, tag)


def sound_bytecode(header: bytes, magic: str, source: bytes) -> bool:
    """Whether a file of bytecode begins as ours does: ``magic`` (hex), unchecked hash, the source's hash (PEP 552).

    The hash is one that only an interpreter of that magic number makes: where ours has another one, it goes unchecked.
    """
    if len(header) < _HEADER or header[:4].hex() != magic or header[2:4] != b"\r\n":
        return False
    if int.from_bytes(header[4:8], "little") != _UNCHECKED:
        return False
    return header[:4] != importlib.util.MAGIC_NUMBER or header[8:16] == importlib.util.source_hash(source)


def keep(work: Path, layer: Path, beside: Path, modules: Sequence[str], tag: str, magic: str) -> int:
    """Give each sound file of bytecode in ``work`` to the layer its module is from; how many."""
    count = 0
    with door.folder(work) as made:
        for module in modules:
            kept = kept_at(beside, module, tag)
            if kept.exists():
                continue
            with suppress(FileNotFoundError, door.Refused), door.open_file(made, f"out/{cached(module, tag)}") as f:
                if not sound_bytecode(os.pread(f, _HEADER, 0), magic, (layer / module[1:]).read_bytes()):
                    continue
                kept.parent.mkdir(parents=True, exist_ok=True)
                with door.folder(kept.parent) as into:
                    door.copy_to(f, into, kept.name)
                # Of a date that no later change has.
                os.utime(kept, (0, 0))
                count += 1
    return count


def spread(beside: Path, layer: Path, root: Path) -> None:
    """Put the bytecode of ``layer`` in ``beside`` to its modules in ``root``, as hard links."""
    for folder, _, files in os.walk(beside):
        below = os.path.relpath(folder, beside)
        into, above = f"{root}/{below}", os.path.dirname(below)
        if not files or os.path.islink(into):
            continue
        ours, theirs = _modules(f"{layer}/{above}"), _modules(f"{root}/{above}")
        for name in files:
            module = f"{name.partition('.')[0]}.py"
            # Only for the very file it was made from: a later layer may have replaced the module.
            if module in theirs and ours.get(module) == theirs[module]:
                with suppress(FileExistsError):
                    os.mkdir(into)
                with suppress(FileExistsError):
                    _link(f"{folder}/{name}", f"{into}/{name}")


def _modules(folder: str) -> dict[str, tuple[int, int]]:
    """Device and inode of each module in a folder, by name; none where it is a link, or no folder."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return {}
    device = os.lstat(folder).st_dev
    with os.scandir(folder) as entries:
        return {entry.name: (device, entry.inode()) for entry in entries if entry.name.endswith(".py")}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        place(Path(source), Path(target))


def chained(layer: Path, chain: str) -> Path:
    """The folder beside an unpacked ``layer`` that has its modules' bytecode by ``chain`` (hex)."""
    return layer.with_name(f"{layer.name}.{chain}")


def bytecode_of(layer: Path, chain: str) -> str:
    """What that folder's seal is of."""
    return f"bytecode of sha256:{layer.name} by sha256:{chain}"


def linked(layer: Path, chain: str, root: Path, locks: Path) -> Mapping[str, str]:
    """Link the layer's bytecode to its modules in the root; what is not as it was sealed is thrown away.

    How its files lie → their SHA-256 in hex; ``locks`` is the folder of locks.
    """
    beside = chained(layer, chain)
    with held(locks / f"layer-{layer.name}"):
        if not os.path.lexists(beside):
            return {}
        if Examiner(lister=lie).look(beside, bytecode_of(layer, chain), full=True):
            remove_seal(beside)
            remove(beside)
            return {}
        spread(beside, layer, root)
        return records(beside)
