"""``flyte-build venv [FILE] --env NAME``: an environment's wheels here, for editors and debuggers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...kernel.paths import shown
from ..completion import complete_environment
from ..console import echo
from ..options import file_argument, json_option, project_options, quiet_option

__all__ = ["venv"]


@click.command()
@file_argument
@click.option(
    "--env",
    "-e",
    metavar="NAME",
    shell_complete=complete_environment,
    help="The environment (default: the only one of FILE).",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The folder (default: .venv-NAME in the project's root).",
)
@click.option("--python", metavar="PYTHON", help="The interpreter (default: one of the image's minor version).")
@project_options
@json_option
@quiet_option
def venv(
    file: Path | None,
    env: str | None,
    output: Path | None,
    python: str | None,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a virtual environment with exactly the wheels of an environment's image, or bring it up to date.

    For editors, debuggers and notebooks: what they complete and step into is what runs. The project's own modules are
    on its path. Debian packages, environment variables and copied files are only in the image. uv installs it; no index
    is asked for anything but the locked wheels, by hash.

    \b
    flyte-build venv examples/af2/main.py --env fold_env
    flyte-build venv --env train -o .venv
    """
    from ...workbench.venvs import venv as make
    from ..progress import make_reporter
    from ..taking import named_lock

    named = named_lock(file, env, root, lockfiles)
    folder = output or named.root / f".venv-{named.lock.environment}"
    made = make(named, folder, make_reporter(quiet or as_json), root=named.root, python=python)
    if as_json:
        said = {
            "schema": 1,
            "environment": made.environment,
            "folder": str(made.folder),
            "interpreter": str(made.interpreter),
            "python": made.python,
            "wheels": made.wheels,
            "fresh": made.fresh,
        }
        echo(json.dumps(said))
    elif not quiet:
        echo(f"{made.wheels} wheels of {made.environment} for Python {made.python} in {shown(made.folder)}")
        echo(f"interpreter: {shown(made.interpreter)}")
