"""Options that several commands share, spelled once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from ..kernel.errors import FlyteBuildError
from .completion import complete_environment, complete_output, complete_platform, complete_task

if TYPE_CHECKING:
    from ..kernel.reporting import Reporter
    from ..workbench import Workbench

__all__ = [
    "attest_option",
    "cache_option",
    "env_option",
    "file_argument",
    "full_option",
    "jobs_option",
    "json_option",
    "locked_option",
    "name_option",
    "network_option",
    "on_option",
    "opened",
    "output_option",
    "platform_option",
    "project_options",
    "quiet_option",
    "soci_option",
    "tag_option",
    "task_argument",
    "unchecked_option",
]

F = TypeVar("F", bound=Callable[..., Any])


def file_argument(f: F) -> F:
    """FILE, or what the settings say; where they say it, the first word may be the TASK as well. What an error says is
    to be done is said of this FILE."""

    @wraps(f)
    def told(**given: Any) -> Any:
        words = _told_apart(given)
        try:
            return f(**words)
        except FlyteBuildError as e:
            if e.hint and words["file"] is not None:
                from .hints import pointed

                e.hint = pointed(e.hint, words["file"])
            raise

    return cast("F", click.argument("file", type=click.Path(path_type=Path), required=False)(told))


def _told_apart(given: dict[str, Any]) -> dict[str, Any]:
    """The words of the command line, with TASK where FILE is left out. FILE is then ``None``: the settings' own."""
    file: Path | None = given["file"]
    if file is None or "task" not in given or file.suffix or file.exists() or len(file.parts) > 1:
        return given
    from ..settings import read_settings

    if ":" in str(file) or read_settings(Path.cwd()).file is None:
        return given
    rest = [given["task"]] if given["task"] is not None else []
    if "arguments" in given:
        return given | {"file": None, "task": str(file), "arguments": (*rest, *given["arguments"])}
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    return given | {"file": None, "task": str(file)}


task_argument = click.argument("task", required=False, shell_complete=complete_task)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say only warnings and results.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")


def _show_whole(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from .tables import show_whole

        show_whole(True)
        ctx.call_on_close(lambda: show_whole(False))


full_option = click.option(
    "--full",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_whole,
    help="Show whole digests and every column, however narrow the terminal.",
)

platform_option = click.option(
    "--platform",
    metavar="OS/ARCH",
    shell_complete=complete_platform,
    help="Work on this platform, or `all` (default: this machine's).",
)

unchecked_option = click.option(
    "--no-check",
    "check",
    flag_value=False,
    is_flag=True,
    default=True,
    help="Go on although a call would fail (see `plan --check`).",
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
    "--jobs", "-j", type=click.IntRange(1), help="Layers assembled at once (default: what the processors suffice for)."
)

locked_option = click.option(
    "--locked", is_flag=True, help="Write no lock, and exit 15 unless the images are those that are pinned."
)

attest_option = click.option(
    "--no-attest", "attest", flag_value=False, is_flag=True, default=True, help="Push no SBOM and no provenance."
)

soci_option = click.option(
    "--soci",
    is_flag=True,
    help="Push beside each image one with a SOCI index, of the same layers, for nodes that fetch files when they are "
    "read. They need soci-snapshotter 0.14 or later: an older one reads them wrong.",
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


def on_option(f: F) -> F:
    """``--on TARGET``; what an error says is to be done is said of that target."""

    @wraps(f)
    def told(*args: Any, on: str | None, **given: Any) -> Any:
        try:
            return f(*args, on=on, **given)
        except FlyteBuildError as e:
            if e.hint and on is not None:
                from .hints import aimed

                e.hint = aimed(e.hint, on)
            raise

    return cast(
        "F",
        click.option(
            "--on",
            metavar="TARGET",
            help="The target of [tool.flyte-build.targets] that is meant (default: this machine).",
        )(told),
    )


def network_option(f: F) -> F:
    """``--network MODE``, and ``--no-network`` for the mode ``none``."""

    @wraps(f)
    def told(network: str | None, no_network: bool, **given: Any) -> Any:
        if no_network and network not in (None, "none"):
            raise click.UsageError(f"`--no-network` and `--network {network}` say different things.")
        return f(network="none" if no_network else network, **given)

    one = click.option("--no-network", is_flag=True, help="As `--network none`.")(told)
    return cast(
        "F",
        click.option(
            "--network",
            type=click.Choice(["internet", "host", "none"]),
            help="What tasks reach: `internet` (not this machine itself), `host` (this machine's own services, too), "
            "or `none` (default: internet where this machine can give it, else host).",
        )(one),
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
        help="Folder that imports start from (default: the file's own, or above it the one that holds all it imports).",
    )(f)


def opened(
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    *,
    quiet: bool = False,
    reporter: Reporter | None = None,
) -> Workbench:
    """The user's project, open for the rest of the process. What its file prints meanwhile goes to standard error:
    standard output holds results.

    The tasks' dependencies need not be installed here: they are in the images, and stood in for until then.
    """
    import logging

    from ..kernel import tracing
    from ..workbench import open_project
    from .progress import make_reporter
    from .waits import telling

    name = str(file or "the file of the settings")
    with (
        tracing.timed("work", f"load {name}"),
        telling(f"reading {name}", quiet=quiet),
        contextlib.redirect_stdout(sys.stderr),
    ):
        bench = open_project(file, root=root, lockfiles=lockfiles, reporter=reporter or make_reporter(quiet))
    bench.modules.stay()
    # A file that sets up logging means its own: our requests are none of it.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    introduce(bench)
    return bench


def introduce(bench: Workbench) -> None:
    """Say what of the project is otherwise here than where it runs."""
    said = [f"not installed here, and stood in for: {', '.join(bench.stand_ins)}"] if bench.stand_ins else []
    for line in (*said, *bench.remarks):
        from .console import stderr

        stderr().print(line, style="dim", soft_wrap=True)
