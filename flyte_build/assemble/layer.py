"""One layer of a plan → its blob. What all kinds of layer have in common is decided here.

A layer holds each path once, sorted by its bytes, folders before what they hold, hard links after what they link
to. That makes its digest a function of what is in it (law 3), whatever order the sources gave.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from .blob import BlobResult, Inflate, write_blob
from .entries import Deflated, Entry, Segment
from .errors import AssembleError
from .files import file_entries
from .parts import of_part
from .paths import check_path, parents
from .results import LayerResult, overlap
from .version import ASSEMBLER
from .wheel import install_wheel

if TYPE_CHECKING:
    from .zstd import Unpack

__all__ = ["LayerResult", "Resolve", "WriteBlob", "arrange", "layer_artifacts", "site", "write_layer"]

Resolve = Callable[[str], str]
"""SHA-256 in hex → path of a file with exactly these bytes, verified."""


class WriteBlob(Protocol):
    """What :func:`~.blob.write_blob` is, and the native core's is too."""

    def __call__(
        self,
        entries: Iterable[Entry],
        out: BinaryIO,
        *,
        inflate: Inflate = ...,
        names: Mapping[str, str] | None = ...,
        progress: Callable[[int], object] | None = ...,
    ) -> BlobResult: ...


Sourced = tuple[str, Entry]
"""An entry and what it comes from: an artifact's file name, or the layer's title."""


