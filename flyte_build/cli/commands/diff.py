"""``flyte-build diff A B``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..console import echo
from ..options import full_option, json_option, platform_option, project_options

__all__ = ["DIFFERENCES_FOUND", "diff"]

DIFFERENCES_FOUND = 13
"""The exit code of ``--exit-code`` where something differs: no error, and none of the errors' codes."""


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--file",
    "-f",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The Python file whose environments A and B name.",
)
@click.option("--files", "every_file", is_flag=True, help="List every path that differs.")
@click.option("--exit-code", is_flag=True, help=f"Exit {DIFFERENCES_FOUND} when A and B differ (default: 0).")
@platform_option
@project_options
@json_option
@full_option
def diff(
    before: str,
    after: str,
    file: Path | None,
    every_file: bool,
    exit_code: bool,
    platform: str | None,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
) -> None:
    """Show what differs between A and B: packages, configuration, files and layers.

    \b
    A and B are any two of:
      PATH.json       a lock file
      REV:PATH.json   a lock file at a git revision (HEAD~1, main, a tag;
                      nothing before the colon: as staged)
      FILE.py::ENV    an environment, as FILE and its lock say it now
      store:ENV       the image that was last built here for ENV
      ENV             FILE::ENV where --file is given, else store:ENV
      sha256:HEX      an image built here, by derivation or manifest; the
                      beginning is enough (12 digits go without `sha256:`, as
                      `plan` prints them)
      oci:DIR[:REF]   an image of an OCI layout: a name in it, an environment
                      of ours, or sha256:HEX

    They are compared in what both of them tell: a lock knows no files, an image of somebody else no wheel's hash.
    What could not be compared is listed as not known. Nothing is fetched, built or written. The JSON schema is
    documented in docs/diff.md.

    \b
    flyte-build diff HEAD:lockfiles/fold_env.json lockfiles/fold_env.json
    flyte-build diff store:fold_env examples/af2/main.py::fold_env
    flyte-build diff --file main.py fold_env msa_env
    flyte-build diff oci:./release oci:./nightly --files
    """
    from ...workbench import compare
    from ..console import stdout
    from ..differences import show_difference

    found = compare(before, after, file=file, platform=platform, root=root, lockfiles=lockfiles)
    if as_json:
        echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        show_difference(found, stdout(), every_file=every_file)
    if exit_code and not found.empty:
        raise click.exceptions.Exit(DIFFERENCES_FOUND)
