"""``flyte-build verify FILE [TASK | --env NAME]``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..options import (
    configured,
    env_option,
    file_argument,
    json_option,
    opened,
    platform_option,
    project_options,
    quiet_option,
    task_argument,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...building.comparing import Compared, Remote
    from ...building.verifying import Verified
    from ...remote.cache import RemoteCache
    from ...settings import Settings

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
@quiet_option
def verify(
    file: Path,
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
    from ...building.verifying import mismatch, verify_images
    from ...remote.connecting import connected
    from ...store import Store
    from ..progress import make_reporter

    workspace = opened(file, root, lockfiles)
    environments = workspace.select(task, env)
    reporter = make_reporter(quiet or as_json)
    settings = replace(configured(workspace), cache=())
    with connected(settings, reporter) as shared:
        found = verify_images(
            workspace,
            environments,
            Store(),
            reporter,
            platform=platform,
            fetch=fetch,
            remote=_remote(registry, settings, shared),
            shared=shared,
            jobs=jobs,
        )
    if as_json:
        document = {"schema": 1, "good": all(v.good for v in found), "images": [v.to_json() for v in found]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif not quiet:
        _show(found)
    if (error := mismatch(found)) is not None:
        raise error


def _remote(asked: str | None, settings: Settings, shared: RemoteCache) -> Remote | None:
    """Where a registry has the images: in the one named or configured, or the one image that is named."""
    if asked is None and settings.registry is None:
        return None
    from ...building.comparing import Remote
    from ...registry.reference import Reference
    from ...remote.target import Target

    client = shared.registry(patient=True)
    # What has a tag or a digest is an image; the port of a registry that is no more than a host is no tag.
    if asked is not None and ("@" in asked or ("/" in asked and ":" in asked.rpartition("/")[2])):
        return Remote(client, exactly=Reference.parse(asked))
    target = Target.of(replace(settings, registry=asked or settings.registry), client)
    return Remote(client, target, demanded=asked is not None)


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
