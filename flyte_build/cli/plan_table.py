"""The plan as a table: one row an image, what they need together, and, where asked for, every layer. Only draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ..planning.plan import ImagePlan, Plan

__all__ = ["show"]


def show(made: Plan, *, every_layer: bool = False, to_stderr: bool = False) -> None:
    """The plan as a table: one row an image, and what they need together."""
    from rich.markup import escape

    from .console import counted, size, stderr, stdout
    from .tables import Column, print_table

    out = stderr() if to_stderr else stdout()
    columns = (
        Column("environment"),
        Column("platform", drop=0 if len({i.platform for i in made.images}) > 1 else 6),
        Column("derivation", drop=4, shorten=lambda cell: cell[7:19]),
        Column("state"),
        Column("new layers", right=True, drop=1),
        Column("shared", right=True, drop=3),
        Column("to fetch", right=True, drop=2),
        *([Column("in registry", right=True, drop=4)] if made.pull_bytes else []),
    )
    rows = []
    for i in made.images:
        new = sum(x.state == "build" for x in i.layers)
        shared = sum(bool(x.shared_with) for x in i.layers)
        fetch = f"{len(i.fetch)} · {size(i.fetch_bytes)}" if i.fetch else "–"
        rows.append(
            (
                escape(i.environment),
                i.platform,
                i.derivation.hash,
                _state(i.state),
                f"{new} of {len(i.layers)}",
                str(shared),
                fetch,
                *([size(_away(i)) if _away(i) else "–"] if made.pull_bytes else []),
            )
        )
    # Beside `cached`, the long form would only push the other columns out.
    short = {"cached": "same derivation", "remote": "same derivation"}
    notes = [short.get(i.state, i.why) for i in made.images]
    print_table(out, columns, rows, notes=notes, note_title="why")
    if every_layer:
        for i in made.images:
            out.print(f"\n[bold]{escape(i.environment)}[/] {i.platform}", soft_wrap=True)
            _layers(i, out)
        out.print()
    if made.to_build:
        fetched = sum(a.size for a in made.fetch)
        wanted = [f"{len(made.to_build)} of {counted(len(made.images), 'image')} to build"]
        wanted.append(counted(made.new_layers, "new layer"))
        if made.fetch:
            wanted.append(f"{counted(len(made.fetch), 'artifact')} to fetch ({size(fetched)})")
        if made.in_registry:
            wanted.append(f"{counted(len(made.in_registry), 'image')} cached in the registry")
        out.print(f"[bold]{wanted[0]}[/]: {', '.join(wanted[1:])}", soft_wrap=not out.is_terminal)
    else:
        out.print(f"[bold green]nothing to build[/]: {_all_cached(made)}", soft_wrap=not out.is_terminal)
    for note in made.notes:
        out.print(f"[dim]{escape(note)}[/]", soft_wrap=not out.is_terminal)


def _all_cached(made: Plan) -> str:
    images, away = len(made.images), len(made.in_registry)
    all_of_them = "the image is cached" if images == 1 else f"all {images} images are cached"
    if not away:
        return all_of_them
    return f"{all_of_them}, {'in the registry' if away == images else f'{away} of them in the registry'}"


_STATES = {"cached": "[green]cached[/]", "remote": "[cyan]cached in registry[/]", "build": "[yellow]build[/]"}


def _state(state: str) -> str:
    return _STATES[state]


def _away(image: ImagePlan) -> int:
    """Bytes of its layers that are in a registry and not here."""
    return sum(x.size or 0 for x in image.layers if x.state == "remote")


def _layers(image: ImagePlan, out: Console) -> None:
    from rich.markup import escape

    from .console import size
    from .tables import Column, print_table

    columns = (
        Column("layer", shorten=lambda cell: cell if len(cell) <= 40 else cell[:39] + "…"),
        Column("state"),
        Column("size", right=True),
        Column("to fetch", right=True, drop=3),
        Column("derivation", drop=2, shorten=lambda cell: cell[7:19]),
        Column("shared with", drop=1),
    )
    rows = [
        (
            escape(layer.title),
            _state(layer.state),
            size(layer.size),
            size(layer.fetch) if layer.fetch else "–",
            layer.derivation,
            escape(", ".join(layer.shared_with)) or "–",
        )
        for layer in image.layers
    ]
    print_table(out, columns, rows)