def layer_artifacts(spec: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 (hex) → file name of everything that the layer is made of; of a base's or a sealed one, the layer."""
    if spec["kind"] in ("base", "sealed"):
        return {spec["digest"].removeprefix("sha256:"): spec["title"]}
    rows = [*spec.get("debs", ()), *spec.get("wheels", ()), *spec.get("archives", ()), *spec.get("packages", ())]
    named = {row["sha256"]: row["file"] for row in rows}
    return named | {row["sha256"]: row["path"] for row in spec.get("files", ()) if "sha256" in row}


def write_layer(
    spec: Mapping[str, Any],
    resolve: Resolve,
    out: BinaryIO,
    *,
    scratch: str,
    inflate: Inflate = zlib,  # type: ignore[assignment]
    progress: Callable[[int], object] | None = None,
    verify: bool = True,
    write: WriteBlob = write_blob,
    compiled: str | None = None,
    unpack: Unpack | None = None,
) -> LayerResult:
    """Write the layer that ``spec`` describes (``flyte_build.deriving.derivation`` documents the kinds) to ``out``.

    ``resolve`` maps an artifact's SHA-256 to a verified local file; ``scratch`` is a folder for temporary files;
    ``inflate`` does what ``zlib`` does, and cannot change the result; ``progress`` is told bytes of the tar
    stream; ``verify=False`` leaves out the hashes of wheels' RECORDs, for artifacts that passed before (sizes and
    CRC-32 are always checked); ``write`` does what :func:`~.blob.write_blob` does, and cannot change the result either.
    ``unpack`` does what :func:`~.zstd.unpack_zstd` does, and cannot change it.
    ``compiled`` is what :mod:`.compiling` made of the modules, for a layer of kind ``bytecode``.
    Raises :class:`AssembleError` for an input that cannot become a layer.
    """
    if spec["assembler"] != ASSEMBLER:
        raise AssembleError(
            f"the plan is for assembler {spec['assembler']}, this is assembler {ASSEMBLER}; "
            "derive it again with this flyte-build"
        )
    if spec["kind"] in ("base", "sealed"):
        from .base import copy_base

        with open(resolve(spec["digest"].removeprefix("sha256:")), "rb") as source:
            return copy_base(spec, source, out, progress)
    warnings: list[str] = []
    removed = _removed(spec)
    if spec["kind"] == "bytecode":
        made, removed, warnings = _compiled(spec, compiled)
        entries = [(str(spec["title"]), entry) for entry in made]
    else:
        entries = _entries(spec, resolve, scratch, verify, warnings, unpack)
    kept = site(spec) if not spec.get("folders", True) else frozenset()
    complete = spec["kind"] not in ("files", "overlay")
    overlaps = warnings if spec["kind"] in ("wheels", "conda") else None
    ordered = arrange(entries, complete=complete, removed=removed, kept=kept, overlaps=overlaps)
    # A store's file is called by its hash; messages call it by the artifact's name.
    names = {resolve(sha256): file for sha256, file in layer_artifacts(spec).items()}
    blob = write(ordered, out, inflate=inflate, names=names, progress=progress)
    return LayerResult(blob.digest, blob.size, blob.diff_id, blob.diff_size, blob.listing, tuple(warnings))


def _entries(
    spec: Mapping[str, Any],
    resolve: Resolve,
    scratch: str,
    verify: bool,
    warnings: list[str],
    unpack: Unpack | None,
) -> list[Sourced]:
    kind, title = spec["kind"], str(spec["title"])
    if kind == "wheels":
        found: list[Sourced] = []
        for row in sorted(spec["wheels"], key=lambda row: (row["file"], row["sha256"])):
            path, file = resolve(row["sha256"]), row["file"]
            wheel = install_wheel(path, file, python=spec["python"], venv=spec["venv"], verify=verify)
            found.extend((row["file"], entry) for entry in wheel.entries)
            warnings.extend(wheel.warnings)
        return of_part(found, spec["part"]) if "part" in spec else found
    if kind == "files":
        return [(title, entry) for entry in file_entries(spec, resolve)]
    if kind == "overlay":
        from .overlay import overlay_entries

        return [(title, entry) for entry in overlay_entries(spec)]
    if kind == "packages":
        from .packages import package_entries

        return [(title, entry) for entry in package_entries(spec, resolve, scratch)]
    if kind == "debian":
        from .debian import debian_entries

        return [(title, entry) for entry in debian_entries(spec, resolve, scratch)]
    if kind == "system":
        from .system import system_entries

        return [(title, entry) for entry in system_entries(spec, resolve, scratch)]
    if kind == "python":
        from .relocatable import python_entries

        return [(title, entry) for entry in python_entries(spec, resolve, scratch)]
    if kind == "conda":
        from .conda import conda_entries

        return list(conda_entries(spec, resolve, scratch, warnings, unpack))
    raise AssembleError(f"expected a layer of a known kind, found `{kind}`")


def _compiled(spec: Mapping[str, Any], compiled: str | None) -> tuple[list[Entry], list[str], list[str]]:
    from .bytecode import bytecode_entries

    if compiled is None:
        raise AssembleError(
            f"expected the modules that Python {spec['by']} compiled, found none: run `compiling.py` on the finished "
            "layer that they are in, by that Python, and name what it wrote with `--compiled`"
        )
    return bytecode_entries(spec, compiled)


def _removed(spec: Mapping[str, Any]) -> list[str]:
    return [row["path"] for row in spec.get("entries", ()) if row.get("removed")]


def site(spec: Mapping[str, Any]) -> frozenset[str]:
    """The folders of a virtual environment that every distribution shares, and those above them."""
    venv = spec["venv"].strip("/")
    lowest = f"{venv}/lib/python{spec['python']}/site-packages", f"{venv}/bin"
    return frozenset(path for folder in lowest for path in (folder, *parents(folder)))


def arrange(
    sourced: Iterable[Sourced],
    *,
    complete: bool,
    removed: Iterable[str] = (),
    kept: frozenset[str] = frozenset(),
    overlaps: list[str] | None = None,
) -> list[Entry]:
    """The entries in the order of the layer, each path once.

    ``complete`` adds the folders above each entry (0755, root's), but for ``kept``; a ``files`` layer goes without,
    because it lies on folders of the layers below and must not change their owner and mode. ``removed`` are paths of
    the layers below that whiteouts take away (image-spec v1.1, layer.md). With ``overlaps``, of two sources' files at
    one path that of the later one is taken, and a line about them added there: as with installers. Raises
    :class:`AssembleError` for a bad path, two entries that disagree, or a file that is also a folder.
    """
    chosen: dict[str, Sourced] = {}
    shared: dict[tuple[str, str], list[str]] = {}
    for source, entry in sourced:
        try:
            check_path(entry.path)
            if not 0 <= entry.mode <= 0o7777:
                raise ValueError(f"mode {entry.mode:o} is more than permission bits")
            if entry.kind in ("symlink", "hardlink") and (not entry.link or "\0" in entry.link):
                raise ValueError("the link has no target")
            if entry.kind == "hardlink":
                check_path(entry.link)
        except ValueError as e:
            raise AssembleError(f"`{entry.path}`: {e}", source) from None
        if entry.path not in chosen:
            chosen[entry.path] = source, entry
        elif not _same(chosen[entry.path][1], entry):
            other = chosen[entry.path][0]
            if overlaps is not None and other != source and chosen[entry.path][1].kind == entry.kind == "file":
                shared.setdefault((other, source), []).append(entry.path)
                chosen[entry.path] = source, entry
                continue
            raise AssembleError(
                f"`{entry.path}` is also in {other}, with other content or another mode; "
                "an image can hold only one of them"
                if other != source
                else f"`{entry.path}` is there twice, differently",
                source,
            )
    if overlaps is not None:
        overlaps += [overlap(paths, *pair) for pair, paths in shared.items()]
    folders: dict[str, Sourced] = {}
    for source, entry in chosen.values():
        for folder in parents(entry.path):
            if folder in folders or folder in kept:
                break
            folders[folder] = source, Entry(folder, "dir", 0o755)
    for folder, implied in folders.items():
        source, entry = chosen.setdefault(folder, implied) if complete else chosen.get(folder, implied)
        if entry.kind != "dir":
            raise AssembleError(f"`{folder}` is a {entry.kind}, and a folder in {implied[0]}", source)
    for path in removed:
        whiteout = _whiteout(path)
        if path in chosen:
            raise AssembleError(f"`{path}` is taken away and put there by one layer", chosen[path][0])
        chosen[whiteout] = path, Entry(whiteout, "file", 0o644)
    return _linked_first(sorted(chosen.values(), key=lambda s: s[1].path.encode()))


def _whiteout(path: str) -> str:
    try:
        check_path(path)
    except ValueError as e:
        raise AssembleError(f"`{path}`, which is to be taken away: {e}") from None
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}.wh.{name}"


