"""Layers of bytecode: which there are, what each is of, and by which interpreter it is made. Pure.

Such a layer is a function of the layer that its modules are in, whole, as data (``of``), and of the interpreter's
version with its packaging (``by``): what ``compile`` gives is the same on every platform (``docs/bytecode.md``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ..kernel.canonical import Json
from ..locks.nouns import LockedPlatform
from ..recipe import Recipe
from .nouns import FileEntry, LayerDerivation
from .pythons import PREFIX
from .specs import layer_of

__all__ = [
    "RULES",
    "bytecode_layer",
    "interpreter_layers",
    "interpreter_of",
    "replaced_layer",
    "site_packages",
    "source_of",
    "standard_library",
]

RULES = 1
"""The rules of compiling and encoding: raised where the same modules would give other bytes."""

_INTERPRETER_KINDS = ("debian", "python", "system")
_ARCHIVE = re.compile(r"cpython-(\d+\.\d+\.\d+[^-]*)-.*")


def interpreter_of(locked: LockedPlatform, python: str) -> str:
    """Which interpreter the image has: Debian's version of it, or that of the relocatable build."""
    if locked.python is not None:
        found = _ARCHIVE.fullmatch(locked.python.file)
        return found[1] if found else locked.python.version
    return next((deb.version for deb in locked.debs if deb.name == f"python{python}"), python)


def standard_library(locked: LockedPlatform, python: str) -> str:
    """The folder of the interpreter's own modules."""
    return f"{PREFIX}/lib/python{python}" if locked.python is not None else f"/usr/lib/python{python}"


def site_packages(venv: str, python: str) -> str:
    return f"{venv}/lib/python{python}/site-packages"


def bytecode_layer(of: LayerDerivation, python: str, by: str, folder: str) -> LayerDerivation:
    """The bytecode of the modules that ``of`` has below ``folder``."""
    source: dict[str, Json] = {key: value for key, value in of.spec.items() if key != "title"}
    title = f"bytecode of {of.title}"
    return layer_of("bytecode", title, [], python=python, by=by, folders=[folder], rules=RULES, of=source)


def interpreter_layers(layers: Sequence[LayerDerivation]) -> list[LayerDerivation]:
    """Those of an image's layers that its interpreter needs to start, lowest first."""
    return [layer for layer in layers if layer.kind in _INTERPRETER_KINDS]


def replaced_layer(
    files: Iterable[Sequence[FileEntry]], recipe: Recipe, locked: LockedPlatform, venv: str
) -> list[LayerDerivation]:
    """What takes the bytecode of modules away that the copies ``files`` put others in the place of: nobody would look
    whether it is theirs. One layer, or none."""
    python = str(recipe.python)
    folders = tuple(f"{x.strip('/')}/" for x in (standard_library(locked, python), site_packages(venv, python)))
    paths = {entry.path for entries in files for entry in entries}
    replaced = sorted(path for path in paths if path.endswith(".py") and path.startswith(folders))
    rows: list[Json] = [{"path": bytecode_path(path, python), "removed": True} for path in replaced]
    return [layer_of("overlay", "no bytecode of replaced modules", [], entries=rows)] if rows else []


def bytecode_path(module: str, python: str) -> str:
    """Where the bytecode of the module at ``module`` lies (PEP 3147)."""
    folder, _, name = module.rpartition("/")
    return f"{folder}/__pycache__/{name[:-3]}.cpython-{python.replace('.', '')}.pyc"


def source_of(spec: Mapping[str, Json]) -> LayerDerivation:
    """The layer that a layer of bytecode is of, as far as its hash goes."""
    of = spec["of"]
    assert isinstance(of, dict)
    return LayerDerivation({**of, "title": str(of["kind"])}, ())
