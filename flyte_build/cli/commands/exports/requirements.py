"""``flyte-build export requirements FILE [--env NAME]``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...completion import complete_environment
from ...options import file_argument, platform_option, project_options, quiet_option

if TYPE_CHECKING:
    from ....locks.nouns import LockedWheel
    from ...locked import Named

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
    file: Path,
    env: str | None,
    form: str,
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
    from ....exporting.pylock import pylock_text
    from ....exporting.requirements import requirements_text
    from ....exporting.rows import chosen_platforms
    from ....exporting.wheels import wheels_of
    from ....kernel.errors import InputError
    from ...locked import named_lock

    named = named_lock(file, env, root, lockfiles)
    platforms = chosen_platforms(named.lock, platform)
    if form == "pylock":
        if wheels is None:
            raise InputError(
                "pylock.toml (PEP 751) has to say where each wheel is, and a lock names no place",
                hint="let the wheels be put beside it, with --wheels DIR; or take --format requirements",
            )
        beside = os.path.relpath(wheels.absolute(), (output.absolute().parent if output else Path.cwd()))
        text = pylock_text(named.lock, platforms, Path(beside).as_posix())
    else:
        text = requirements_text(named.lock, platforms)
    if wheels is not None:
        _put(named, wheels_of(named.lock, platforms), wheels, quiet)
    _write(text, output)


def _put(named: Named, locked: list[LockedWheel], folder: Path, quiet: bool) -> None:
    from ....exporting.wheels import fetched, put_wheels
    from ....store import Store
    from ...progress import make_reporter

    store = Store()
    paths = fetched(locked, store, named.locator(), make_reporter(quiet))
    with store.reading():
        put_wheels(folder, paths)


def _write(text: str, output: Path | None) -> None:
    from ....kernel.errors import InputError

    if output is None:
        click.echo(text, nl=False)
        return
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, output)
    except OSError as e:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(f"--output: {output}: cannot be written: {e.strerror or e}") from None