def _same(a: Entry, b: Entry) -> bool:
    """Whether two entries of one path are the same thing, as far as can be told without reading."""
    return a._replace(content=()) == b._replace(content=()) and (
        a.content == b.content or [_sum(s) for s in a.content] == [_sum(s) for s in b.content]
    )


def _sum(segment: Segment) -> tuple[int, object]:
    if isinstance(segment, bytes):
        return len(segment), zlib.crc32(segment)
    if isinstance(segment, Deflated) or segment.crc32 is not None:
        return segment.size, segment.crc32
    return segment.size, (os.fspath(segment.path), segment.offset)


def _linked_first(ordered: list[Sourced]) -> list[Entry]:
    """Of the paths of one file, the first gets the content and the others link to it."""
    position = {entry.path: i for i, (_, entry) in enumerate(ordered)}
    entries = [entry for _, entry in ordered]
    groups: dict[str, list[int]] = {}
    for i, (source, entry) in enumerate(ordered):
        if entry.kind != "hardlink":
            continue
        target, seen = entry.link, {entry.path}
        while target in position and entries[position[target]].kind == "hardlink" and target not in seen:
            seen.add(target)
            target = entries[position[target]].link
        if target not in position or entries[position[target]].kind != "file":
            raise AssembleError(
                f"`{entry.path}` is a hard link to `{entry.link}`, which is no file of this layer", source
            )
        groups.setdefault(target, [position[target]]).append(i)
    for target, places in groups.items():
        original = entries[position[target]]
        first = min(places)
        for place in places:
            path = entries[place].path
            link = original._replace(path=path, kind="hardlink", content=(), link=entries[first].path)
            entries[place] = original._replace(path=path) if place == first else link
    return entries
