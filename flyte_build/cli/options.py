"""Options that several commands share, spelled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["env_option", "file_argument", "json_option", "platform_option", "project_options", "quiet_option"]

F = TypeVar("F", bound=Callable[..., Any])

file_argument = click.argument("file", type=click.Path(path_type=Path))

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say only warnings and results.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")

platform_option = click.option(
    "--platform", metavar="OS/ARCH", help="Work on this platform, or `all` (default: this machine's)."
)

env_option = click.option(
    "--env",
    "-e",
    "env",
    multiple=True,
    metavar="NAME",
    help="An environment by name, with all it depends on; may be repeated.",
)


def project_options(f: F) -> F:
    """``--root`` and ``--lockfiles``: where imports start and where the locks lie."""
    f = click.option(
        "--lockfiles",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder of the locks (default: the nearest lockfiles/ upwards of the file).",
    )(f)
    return click.option(
        "--root",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Folder that imports start from (default: the file's own).",
    )(f)
