"""Options that several commands share, spelled once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .completion import complete_environment, complete_output, complete_platform, complete_task

if TYPE_CHECKING:
    from ..planning.workspace import Workspace
    from ..settings import Settings

__all__ = [
    "attest_option",
    "cache_option",
    "configured",
    "env_option",
    "file_argument",
    "jobs_option",
    "json_option",
    "locked_option",
    "name_option",
    "opened",
    "output_option",
    "platform_option",
    "project_options",
    "quiet_option",
    "tag_option",
    "task_argument",
    "unchecked_option",
]

F = TypeVar("F", bound=Callable[..., Any])

file_argument = click.argument("file", type=click.Path(path_type=Path))

task_argument = click.argument("task", required=False, shell_complete=complete_task)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say only warnings and results.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")

platform_option = click.option(
    "--platform",
    metavar="OS/ARCH",
    shell_complete=complete_platform,
    help="Work on this platform, or `all` (default: this machine's).",
)

unchecked_option = click.option(
    "--no-check", "unchecked", is_flag=True, help="Go on although a call would fail (see `plan --check`)."
)

output_option = click.option(
    "--output",
    "-o",
    metavar="FORM:PATH",
    shell_complete=complete_output,
    help="Also write the images: oci:DIR (an OCI image layout), oci-archive:FILE, or docker-archive:FILE.",
)

cache_option = click.option(
    "--cache",
    "caches",
    multiple=True,
    metavar="REPO",
    help="Take what others built from this repository of a registry (default: `cache` of pyproject.toml); may be "
    "repeated: all are asked, pushes write to the first.",
)

jobs_option = click.option(
    "--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: the processors)."
)

locked_option = click.option(
    "--locked", is_flag=True, help="Write no lock, and exit 15 unless the images are those that are pinned."
)

attest_option = click.option(
    "--no-attest", "attest", flag_value=False, is_flag=True, default=True, help="Push no SBOM and no provenance."
)

name_option = click.option(
    "--name", metavar="NAME", help="The environment's name of a layout's image (default: what the layout says)."
)

tag_option = click.option(
    "--tag",
    "tags",
    multiple=True,
    metavar="TAG",
    help="Let TAG name the pushed images, too; may be repeated. (Their identity is the digest.)",
)

env_option = click.option(
    "--env",
    "-e",
    "env",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_environment,
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


def opened(file: Path, root: Path | None, lockfiles: Path | None) -> Workspace:
    """The user's file, imported. What it prints meanwhile goes to standard error: standard output holds results.

    The tasks' dependencies need not be installed here: they are in the images, and stood in for until then.
    """
    from ..planning.workspace import open_workspace

    with contextlib.redirect_stdout(sys.stderr):
        workspace = open_workspace(file, root, lockfiles, stand_ins=True)
    missing = workspace.project.stand_ins
    if missing:
        from .console import stderr

        stderr().print(f"not installed here, and stood in for: {', '.join(missing)}", style="dim", soft_wrap=True)
    return workspace


def configured(workspace: Workspace, *, caches: Sequence[str] = (), registry: str | None = None) -> Settings:
    """The project's settings, with what the command line says instead."""
    from ..settings import read_settings

    settings = read_settings(workspace.project.root)
    if caches:
        settings = replace(settings, cache=tuple(dict.fromkeys(caches)))
    return replace(settings, registry=registry) if registry else settings
