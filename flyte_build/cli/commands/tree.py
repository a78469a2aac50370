"""``flyte-build tree [FILE] [TASK]``: what stands on what in an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console import echo
from ..options import (
    env_option,
    file_argument,
    json_option,
    platform_option,
    project_options,
    task_argument,
)

if TYPE_CHECKING:
    from ...workbench.questions import Graph, Key

__all__ = ["tree"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@click.option("--debian", is_flag=True, help="Show the Debian packages, too.")
@click.option("--depth", type=click.IntRange(0), metavar="N", help="Show only N levels below what was asked for.")
@click.option("--offline", is_flag=True, help="Ask no index what wheels require that are not in the store.")
@project_options
@json_option
def tree(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    debian: bool,
    depth: int | None,
    offline: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
) -> None:
    """Show the locked packages of each image as a tree: what was asked for, and below it what that requires.

    A package is unfolded where it first stands; `(*)` says that it stood above. `why PACKAGE` reads the other way.

    \b
    flyte-build tree main.py main
    flyte-build tree --env fold_env --debian --depth 1
    """
    from ..taking import taken

    bench = taken(file, root, lockfiles, task, env, quiet=as_json)
    found = bench.tree(task, env=env, platform=platform, online=not offline)
    if as_json:
        echo(json.dumps({"schema": 1, "images": [_to_json(g) for g in found.graphs], "unread": list(found.unread)}))
        return
    for number, graph in enumerate(found.graphs):
        if number:
            echo("")
        _show(graph, debian, depth)
    if found.unread:
        from ..console import counted, stderr

        stderr().print(
            f"what {counted(len(found.unread), 'package')} require is not known: they are not in this machine's store",
            style="dim",
            soft_wrap=True,
        )


def _show(graph: Graph, debian: bool, depth: int | None) -> None:
    from rich.markup import escape

    from ..console import stdout

    out = stdout()
    out.print(f"[bold]{escape(graph.environment)}[/] [dim]{graph.platform}[/]", soft_wrap=True)
    seen: set[Key] = set()
    roots = [r for r in graph.roots if debian or r.what.kind != "deb"]
    standing = {r.what for r in roots} | {e.what for edges in graph.edges.values() for e in edges}
    alone = [key for key in graph.versions if key not in standing and (debian or key.kind != "deb")]
    for root in roots:
        out.print(
            f"{escape(_label(graph, root.what))}  [dim]{escape(root.words)}: {escape(root.origin)}[/]", soft_wrap=True
        )
        _below(graph, root.what, "", seen, depth)
    for key in alone:
        out.print(f"{escape(_label(graph, key))}  [dim]nothing known here requires it[/]", soft_wrap=True)
        _below(graph, key, "", seen, depth)


def _below(graph: Graph, key: Key, indent: str, seen: set[Key], depth: int | None) -> None:
    """The lines below ``key``, without recursion: a chain may be long."""
    from rich.markup import escape

    from ..console import stdout

    out = stdout()
    if key in seen:
        return
    seen.add(key)
    waiting = _children(graph, key, indent, 1, depth)
    while waiting:
        at, words, mark, below, level = waiting.pop()
        again = at in seen and at in graph.edges
        out.print(
            f"[dim]{mark}[/]{escape(_label(graph, at))}  [dim]{escape(words)}{' (*)' if again else ''}[/]",
            soft_wrap=True,
        )
        if at not in seen:
            seen.add(at)
            waiting += _children(graph, at, below, level + 1, depth)


def _children(
    graph: Graph, key: Key, indent: str, level: int, depth: int | None
) -> list[tuple[Key, str, str, str, int]]:
    """What is directly below ``key``, last first: package, words, its own mark, and the indent of what follows."""
    if depth is not None and level > depth:
        return []
    edges = {e.what: e.words for e in graph.edges.get(key, ()) if e.what != key}
    last = len(edges) - 1
    rows = [
        (what, words, f"{indent}{'└─ ' if i == last else '├─ '}", f"{indent}{'   ' if i == last else '│  '}", level)
        for i, (what, words) in enumerate(sorted(edges.items()))
    ]
    return rows[::-1]


def _label(graph: Graph, key: Key) -> str:
    return f"{key.name} {graph.versions[key]}"


def _to_json(graph: Graph) -> dict[str, Any]:
    return {
        "environment": graph.environment,
        "platform": graph.platform,
        "packages": [
            {
                "kind": key.kind,
                "name": key.name,
                "version": version,
                "step": graph.steps.get(key),
                "asked": [{"by": r.origin, "as": r.words} for r in graph.roots if r.what == key],
                "requires": [{"name": e.what.name, "as": e.words} for e in graph.edges.get(key, ())],
            }
            for key, version in sorted(graph.versions.items())
        ],
    }
