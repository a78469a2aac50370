"""Differences and explanations as people read them: a line a change, grouped, and sizes where they are known.

Draws what ``flyte_build.diffing`` and ``flyte_build.planning.explain`` found; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.markup import escape

from ..diffing.comparison import Change, Difference
from ..diffing.contents import Contents, Layer, Package
from ..diffing.entries import File
from ..diffing.wording import change_line, package_line
from .console import counted, room, size, wrapped
from .tables import Column, print_table

if TYPE_CHECKING:
    from ..planning.explain import Explanation

__all__ = ["show_difference", "show_explanation"]

T = TypeVar("T")

_STYLES = {"added": "green", "removed": "red", "changed": "yellow"}
# Of more paths than this, the rest is counted.
_PATHS = 20
_ORDER = ("changed", "removed", "added")


def show_difference(found: Difference, out: Console, *, every_file: bool = False) -> None:
    """Print what differs, part by part, and last what could not be compared."""
    for word, side in (("before", found.before), ("after", found.after)):
        _print(out, f"[dim]{word:8}[/]{escape(side.subject)}  [dim]{_identity(side)}[/]")
    if found.empty:
        known = " in what both tell" if found.not_known else ""
        _print(out, f"[bold green]no difference[/]{known}")
    _changes(out, "image", found.facts, change_line)
    _packages(out, "Python packages", found.wheels)
    _packages(out, "Debian packages", found.debs)
    _changes(out, "environment", found.env, lambda c: change_line(c, "="))
    _changes(out, "labels", found.labels, lambda c: change_line(c, "="))
    _changes(out, "configuration", found.config, lambda c: change_line(c, ": "))
    _changes(out, "annotations", found.annotations, lambda c: change_line(c, "="))
    # Copied files are files too, but known before an image is built.
    if found.files is not None and not found.unknown("files"):
        _files(out, "files", found.files, every_file)
    else:
        _files(out, "copied files", found.copied, every_file)
        apart = {c.name for c in found.copied or ()}
        _files(out, "files", [c for c in found.files or () if c.name not in apart], every_file)
    _layers(out, found)
    _sizes(out, found)
    _not_known(out, found)


def _identity(side: Contents) -> str:
    if side.identity is None or side.identity[7:19] in side.subject:
        return side.kind
    return f"{side.kind} {side.identity[7:19]}"


def _print(out: Console, markup: str) -> None:
    out.print(markup, soft_wrap=True)


def _title(out: Console, title: str, about: str = "") -> None:
    _print(out, f"\n[bold]{title}[/]" + (f"  [dim]{escape(about)}[/]" if about else ""))


def _row(out: Console, kind: str, text: str) -> None:
    style = _STYLES[kind]
    _print(out, f"  [{style}]{escape(wrapped(text, room(out), 4))}[/]")


def _changes(
    out: Console, title: str, changes: Sequence[Change[str]] | None, line: Callable[[Change[str]], str]
) -> None:
    if changes:
        _title(out, title)
        for change in changes:
            _row(out, change.kind, line(change))


def _packages(out: Console, title: str, changes: Sequence[Change[Package]] | None) -> None:
    if changes:
        _title(out, title, _tally(changes))
        for change in changes:
            _row(out, change.kind, package_line(change) + _bytes(change, lambda p: p.size))


def _tally(changes: Sequence[Change[T]]) -> str:
    counts = [(sum(c.kind == kind for c in changes), kind) for kind in ("added", "removed", "changed")]
    return ", ".join(f"{count} {kind}" for count, kind in counts if count)


def _bytes(change: Change[T], of: Callable[[T], int | None]) -> str:
    """`` (1.2 MB)`` for what came or went, `` (+1.2 MB)`` for what changed, nothing where it is not known."""
    before = of(change.before) if change.before is not None else None
    after = of(change.after) if change.after is not None else None
    if change.kind == "changed":
        return f" ({_delta(before, after)})" if before is not None and after is not None and before != after else ""
    known = before if after is None else after
    return f" ({size(known)})" if known is not None else ""


def _delta(before: int, after: int) -> str:
    return f"{'+' if after >= before else '−'}{size(abs(after - before))}"


# -- files -----------------------------------------------------------------------------------------


def _files(out: Console, title: str, changes: Sequence[Change[File]] | None, every: bool) -> None:
    if not changes:
        return
    told = _worth_telling(changes)
    _title(out, title, _tally(told))
    ordered = sorted(told, key=lambda c: (_ORDER.index(c.kind), c.name))
    shown = ordered if every or len(ordered) <= _PATHS + 1 else ordered[:_PATHS]
    for change in shown:
        _path(out, change)
    if len(shown) < len(ordered):
        _print(out, f"  [dim]and {len(ordered) - len(shown)} more: --files lists them, --json has all[/]")


def _worth_telling(changes: Sequence[Change[File]]) -> list[Change[File]]:
    """Without the folders that came or went with what is in them."""
    above: set[tuple[str, str]] = set()
    for change in changes:
        folder = change.name
        while folder := folder.rpartition("/")[0]:
            above.add((change.kind, folder))
    folders = ("added", "removed")
    return [c for c in changes if not (c.kind in folders and _kind(c) == "folder" and (c.kind, c.name) in above)]


def _kind(change: Change[File]) -> str:
    file = change.after or change.before
    return file.kind if file is not None else ""


def _path(out: Console, change: Change[File]) -> None:
    """One line, however long: a path is there to be copied."""
    _print(out, f"  [{_STYLES[change.kind]}]{escape(_file_line(change))}[/]")


def _file_line(change: Change[File]) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        what = {"link": "link", "hardlink": "hard link", "device": "device"}.get(_kind(change))
        file = after or before
        about = f" ({what} → {file.link})" if what and file is not None else _bytes(change, lambda f: f.size)
        return f"{'+' if before is None else '−'} {change.name}{'/' if _kind(change) == 'folder' else ''}{about}"
    said = []
    if before.kind != after.kind:
        said.append(f"{before.kind} → {after.kind}")
    elif before.link != after.link:
        said.append(f"{before.link} → {after.link}")
    elif before.kind == "file" and (before.size, before.crc32, before.sha256) != (
        after.size,
        after.crc32,
        after.sha256,
    ):
        same = before.size == after.size
        said.append("content" if same else _delta(before.size or 0, after.size or 0))
    if before.kind == after.kind and before.mode is not None and after.mode is not None and before.mode != after.mode:
        said.append(f"mode {before.mode:04o} → {after.mode:04o}")
    if before.owner != after.owner:
        said.append(f"owner {before.owner} → {after.owner}")
    return f"{change.name} ({', '.join(said)})"


# -- layers and totals -----------------------------------------------------------------------------


def _layers(out: Console, found: Difference) -> None:
    layers = found.layers
    if layers is None or layers.empty:
        return
    parts = [(len(layers.shared), layers.shared_bytes, "shared")]
    parts += [(len(layers.new), layers.new_bytes, "new"), (len(layers.gone), layers.gone_bytes, "gone")]
    about = ", ".join(
        f"{count} {word}" + (f" ({size(known)})" if known is not None else "") for count, known, word in parts if count
    )
    _title(out, "layers", about)
    for kind, sign, some in (("removed", "−", layers.gone), ("added", "+", layers.new)):
        for layer in some:
            _row(out, kind, f"{sign} {layer.title}{_layer_size(layer)}")
    for before, after in layers.retitled:
        _row(out, "changed", f"titled {before.title} → {after.title}")
    if layers.reordered:
        _row(out, "changed", "the shared layers lie in another order")


def _layer_size(layer: Layer) -> str:
    if layer.size is not None:
        return f"  {size(layer.size)}"
    return f"  made of {size(layer.artifact_size)}" if layer.artifact_size is not None else ""


def _sizes(out: Console, found: Difference) -> None:
    rows = [("size", found.before.size, found.after.size)]
    rows.append(("artifacts", found.before.artifact_size, found.after.artifact_size))
    told = [(word, a, b) for word, a, b in rows if a is not None and b is not None and a != b]
    if told:
        out.print()
    for word, a, b in told:
        _print(out, f"[bold]{word}[/]  {size(a)} → {size(b)} ({_delta(a, b)})")


def _not_known(out: Console, found: Difference) -> None:
    if not found.not_known:
        return
    _title(out, "not known")
    grouped: dict[tuple[str, str], list[str]] = {}
    for item in found.not_known:
        # That copied files cannot be told apart is no loss where all files are known.
        if item.part != "copied_files" or found.files is None or found.unknown("files"):
            grouped.setdefault((item.part.replace("_", " "), item.side), []).append(item.why)
    for (part, side), reasons in grouped.items():
        more = f", and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        _print(out, f"  [dim]{escape(wrapped(f'{part}, {side}: ' + '; '.join(reasons[:3]) + more, room(out), 4))}[/]")


# -- explanations ----------------------------------------------------------------------------------


_STATES = {"cached": "[green]cached[/]", "remote": "[cyan]in registry[/]", "build": "[yellow]build[/]"}


def show_explanation(told: Explanation, out: Console) -> None:
    """Print why one image is cached or to build, and a reason for each of its layers."""
    state = _STATES[told.state]
    _print(out, f"[bold]{escape(told.environment)}[/] {told.platform}  [dim]{told.derivation[7:19]}[/]  {state}")
    found = told.difference
    if found is None or found.empty:
        _print(out, f"  {escape(wrapped(told.summary, room(out), 2))}")
    else:
        first = "built here before, but not last" if told.state == "cached" else "never built here"
        words = f"since the {told.source}:" if told.source == "last build" else f"{first}; since the last commit:"
        if told.source == "last build" and told.state == "cached":
            words = f"{first}; {words}"
        _print(out, f"  {words}")
        _changed(out, found)
    if balance := _balance(told):
        _print(out, f"  {escape(wrapped('; '.join(balance), room(out), 2))}")
    columns = (
        Column("  layer", shorten=lambda cell: cell if len(cell) <= 40 else cell[:39] + "…"),
        Column("state"),
        Column("size", right=True, drop=2),
        Column("made of", right=True, drop=3),
    )
    rows = [
        (
            "  " + escape(layer.title),
            "[dim]kept[/]" if layer.kept else _STATES[layer.state],
            size(layer.size),
            size(layer.artifact_size),
        )
        for layer in told.layers
    ]
    print_table(out, columns, rows, notes=[layer.why for layer in told.layers], note_title="why")


def _changed(out: Console, found: Difference) -> None:
    for package in (*(found.wheels or ()), *(found.debs or ())):
        _row(out, package.kind, package_line(package) + _bytes(package, lambda p: p.size))
    for variable in (*(found.env or ()), *(found.labels or ()), *(found.annotations or ())):
        _row(out, variable.kind, change_line(variable, "="))
    for setting in (*(found.config or ()), *found.facts):
        _row(out, setting.kind, change_line(setting))
    copied = found.copied or ()
    for file in copied[:_PATHS]:
        _path(out, file)
    if len(copied) > _PATHS:
        _print(out, f"  [dim]and {len(copied) - _PATHS} more copied files: --json has all[/]")
    for before, after in found.layers.retitled if found.layers is not None else ():
        _row(out, "changed", f"layer {before.title} is titled {after.title}")


def _balance(told: Explanation) -> list[str]:
    """``+1 layer 12.4 MB``, ``−1 layer 11.2 MB``, ``4 layers kept``, ``11 layers shared with fold_env``."""
    added = told.added if told.source is not None else ()
    words = []
    if added:
        words.append(
            f"+{counted(len(added), 'layer')} {_sum([x.size for x in added], [x.artifact_size for x in added])}"
        )
    if told.gone:
        gone = told.gone
        words.append(f"−{counted(len(gone), 'layer')} {_sum([x.size for x in gone], [x.artifact_size for x in gone])}")
    if told.source is not None:
        words.append(f"{counted(len(told.layers) - len(added), 'layer')} kept")
    sharing = told.sharing
    if sharing:
        name, count = sharing[0]
        others = [f"{number} with {other}" for other, number in sharing[1:3]]
        more = [f"some with {len(sharing) - 3} more"] if len(sharing) > 3 else []
        words.append(", ".join([f"{counted(count, 'layer')} shared with {name}", *others, *more]))
    return [" ".join(word.split()) for word in words]


def _sum(sizes: Sequence[int | None], artifacts: Sequence[int | None]) -> str:
    known = [s for s in sizes if s is not None]
    if len(known) == len(sizes):
        return size(sum(known))
    parts = [a for a in artifacts if a is not None]
    return f"made of {size(sum(parts))}" if len(parts) == len(artifacts) else ""
