"""``flyte-build target list | check NAME | manifests NAME``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ..completion import complete_target
from ..console import echo
from ..options import json_option, quiet_option

if TYPE_CHECKING:
    from ...workbench.target_checks import Check

__all__ = ["target"]

name_argument = click.argument("name", shell_complete=complete_target)


@click.group()
def target() -> None:
    """Look after the clusters that tasks can be run on: [tool.flyte-build.targets.NAME] of pyproject.toml.

    \b
    flyte-build target list
    flyte-build target manifests prod | kubectl diff -f -
    flyte-build target check prod
    """


@target.command("list")
@json_option
def list_targets(as_json: bool) -> None:
    """List the targets, and where each is. Asks no cluster."""
    from ...workbench.targeting import targets

    found = targets()
    if as_json:
        rows = [{"name": t.name, "kind": "kubernetes", "context": t.context, "namespace": t.place.namespace,
                 "storage": t.storage, "registry": t.registry, "profile": t.place.profile.name,
                 "queue": t.place.queue or None} for t in found]  # fmt: skip
        echo(json.dumps({"schema": 1, "targets": rows}, indent=2))
        return
    if not found:
        echo("no targets; [tool.flyte-build.targets.NAME] of pyproject.toml makes one (docs/kubernetes.md)")
        return
    from rich.markup import escape

    from ..console import stdout
    from ..tables import Column, print_table

    columns = (
        Column("target"),
        Column("context", drop=2),
        Column("namespace"),
        Column("profile", drop=1),
        Column("storage"),
    )
    rows_shown = [
        tuple(map(escape, (t.name, t.context or "(current)", t.place.namespace, t.place.profile.name, t.storage)))
        for t in found
    ]
    print_table(stdout(), columns, rows_shown)


@target.command()
@name_argument
@click.option(
    "--image",
    metavar="REF",
    help="What a pod tries the storage with: an image of your tasks' by digest (`flyte-build push` prints it), or "
    "`driver`, that of runs' drivers, made and pushed for it.",
)
@click.option("--no-pods", "pods", flag_value=False, is_flag=True, default=True, help="Make no pods: ask, do not try.")
@json_option
@quiet_option
def check(name: str, image: str | None, pods: bool, as_json: bool, quiet: bool) -> None:
    """Prove that runs can be on the target NAME, one line a question, each with its way out.

    The API server and what this account may do there, pull secrets, accelerators by the target's profile, Kueue and
    JobSet, the storage and the registry from here, and pods that pull by digest and write to the storage. Nothing
    stays behind but an image of a few hundred bytes in the registry. Exits 12 where a line failed.

    \b
    flyte-build target check prod
    flyte-build target check prod --image registry.example/team/msa_env@sha256:…
    """
    from pathlib import Path

    from ...settings import read_settings
    from ...workbench.target_checks import check_target
    from ...workbench.targeting import target as find
    from ..progress import make_reporter

    settings = read_settings(Path.cwd())
    meant = find(name, settings)
    live = not (as_json or quiet)
    heard = _show if live else lambda check: None
    reporter = make_reporter(not live)
    found = check_target(meant, settings, image=image, pods=pods, heard=heard, reporter=reporter)
    if as_json:
        echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    elif quiet:
        for one in found.checks:
            if one.state in ("failed", "warning"):
                _show(one)
    found.refuse()


_STYLES = {
    "ok": "[green]ok[/]      ",
    "failed": "[bold red]failed[/]  ",
    "warning": "[yellow]warning[/] ",
    "untried": "[dim]untried[/] ",
}


def _show(check: Check) -> None:
    from rich.markup import escape

    from ...kernel.visible import visible
    from ..console import stdout

    out = stdout()
    out.print(f"{_STYLES[check.state]} {escape(check.what)}: {escape(visible(check.said))}", soft_wrap=True)
    if check.hint:
        out.print(f"         [dim]{escape(visible(check.hint))}[/]", soft_wrap=True)


@target.command()
@name_argument
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    help="A person who starts runs, as the cluster knows them; may be repeated.",
)
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group of such people; may be repeated.")
@click.option(
    "--cluster-queue", metavar="NAME", help="Kueue's ClusterQueue, for the target's queue: prints the LocalQueue, too."
)
@json_option
def manifests(
    name: str, users: tuple[str, ...], groups: tuple[str, ...], cluster_queue: str | None, as_json: bool
) -> None:
    """Print, as YAML, what an administrator has to allow for runs on the target NAME: to read, then to apply.

    A Role in the target's namespace and whom it is given to, accounts, and a NetworkPolicy by which only pods of runs
    reach pods of runs. Nothing is about the whole cluster. Asks no cluster.

    \b
    flyte-build target manifests prod > runs.yaml
    flyte-build target manifests prod --group ml-team | kubectl apply -f -
    """
    from ...workbench.targeting import manifests_of, manifests_text
    from ...workbench.targeting import target as find

    meant = find(name)
    if as_json:
        items = manifests_of(meant, users=users, groups=groups, cluster_queue=cluster_queue)
        echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2))
    else:
        echo(manifests_text(meant, users=users, groups=groups, cluster_queue=cluster_queue).rstrip("\n"))
