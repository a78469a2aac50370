"""``flyte-build export pex FILE --env ENV -o FILE.pex``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...completion import complete_environment
from ...options import file_argument, json_option, platform_option, project_options, quiet_option

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
    file: Path,
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
    from ....exporting.pex import Entry, left_out, need_pex, write_pex
    from ....exporting.rows import chosen_platforms
    from ....exporting.wheels import fetched, wheels_of
    from ....kernel.platforms import host_platform
    from ....store import Store
    from ....store.files import hash_file
    from ...locked import named_lock
    from ...progress import make_reporter

    entry = Entry(script, entry_point)
    need_pex()
    named = named_lock(file, env, root, lockfiles)
    platforms = chosen_platforms(named.lock, platform or host_platform())
    reporter = make_reporter(quiet or as_json)
    missing = [] if as_json else sorted({what for p in platforms for what in left_out(named.lock, p)})
    if missing:
        reporter.note(f"not in a PEX, which holds Python packages only: {', '.join(missing)}")
    store = Store()
    wheels = fetched(wheels_of(named.lock, platforms), store, named.locator(), reporter)
    with store.session() as session:
        scratch = session.temporary("pex")
        scratch.mkdir()
        write_pex(named.lock, platforms, wheels, output, entry=entry, scratch=scratch, reporter=reporter)
    sha256, size = hash_file(output)
    document = {
        "schema": 1,
        "environment": named.lock.environment,
        "platforms": platforms,
        "python": named.lock.python,
        "file": str(output),
        "sha256": sha256,
        "size": size,
        "wheels": len(wheels),
    }
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif not quiet:
        _show(output, sha256, size, len(wheels), named.lock.python)


def _show(output: Path, sha256: str, size: int, wheels: int, python: str) -> None:
    from rich.markup import escape

    from ...console import counted, stdout
    from ...console import size as human

    stdout().print(
        f"written to {escape(str(output))}: {counted(wheels, 'wheel')}, {human(size)}, for Python {python}\n"
        f"sha256:{sha256}",
        soft_wrap=True,
    )
