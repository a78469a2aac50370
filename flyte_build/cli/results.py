"""Tables of what was built, pushed and loaded. Draws; knows nothing of how it came to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from .console import counted, duration, size, stdout
from .tables import Column, print_table, short_digest

if TYPE_CHECKING:
    from ..delivery.engines import LoadedImage
    from ..remote.publishing import PushedImage
    from ..store.built import BuiltImage

__all__ = ["show_built", "show_loaded", "show_pushed"]


def show_built(images: Sequence[BuiltImage], seconds: float) -> None:
    """One row an image, and what was done in all; on a terminal only that, where nothing was to be done."""
    out = stdout()
    columns = (
        Column("environment"),
        Column("platform", drop=0 if len({i.platform for i in images}) > 1 else 6),
        Column("image", shorten=short_digest),
        Column("layers", right=True, drop=2),
        Column("size", right=True, drop=1),
        Column("", shorten=lambda cell: cell.partition(" in ")[0]),
    )
    rows = [
        (escape(i.environment), i.platform, i.manifest_digest, str(len(i.layers)), size(i.size), _state(i))
        for i in images
    ]
    new = [image for image in images if not image.reused]
    if new or not out.is_terminal:
        print_table(out, columns, rows)
    pulled = sum(map(_pulled, new))
    done = [f"{verb} {number}" for verb, number in (("built", len(new) - pulled), ("pulled", pulled)) if number]
    there = "1 image is" if len(images) == 1 else f"{len(images)} images are"
    if done:
        what = f"[bold]{', '.join(done)} of {counted(len(images), 'image')}[/] in {duration(seconds)}"
    else:
        what = f"[bold]nothing to build: {there} cached[/]"
    out.print(what, soft_wrap=not out.is_terminal)


def show_pushed(images: Sequence[PushedImage], seconds: float) -> None:
    """One row an environment, its reference below all else that gives way, and what travelled in all."""
    if not images:
        return
    out = stdout()
    several = any(len(i.platforms) > 1 for i in images)
    columns = (
        Column("environment"),
        Column("reference"),
        Column("platforms", drop=0 if several else 6),
        Column("uploaded", right=True, drop=1),
        Column("mounted", right=True, drop=2),
        Column("there", right=True, drop=3),
    )
    rows = [
        (
            escape(i.environment),
            escape(i.reference),
            ", ".join(i.platforms),
            size(i.uploaded),
            size(i.mounted),
            size(i.existing),
        )
        for i in images
    ]
    print_table(out, columns, rows)
    uploaded, mounted = sum(i.uploaded for i in images), sum(i.mounted for i in images)
    if uploaded or mounted:
        more = f", {size(mounted)} mounted" if mounted else ""
        what = (
            f"[bold]pushed {counted(len(images), 'image')}[/] in {duration(seconds)}: {size(uploaded)} uploaded{more}"
        )
    else:
        what = f"[bold]nothing to push[/]: the registry has {'it' if len(images) == 1 else f'all {len(images)}'}"
    out.print(what, soft_wrap=not out.is_terminal)


def show_loaded(images: Sequence[LoadedImage]) -> None:
    """One row an image in the engine."""
    if not images:
        return
    columns = (Column("environment"), Column("name"), Column("id", shorten=short_digest, drop=2), Column(""))
    rows = [
        (escape(i.environment), escape(i.name), i.id, "[dim]there[/]" if i.reused else "[green]loaded[/]")
        for i in images
    ]
    print_table(stdout(), columns, rows)


def _state(image: BuiltImage) -> str:
    if image.reused:
        return "[dim]cached[/]" if image.local else "[dim]in the registry[/]"
    verb = "pulled" if _pulled(image) else "built"
    return f"[green]{verb}[/] in {duration(image.seconds)}"


def _pulled(image: BuiltImage) -> bool:
    """Whether nothing of it was made here."""
    return any(x.pulled for x in image.layers) and all(x.pulled or x.reused for x in image.layers)
