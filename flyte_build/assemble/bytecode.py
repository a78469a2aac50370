"""Layer kind ``bytecode``: what the image's interpreter made of another layer's modules, each beside its module.

The file of bytecode comes from :mod:`.compiling`, which ran as the image's own interpreter and is not believed further
than that: each path is below a folder of the layer, each file begins as PEP 552 has it for this Python. A module that
does not compile gets a whiteout, so that what a layer below has of one of the same name is not taken for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from .entries import Entry, Plain
from .errors import AssembleError

__all__ = ["RULES", "bytecode_entries"]

RULES = 1
"""The version of :mod:`.compiling`'s rules."""

_HEADER = 16
_LONGEST_LINE = 64 << 20
# importlib's magic numbers; another Python's have to agree with each other only.
_MAGIC: Mapping[str, int] = {"3.10": 3439, "3.11": 3495, "3.12": 3531, "3.13": 3571, "3.14": 3627}


def bytecode_entries(spec: Mapping[str, Any], compiled: str) -> tuple[list[Entry], list[str], list[str]]:
    """The layer's entries, the paths that it takes away, and lines for the user; ``compiled`` is the file.

    Raises :class:`AssembleError` for a file that another Python made, or that is none.
    """
    if spec["rules"] != RULES:
        raise AssembleError(f"the plan is for bytecode rules {spec['rules']}, these are rules {RULES}: derive it again")
    with open(compiled, "rb") as f:
        head = f.readline(_LONGEST_LINE)
        start, end = f.tell(), os.fstat(f.fileno()).st_size
        magic, rows = _head(head, spec, compiled)
        tag = f"cpython-{spec['python'].replace('.', '')}"
        folders = tuple(f"{folder.strip('/')}/" for folder in spec["folders"])
        entries: list[Entry] = []
        removed: list[str] = []
        broken: list[str] = []
        for path, size in rows:
            if not path.startswith(folders) or not path.endswith(".py"):
                raise AssembleError(f"`{path}` is no module below {', '.join(spec['folders'])}", compiled)
            folder, _, name = path.rpartition("/")
            kept = f"{folder}/__pycache__/{name[:-3]}.{tag}.pyc"
            if not size:
                removed.append(kept)
                broken += [name] if size is None else []
                continue
            f.seek(start)
            header = f.read(_HEADER)
            if size < _HEADER or start + size > end or header[:8] != magic + b"\1\0\0\0":
                raise AssembleError(f"`{path}`: expected bytecode of Python {spec['by']} (PEP 552)", compiled)
            entries.append(Entry(kept, "file", 0o644, (Plain(compiled, start, size),)))
            start += size
    if start != end:
        raise AssembleError(f"expected {start} bytes of bytecode, found {end}", compiled)
    lines = [f"{spec['title']}: {_some(broken)} left out, being no Python {spec['python']}"] if broken else []
    return entries or [_nothing(spec)], removed, lines


def _head(line: bytes, spec: Mapping[str, Any], compiled: str) -> tuple[bytes, list[tuple[str, int | None]]]:
    """The magic number and the rows, by path, each once."""
    try:
        head = json.loads(line)
        version, magic = str(head["version"]), bytes.fromhex(head["magic"])
        rows = [(str(path), None if size is None else int(size)) for path, size in head["rows"]]
    except (ValueError, KeyError, TypeError):
        raise AssembleError("expected what `compiling.py` writes", compiled) from None
    wanted = re.match(r"\d+\.\d+\.\d+", spec["by"])
    known = _MAGIC.get(spec["python"])
    if wanted is None or version != wanted[0]:
        raise AssembleError(f"expected bytecode of Python {spec['by']}, found that of {version}", compiled)
    if len(magic) != 4 or magic[2:] != b"\r\n" or known not in (None, int.from_bytes(magic[:2], "little")):
        raise AssembleError(f"expected the magic number of Python {spec['python']}, found {magic.hex()}", compiled)
    paths = [path for path, _ in rows]
    if paths != sorted(set(paths)):
        raise AssembleError("expected modules by path, each once", compiled)
    return magic, rows


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(f'`{name}`' for name in names[:3])}{more}"


def _nothing(spec: Mapping[str, Any]) -> Entry:
    """What is in a layer of no module: nodes that stream images take neither an empty layer nor one twice."""
    of = json.dumps(spec["of"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    name = hashlib.sha256(of.encode()).hexdigest()[:16]
    return Entry(f"{spec['folders'][0].strip('/')}/__pycache__/{name}.none", "file", 0o644)
