"""``flyte-build verify FILE [TASK | --env NAME]``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..console import echo
from ..options import (
    env_option,
    file_argument,
    full_option,
    json_option,
    platform_option,
    project_options,
    quiet_option,
    task_argument,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...building.comparing import Compared
    from ...building.verifying import Verified

__all__ = ["verify"]


@click.command()
@file_argument
@task_argument
@env_option
@platform_option
@click.option(
    "--registry",
    metavar="REF",
    help="Compare with this registry, too (default: the configured one), or with one image in it.",
)
@click.option("--fetch", is_flag=True, help="Download every artifact anew instead of hashing the store's copy again.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: the processors).")
@project_options
@json_option
@full_option
@quiet_option
def verify(
    file: Path | None,
    task: str | None,
    env: tuple[str, ...],
    platform: str | None,
    registry: str | None,
    fetch: bool,
    jobs: int | None,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Rebuild images from nothing, and compare them with what is recorded.

    Every layer is assembled anew in a store of its own, from artifacts whose hashes are checked again; no cache is
    asked. The result is compared with the pin in the lock, with what the store says that this derivation became, and
    with the registry. Exit 15 where anything differs, with the first layer and path in which it does. What was not
    recorded anywhere is `absent`, which is no difference; but a registry named with --registry has to have the images.

    \b
    flyte-build verify examples/af2/main.py
    flyte-build verify main.py --env msa_env --registry registry.example/team
    flyte-build verify main.py --env msa_env \\
        --registry registry.example/team/msa_env:v3 --fetch
    """
    from ..taking import taken

    bench = taken(file, root, lockfiles, task, env, quiet=quiet or as_json)
    found = bench.verify(task, env=env, platform=platform, registry=registry, fetch=fetch, jobs=jobs)
    if as_json:
        echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    elif not quiet:
        _show(found.images)
    found.refuse()


_STYLES = {
    "same": "[green]same[/]",
    "differs": "[bold red]differs[/]",
    "outdated": "[bold red]of another derivation[/]",
    "incomplete": "[bold red]incomplete[/]",
    "absent": "[dim]absent[/]",
    "missing": "[bold red]missing[/]",
}


def _show(found: Sequence[Verified]) -> None:
    from rich.markup import escape

    from ..console import counted, stdout
    from ..tables import Column, print_table, short_digest

    out = stdout()
    remote = any(v.registry is not None for v in found)
    columns = [
        Column("environment"),
        Column("platform", drop=0 if len({v.platform for v in found}) > 1 else 6),
        Column("rebuilt", shorten=short_digest),
        Column("pin"),
        Column("store"),
        *([Column("registry")] if remote else []),
    ]
    rows = []
    for v in found:
        states = [_STYLES[c.state] for c in (v.pin, v.store, v.registry) if c is not None]
        rows.append((escape(v.environment), v.platform, v.digest, *states))
    print_table(out, columns, rows)
    for v in found:
        for name, compared in v.compared.items():
            _differences(v, name, compared)
    same = sum(v.good and v.confirmed for v in found)
    if same:
        out.print(f"[bold]{counted(same, 'image')} verified[/]", soft_wrap=True)
    unknown = [v.environment for v in found if v.good and not v.confirmed]
    if unknown:
        names = escape(", ".join(dict.fromkeys(unknown)))
        out.print(f"nothing is recorded to compare {names} with; `flyte-build build` writes pins", soft_wrap=True)


def _differences(image: Verified, name: str, compared: Compared) -> None:
    from rich.markup import escape

    from ..console import stdout

    if compared.good:
        return
    out = stdout()
    where = f" ({compared.place})" if compared.place else ""
    out.print(f"\n[bold]{escape(image.environment)} on {image.platform}: {name}{escape(where)}[/]", soft_wrap=True)
    if compared.digest is not None and compared.state == "differs":
        out.print(f"  expected {compared.digest}\n  found    {image.digest}", soft_wrap=True)
    for line in compared.differences:
        out.print(f"  {escape(line)}", soft_wrap=True)


# FIXME
