"""``flyte-build export pex FILE --env ENV -o FILE.pex``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....kernel.paths import shown
from ...completion import complete_environment
from ...console import echo
from ...options import file_argument, json_option, platform_option, project_options, quiet_option

if TYPE_CHECKING:
    from ....workbench import Exported

__all__ = ["pex"]


@click.command()
@file_argument
@click.option("--env", "-e", metavar="NAME", shell_complete=complete_environment, help="The environment, by name.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The file to write.",
)
@click.option("--script", "-c", metavar="NAME", help="Run this console script of one of the wheels.")
@click.option("--entry-point", "-m", metavar="MODULE[:FUNCTION]", help="Run this module or function.")
@platform_option
@project_options
@json_option
@quiet_option
def pex(
    file: Path | None,
    env: str | None,
    output: Path,
    script: str | None,
    entry_point: str | None,
    platform: str | None,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the locked wheels of an environment as one executable file (a PEX).

    For machines without containers that have the lock's Python and Linux's C library at least as new as the image's.
    The wheels come from the store, or are fetched by hash, and lie in the file as they are. The same lock gives the
    same bytes, wherever it is written. Only Python packages are in it: no Debian package, no copied file, no
    environment variable. Without -c or -m, the file is a Python interpreter that has the packages.

    \b
    flyte-build export pex main.py --env msa_env -o msa.pex
    ./msa.pex my_script.py
    flyte-build export pex main.py --env msa_env -o msa.pex -c pytest
    flyte-build export pex lockfiles/msa_env.json -o msa.pex -m json.tool
    flyte-build export pex main.py --env msa_env -o arm.pex --platform linux/arm64

    Needs the pex tool: pip install 'flyte-build[pex]'.
    """
    from ....workbench.exporting import export_pex, pex_entry
    from ...progress import make_reporter

    entry = pex_entry(script, entry_point)
    from ...taking import named_lock

    named = named_lock(file, env, root, lockfiles)
    made = export_pex(named, output, make_reporter(quiet or as_json), platform=platform, entry=entry)
    if as_json:
        document = {
            "schema": 1,
            "environment": made.environment,
            "platforms": list(made.platforms),
            "python": made.python,
            "file": str(output),
            "sha256": made.sha256,
            "size": made.size,
            "wheels": made.wheels,
        }
        echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif not quiet:
        _show(made)


def _show(made: Exported) -> None:
    from rich.markup import escape

    from ...console import counted, size, stdout

    assert made.file is not None
    stdout().print(
        f"written to {escape(shown(made.file))}: {counted(made.wheels, 'wheel')}, {size(made.size)}, "
        f"for Python {made.python}\nsha256:{made.sha256}",
        soft_wrap=True,
    )
