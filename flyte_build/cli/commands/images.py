"""``flyte-build images``: what is in this machine's store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from ..console import echo
from ..options import full_option, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...workbench.housekeeping import StoredImage

__all__ = ["images"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.command()
@click.argument("pattern", required=False, metavar="[NAME]")
@click.option("--all", "-a", "every", is_flag=True, help="Show images that a later build replaced, too.")
@json_option
@full_option
def images(pattern: str | None, every: bool, as_json: bool) -> None:
    """List the images of this machine's store: their layers and sizes, what each has alone, when it was last used.

    NAME shows only environments whose name holds it. `alone` is what an image has in layers that no other image here
    has: what `store gc` would free with it.

    \b
    flyte-build images
    flyte-build images fold --all
    """
    from ...workbench.housekeeping import images_here

    found = [i for i in images_here() if pattern is None or pattern in i.environment]
    if as_json:
        echo(json.dumps({"schema": 1, "images": [_to_json(i) for i in found]}, indent=2))
        return
    shown = found if every else [i for i in found if i.current]
    if shown:
        _show(shown)
    if pattern is not None and not found:
        echo(f"no image here is of an environment whose name holds `{pattern}`")
        return
    _sum_up(found, len(found) - len(shown))


def _show(found: Sequence[StoredImage]) -> None:
    from rich.markup import escape

    from ..console import size, stdout
    from ..tables import Column, digest_shown, print_table

    columns = (
        Column("environment"),
        Column("platform", drop=3),
        Column("digest", drop=4),
        Column("layers", right=True, drop=2),
        Column("size", right=True),
        Column("alone", right=True),
        Column("last used", right=True, drop=1),
        Column("", drop=5),
    )
    now = time.time()
    rows = [
        (
            escape(i.environment),
            i.platform,
            digest_shown(i.digest),
            str(len(i.layers)),
            size(i.size),
            size(i.alone),
            _ago(now - i.used),
            "" if i.current else "[dim]replaced[/]",
        )
        for i in found
    ]
    print_table(stdout(), columns, rows)


def _sum_up(found: Sequence[StoredImage], hidden: int) -> None:
    from ..console import counted, size, stdout

    layers = {digest: bytes_ for image in found for digest, bytes_ in image.layers.items()}
    each = sum(image.size for image in {i.digest: i for i in found}.values())
    line = (
        f"{counted(len(found), 'image')}: {size(sum(layers.values()))} in {counted(len(layers), 'layer')}, "
        f"{size(each)} if each had its own"
        if found
        else "no images here: `flyte-build build` makes some"
    )
    more = f"; {counted(hidden, 'replaced image')} not shown (--all)" if hidden else ""
    out = stdout()
    out.print(f"[dim]{line}{more}[/]", soft_wrap=not out.is_terminal)


def _ago(seconds: float) -> str:
    """How long ago, in one unit."""
    for unit, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit:
            number = int(seconds // unit)
            return f"{number} {name}{'s' * (number != 1)} ago"
    return "just now"


def _to_json(image: StoredImage) -> dict[str, object]:
    return {
        "environment": image.environment,
        "platform": image.platform,
        "digest": image.digest,
        "derivation": image.derivation,
        "layers": [{"digest": digest, "size": size} for digest, size in image.layers.items()],
        "size": image.size,
        "alone": image.alone,
        "used": round(image.used),
        "current": image.current,
        "unpacked": image.unpacked,
    }
