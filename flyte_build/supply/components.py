"""CycloneDX documents put together from what the library made of their parts, which is kept.

The library takes a fifteenth of a second for a hundred packages, and as long to be imported; most packages of an image
are in other images, too. So what it makes of a package is kept in the store, and what it makes of an image without
packages, in which name, platform and digest are exchanged. Nothing of it is written by hand here, and the bytes are
those of a document that the library makes in one piece. It is a cache: what cannot be read or written is made again.

    components/<SHA-256 of what it is made by>.json    {"frames": {…}, "components": {key: component}}
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..assemble.version import ASSEMBLER
from ..kernel.files import write_whole
from ..kernel.version import __version__
from .packages import Inventory, Package
from .serial import render

__all__ = ["Components"]

# Of documents that are larger than this, no more parts are kept.
_MOST = 8 << 20
_RULES = "1"
_LIBRARY = "cyclonedx"


class Components:
    """What is kept in ``folder``. May be used by several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._kept: dict[str, dict[str, Any]] = {"frames": {}, "components": {}}
        self._grown = False

    def document(self, image: Inventory) -> bytes:
        """As :func:`~.cyclonedx.cyclonedx`."""
        if not _is_put_together(image):
            from .cyclonedx import cyclonedx

            return cyclonedx(image)
        self._read()
        made = self._frame(image)
        found = [*made.get("components", ()), *(self._component(package) for package in image.packages)]
        made["components"] = sorted(found, key=_order)
        every = sorted(one["bom-ref"] for one in found)
        root = made["metadata"]["component"]["bom-ref"]
        edges: dict[str, dict[str, Any]] = {ref: {"ref": ref} for ref in every}
        edges[root] = {"ref": root, "dependsOn": every}
        made["dependencies"] = [edges[ref] for ref in sorted(edges)]
        return render(made)

    def save(self) -> None:
        """Keep what was made for the next process."""
        if not self._grown or self._path is None:
            return
        data = json.dumps(self._kept).encode()
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for other in self._folder.iterdir():
                if other != self._path or len(data) > _MOST:
                    other.unlink(missing_ok=True)  # of another version
            if len(data) <= _MOST:
                write_whole(self._path, data)

    def _read(self) -> None:
        if self._path is not None:
            return
        path = self._folder / f"{_maker()}.json"
        with suppress(OSError, ValueError, RecursionError):
            raw = json.loads(path.read_bytes())
            if isinstance(raw, dict) and all(isinstance(raw.get(part), dict) for part in self._kept):
                self._kept = raw
        self._path = path

    def _component(self, package: Package) -> dict[str, Any]:
        key = _key(package)
        found = self._kept["components"].get(key)
        if found is None:
            from .cyclonedx import component

            found = self._kept["components"][key] = component(package)
            self._grown = True
        one: dict[str, Any] = found
        return one

    def _frame(self, image: Inventory) -> dict[str, Any]:
        """The document of the image as if it had no packages: of another one, with this one's names."""
        key = json.dumps([image.distro, image.suite, image.complete])
        found = self._kept["frames"].get(key)
        if found is None:
            from .cyclonedx import document

            found = self._kept["frames"][key] = document(replace(image, packages=()))
            self._grown = True
        made: dict[str, Any] = copy.deepcopy(found)
        assert image.digest is not None
        root = made["metadata"]["component"]
        root |= {"name": image.environment, "version": image.digest, "purl": image.purl}
        root["hashes"][0]["content"] = image.digest.removeprefix("sha256:")
        root["properties"][0]["value"] = image.platform
        return made


def _is_put_together(image: Inventory) -> bool:
    """Whether its document is its parts': the library has words of its own for two of one name, and for nothing."""
    refs = [package.ref for package in image.packages]
    named = bool(image.digest) and bool(image.purl)
    return image.base is None and named and bool(refs) and len(refs) == len(set(refs))


def _order(component: dict[str, Any]) -> tuple[str, str, bool, str, str]:
    """The library's order of components: by type, name, version and reference, those without a version last."""
    version = component.get("version")
    return component["type"], component["name"], version is None, version or "", component["bom-ref"]


def _key(package: Package) -> str:
    """All that is in a component."""
    said = [
        package.kind, package.name, package.version, package.file, package.size, package.sha256, package.purl,
        package.license.expression, *package.license.names, None, package.source, package.source_version,
        package.source_purl,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _maker() -> str:
    """What the parts are made by, without importing it: the library by its installation's record, and this version."""
    said: list[str] = [_RULES, __version__, str(ASSEMBLER), *_installed(_LIBRARY), *_installed("packageurl")]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _installed(name: str) -> Iterable[str]:
    """Which installation a module is of: where it lies, and how its first file does."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return (name,)
    state = os.stat(spec.origin)
    return name, spec.origin, str(state.st_size), str(state.st_mtime_ns), str(state.st_ino)
