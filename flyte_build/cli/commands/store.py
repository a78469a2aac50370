"""``flyte-build store verify | gc | path``."""

from __future__ import annotations

import json

import click

from ..console import echo
from ..options import json_option, quiet_option

__all__ = ["store"]


@click.group()
def store() -> None:
    """Look after the store: a plain OCI image layout plus the artifacts that were fetched.

    It can be deleted at any time and costs only time; `$FLYTE_BUILD_CACHE` says where it lies.
    """


@store.command()
def path() -> None:
    """Print the store's folder; `oci/` below it is an OCI image layout."""
    from ...workbench.housekeeping import store_folder

    echo(str(store_folder()))


@store.command()
@json_option
@quiet_option
def verify(as_json: bool, quiet: bool) -> None:
    """Hash everything again, unpacked images included, and check every reference.

    What is damaged is moved aside, so that the next build or run makes it again. Exits 9 when there was any.
    """
    from ...kernel.errors import StoreError
    from ...workbench.housekeeping import verify_store
    from ..console import counted, size
    from ..progress import make_reporter

    report = verify_store(make_reporter(quiet or as_json))
    if as_json:
        findings = [str(f) for f in report.findings]
        said = {"schema": 1, "files": report.files, "bytes": report.size, "trees": report.trees, "findings": findings}
        echo(json.dumps(said))
    else:
        for finding in report.findings:
            echo(str(finding))
    if not report.ok:
        raise StoreError(
            f"found damage in the store: {counted(len(report.findings), 'finding')}, moved aside or reported above",
            hint="build again: what is missing is made anew",
        )
    if not quiet and not as_json:
        echo(f"{counted(report.files, 'file')}, {size(report.size)}: every one is what its name says")
        if report.trees:
            echo(f"{counted(report.trees, 'unpacked folder')}: every file in them is as it was sealed")


@store.command()
@click.option(
    "--keep-days",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Keep images used within this many days, with all they need.",
)
@click.option("--dry-run", "-n", is_flag=True, help="Say what would go; remove nothing.")
@json_option
@quiet_option
def gc(keep_days: float, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Remove images, layers and artifacts that nothing has used lately. Waits for builds that are running."""
    from ...workbench.housekeeping import collect_garbage
    from ..console import counted, size
    from ..progress import make_reporter

    done = collect_garbage(keep_days=keep_days, dry_run=dry_run, reporter=make_reporter(quiet or as_json))
    if as_json:
        echo(json.dumps({"schema": 1, "files": done.files, "bytes": done.freed, "dry_run": dry_run}))
    elif not quiet:
        echo(f"{'would free' if dry_run else 'freed'} {size(done.freed)} in {counted(done.files, 'file')}")
