"""``flyte-build why PACKAGE [FILE]``: who asked for it, and by way of whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..completion import complete_package
from ..console import echo
from ..options import env_option, json_option, platform_option, project_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...workbench.questions import Edge, Reason, Why

__all__ = ["why"]

# More direct requirements than this are counted, not listed, on one line.
_LISTED = 6


@click.command()
@click.argument("package", shell_complete=complete_package)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@env_option
@platform_option
@click.option("--offline", is_flag=True, help="Ask no index what wheels require that are not in the store.")
@project_options
@json_option
def why(
    package: str,
    file: Path | None,
    env: tuple[str, ...],
    platform: str | None,
    offline: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
) -> None:
    """Show why PACKAGE is in the images of FILE: which step asked for it, and by way of which packages.

    PACKAGE is a Python distribution, a Debian or a conda package. Environments that have it for the same reason are
    shown together. What a package requires is read from the package itself: in the store, else (wheels only) where the
    indexes have it.

    \b
    flyte-build why anyio
    flyte-build why libssl3 main.py --env fold_env
    """
    from ..taking import taken

    bench = taken(file, root, lockfiles, env=env, quiet=as_json)
    found = bench.why(package, env=env, platform=platform, online=not offline)
    if as_json:
        echo(json.dumps(_to_json(found), indent=2))
    else:
        _show(found)


def _show(found: Why) -> None:
    from rich.markup import escape

    from ..console import stderr, stdout

    out = stdout()
    for number, (reason, images) in enumerate(_alike(found.reasons)):
        if number:
            out.print()
        kind = {"deb": "Debian package", "conda": "conda package", "wheel": "wheel"}[reason.what.kind]
        layer = "" if reason.step is None else f", layer of pip step {reason.step}"
        out.print(
            f"[bold]{escape(reason.what.name)} {escape(reason.version)}[/] "
            f"[dim]({kind}{layer}) in {escape(', '.join(images))}[/]",
            soft_wrap=True,
        )
        for line in _chain(reason):
            out.print(escape(line), soft_wrap=True)
        others = [e for e in reason.required_by if e not in reason.chain]
        if others:
            out.print(f"  [dim]also required by: {escape(_listed(others))}[/]", soft_wrap=True)
    if found.without:
        out.print(f"\n[dim]not in {escape(', '.join(found.without))}[/]", soft_wrap=True)
    if found.unread:
        from ..console import counted

        stderr().print(
            f"what {counted(len(found.unread), 'package')} require is not known: they are not in this machine's store",
            style="dim",
            soft_wrap=True,
        )


def _chain(reason: Reason) -> list[str]:
    """The chain, a line a package, each below the one that requires it."""
    if reason.root is None:
        return ["  nothing that is known here requires it"]
    lines = [f"  {reason.root.words}   ({reason.root.origin})"]
    for depth, edge in enumerate(reason.chain):
        lines.append(f"  {'  ' * depth}└ {edge.words}")
    return lines


def _listed(edges: Sequence[Edge]) -> str:
    shown = [f"{e.by.name} ({e.words})" for e in edges[:_LISTED]]
    more = len(edges) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _alike(reasons: Sequence[Reason]) -> list[tuple[Reason, list[str]]]:
    """Reasons that differ in nothing but the image, together with these images."""
    groups: dict[Any, tuple[Reason, list[str]]] = {}
    several = len({r.platform for r in reasons}) > 1
    for r in reasons:
        key = (r.what, r.version, r.root, r.chain, r.required_by, r.step)
        image = f"{r.environment} ({r.platform})" if several else r.environment
        groups.setdefault(key, (r, []))[1].append(image)
    return list(groups.values())


def _to_json(found: Why) -> dict[str, Any]:
    return {
        "schema": 1,
        "package": found.package,
        "reasons": [
            {
                "environment": r.environment,
                "platform": r.platform,
                "kind": r.what.kind,
                "name": r.what.name,
                "version": r.version,
                "step": r.step,
                "asked": None
                if r.root is None
                else {"name": r.root.what.name, "by": r.root.origin, "as": r.root.words},
                "chain": [_edge(e) for e in r.chain],
                "required_by": [_edge(e) for e in r.required_by],
            }
            for r in found.reasons
        ],
        "without": list(found.without),
        "unread": list(found.unread),
    }


def _edge(edge: Edge) -> dict[str, str]:
    return {"by": edge.by.name, "name": edge.what.name, "as": edge.words}
