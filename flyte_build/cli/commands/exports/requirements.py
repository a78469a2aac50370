"""``flyte-build export requirements FILE [--env NAME]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from ....kernel.paths import shown
from ...completion import complete_environment
from ...console import counted, echo
from ...options import file_argument, platform_option, project_options, quiet_option

__all__ = ["requirements"]


@click.command()
@file_argument
@click.option("--env", "-e", metavar="NAME", shell_complete=complete_environment, help="The environment, by name.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["requirements", "pylock"]),
    default="requirements",
    show_default=True,
    help="pip's hashed requirements.txt, or pylock.toml (PEP 751), which needs --wheels.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write to FILE.")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Also put the wheels into DIR, fetched by hash.",
)
@platform_option
@project_options
@quiet_option
def requirements(
    file: Path | None,
    env: str | None,
    form: Literal["requirements", "pylock"],
    output: Path | None,
    wheels: Path | None,
    platform: str | None,
    root: Path | None,
    lockfiles: Path | None,
    quiet: bool,
) -> None:
    """Write the locked wheels of an environment for other installers.

    FILE is a Python file, or one environment's lock (lockfiles/NAME.json), which is read without importing anything.
    All platforms of the lock are in it, with markers where they differ, unless --platform names one. The file names
    no index: an installer asks the one it is configured with, and takes these hashes or nothing.

    \b
    flyte-build export requirements main.py --env msa_env -o requirements.txt
    pip install --require-hashes -r requirements.txt

    \b
    flyte-build export requirements msa_env.json --wheels wheels/ -o r.txt
    pip install --require-hashes --no-index --find-links wheels/ -r r.txt

    \b
    flyte-build export requirements main.py -e msa_env \\
        --format pylock -o pylock.toml --wheels wheels/
    uv pip sync pylock.toml
    """
    from ....workbench.exporting import export_text
    from ...progress import make_reporter
    from ...taking import named_lock

    named = named_lock(file, env, root, lockfiles)
    made = export_text(named, form, make_reporter(quiet), output=output, platform=platform, wheels=wheels)
    if output is None:
        click.echo(made.text, nl=False)
    elif not quiet:
        beside = f"; they are in {shown(wheels)}" if wheels is not None else ""
        echo(f"written to {shown(output)}: {counted(made.wheels, 'wheel')}, for Python {made.python}{beside}")
