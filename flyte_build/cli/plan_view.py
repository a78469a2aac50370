"""What ``plan`` prints: the table, and beside it what was asked for. Parses nothing, decides nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import CheckError, FlyteBuildError
from .console import counted, stdout

if TYPE_CHECKING:
    from ..workbench import Planned, Workbench

__all__ = ["Asked", "answer"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line of ``plan``."""

    task: str | None
    env: tuple[str, ...]
    platform: str | None
    layers: bool
    explain: str | None
    check: bool
    form: str
    graph: Path | None
    as_json: bool
    caches: tuple[str, ...] = ()


def answer(asked: Asked, bench: Workbench) -> FlyteBuildError | None:
    """Print the plan on standard output; the error that the command ends with, if findings make it one."""
    planned = bench.plan(
        asked.task, env=asked.env, platform=asked.platform, caches=asked.caches, online=asked.check
    )  # fmt: skip
    out = stdout()
    if asked.as_json:
        document = planned.to_json()
        if asked.explain is not None:
            document["explanations"] = [e.to_json() for e in planned.explain(asked.explain)]
        out.print(json.dumps(document, indent=2, ensure_ascii=False), markup=False, soft_wrap=True)
    elif asked.graph == Path("-"):
        out.print(planned.svg(), markup=False, soft_wrap=True, end="")
    elif asked.check and asked.form == "github":
        from ..kernel.visible import visible
        from .findings import github_annotations
        from .streams import command

        for line in github_annotations(planned.findings, bench.root):
            command(visible(line))
    else:
        _print(asked, planned, bench.root)
    if asked.graph not in (None, Path("-")):
        from .pictures import draw

        draw(asked.graph, planned)
    if asked.check:
        try:
            planned.refuse()
        except CheckError as e:
            return e
    return None


def _print(asked: Asked, planned: Planned, root: Path) -> None:
    from rich.markup import escape

    from .findings import show_findings
    from .plan_table import show

    out = stdout()
    show(planned.plan, every_layer=asked.layers)
    for name, asks in planned.asks.items():
        if str(asks):
            out.print(f"[dim]{escape(name)} asks for {escape(str(asks))}[/]", soft_wrap=not out.is_terminal)
    if asked.explain is not None:
        from .differences import show_explanation

        for explanation in planned.explain(asked.explain):
            out.print()
            show_explanation(explanation, out)
    if planned.findings:
        out.print()
    show_findings(planned.findings, out, root, notes=asked.check)
    if planned.errors and not asked.check:
        number = counted(len(planned.errors), "error")
        out.print(
            f"[dim]{number}: `build` and `run` refuse, `plan --check` exits 10, and this plan 0[/]", soft_wrap=True
        )
    if asked.check and not planned.errors:
        out.print(f"[green]checked[/]: every call of {counted(len(planned.plan.images), 'image')} is provided for")
