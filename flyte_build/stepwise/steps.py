"""Lock → the layers of local files, the joined image, and whether it is the pinned one. Reads and writes files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from ..assemble.image import canonical
from ..assemble.layer_directory import Finished, join_layers, make_layer
from ..deriving.derivation import FileEntry, ImageDerivation, derive
from ..deriving.from_lock import recorded_recipe
from ..deriving.local_files import hidden_links, snapshot, sources
from ..kernel.errors import InputError, PinError, RefusedError
from ..locks.lockfile import Lock
from ..recipe import CopyFiles, RunCommands

__all__ = ["check_pin", "derive_image", "files_layer", "image"]

DERIVATION = "build.flyte.derivation"
"""The annotation that names an image's derivation, in ``index.json`` only (``store.layout`` writes the same)."""


def files_layer(
    lock: Lock, platform: str, step: int, root: Path, out: Path, *, follows_links: bool = False
) -> Finished:
    """Make the layer of the copy ``step`` (its index in the recipe) from the project in ``root``, as a folder.

    The artifacts of ``lock`` play no part, and neither do its seals. ``follows_links``: whoever laid out ``root`` put
    files in the place of links to them; then links among the step's files are refused, because the image would have to
    have them. Raises :class:`RefusedError` there, :class:`InputError` for a step that copies nothing, and what
    ``local_files`` raises.
    """
    recipe = recorded_recipe(lock)
    if not 0 <= step < len(recipe.steps) or not isinstance(recipe.steps[step], CopyFiles):
        copies = [str(i) for i, s in enumerate(recipe.steps) if isinstance(s, CopyFiles)]
        raise InputError(
            f"{lock.environment}: expected the index of a copy step ({', '.join(copies) or 'none'}), found {step}"
        )
    if follows_links and (links := hidden_links(recipe, step, root)):
        raise RefusedError(
            f"{lock.environment}: {links[0]} is a symbolic link to another copied file, and the build system shows "
            "only what it leads to; the image would have a second copy of the file instead of the link",
            hint="put a file in the link's place, leave it out with .dockerignore, or build with `flyte-build build`",
        )
    # What stages copy is in no layer of the image's own, and need not be here.
    plain = replace(recipe, steps=tuple(s for s in recipe.steps if not isinstance(s, RunCommands)), stages=())
    unsealed = replace(lock, recipe=plain.to_json())
    entries = snapshot(plain, root, lock.platforms[platform].base)
    made = derive(unsealed, plain, platform, entries)
    # Two copies of the same are one layer, so it is found by what is in it.
    place = sum(not isinstance(s, RunCommands) for s in recipe.steps[:step])
    wanted = [(e.path, e.mode, e.sha256, e.link) for e in sorted(entries[place], key=lambda e: e.path)]
    layer = next(x for x in made.layers if x.kind == "files" and _held(x.spec) == wanted)
    paths = {sha256: str(path) for sha256, path in sources(plain, root).items()}
    return make_layer(dict(layer.spec), paths.__getitem__, str(out))


def _held(spec: Mapping[str, Any]) -> list[tuple[str, int, str | None, str | None]]:
    return [(row["path"], row["mode"], row.get("sha256"), row.get("link")) for row in spec["files"]]


def derive_image(lock: Lock, platform: str, files: Mapping[int, Finished]) -> ImageDerivation:
    """The image's derivation, with what the ``files`` layers (by the index of their step) hold."""
    recipe = recorded_recipe(lock)
    missing = [i for i, s in enumerate(recipe.steps) if isinstance(s, CopyFiles) and i not in files]
    if missing:
        raise InputError(f"{lock.environment}: expected a layer of files for step {missing[0]}, found none")
    return derive(lock, recipe, platform, {i: _entries(layer.spec) for i, layer in files.items()})


def image(
    lock: Lock, platform: str, layers: Iterable[Finished], files: Mapping[int, Finished], out: Path, *, link: bool
) -> str:
    """Join ``layers`` and ``files`` to the image of ``lock``, as the OCI image layout ``out``; returns its digest."""
    made = derive_image(lock, platform, files)
    spec = cast("dict[str, Any]", made.spec)
    ref = f"{lock.environment}-{platform.replace('/', '-')}"
    digest = join_layers(spec, [*layers, *files.values()], str(out), ref=ref, link=link)
    index = json.loads((out / "index.json").read_bytes())
    index["manifests"][0]["annotations"][DERIVATION] = made.hash
    (out / "index.json").write_bytes(canonical(index))
    return digest


def check_pin(lock: Lock, platform: str, layout: Path) -> str:
    """One line on how the image in ``layout`` relates to the pin of ``lock``; raises :class:`PinError` where it is
    the image of the pinned derivation and another one."""
    (entry,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    digest, made = entry["digest"], entry["annotations"][DERIVATION]
    pin = lock.pins.get(platform)
    what = f"{lock.environment} on {platform}: {digest}"
    if pin is None:
        return f"{what}, not pinned"
    if pin.derivation != made:
        return f"{what}; the pin is of another derivation ({pin.derivation}, this is {made})"
    if pin.digest != digest:
        raise PinError(
            f"{lock.environment} on {platform}: expected the pinned {pin.digest}, found {digest}",
            hint="`flyte-build diff A B` names the first difference of two images",
        )
    return f"{what}, as pinned"


def _entries(spec: Mapping[str, Any]) -> list[FileEntry]:
    return [
        FileEntry(row["path"], row["mode"], row.get("sha256"), row.get("size", 0), row.get("link"))
        for row in spec["files"]
    ]
