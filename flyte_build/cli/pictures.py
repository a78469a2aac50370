"""``plan --graph FILE``: the form that the name's end asks for, written whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import InputError
from ..kernel.outputs import check_place, write_output
from .console import stderr

if TYPE_CHECKING:
    from ..workbench import Planned

__all__ = ["check_target", "draw"]

FORMS = (".svg", ".html", ".dot", ".png")
# Programs that make a PNG of an SVG on standard input; the first that is here is asked.
_RENDERERS = (
    ("rsvg-convert", "--format=png"),
    ("resvg", "-", "-c"),
    ("inkscape", "--pipe", "--export-type=png", "--export-filename=-"),
)


def check_target(target: Path) -> None:
    """Raise :class:`InputError` for a form that there is none of, or that nothing here makes, and :class:`StoreError`
    for a place that takes nothing."""
    if target == Path("-"):
        return
    if target.suffix not in FORMS:
        ends = ", ".join(FORMS[:-1])
        raise InputError(f"--graph: expected a name that ends in {ends} or {FORMS[-1]}, or `-`, found `{target}`")
    check_place(target)
    if target.suffix == ".png" and _renderer() is None:
        names = ", ".join(command[0] for command in _RENDERERS)
        raise InputError(
            f"--graph: {target} needs a program that draws SVG, and none of {names} is here",
            hint="`apt install librsvg2-bin`, or write a .svg or .html, which need none",
        )


def _renderer() -> tuple[str, ...] | None:
    return next((command for command in _RENDERERS if shutil.which(command[0])), None)


def draw(target: Path, planned: Planned) -> None:
    """Write the picture."""
    write_output(target, _made(target, planned))
    stderr().print(f"drawn to {target}", markup=False, soft_wrap=True)


def _made(target: Path, planned: Planned) -> str | bytes:
    if target.suffix == ".html":
        return planned.html()
    if target.suffix == ".dot":
        return planned.dot()
    if target.suffix == ".svg":
        return planned.svg()
    command = _renderer()
    assert command is not None
    done = subprocess.run(command, input=planned.svg().encode(), capture_output=True, check=False)
    if done.returncode or not done.stdout.startswith(b"\x89PNG"):
        words = done.stderr.decode(errors="replace").strip()
        raise InputError(f"--graph: `{command[0]}` made no picture: {words or f'exit code {done.returncode}'}")
    return done.stdout
