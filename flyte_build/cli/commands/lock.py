"""``flyte-build lock FILE``."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ...kernel.paths import shown
from ..console import stdout
from ..noop import question
from ..options import env_option, file_argument, full_option, json_option, opened, project_options, quiet_option

if TYPE_CHECKING:
    from ...locking.project import LockReport

__all__ = ["lock"]

# More moves than this are counted, not listed.
_MOVES = 40


@click.command()
@file_argument
@env_option
@click.option(
    "--resolver",
    type=click.Choice(["uv", "pip-tools"]),
    default="uv",
    show_default=True,
    help="uv resolves for every platform from any machine, pip-tools for this machine's only.",
)
@click.option(
    "--exclude-newer",
    metavar="DATE",
    help="Take only what was published before this date (2026-11-01 or 2026-11-01T12:00:00Z), or what is older than "
    "this (`7 days`); default: `exclude-newer` of pyproject.toml.",
)
@click.option("--upgrade", "-U", "upgrade_all", is_flag=True, help="Choose every version anew.")
@click.option("--upgrade-package", "-P", "upgrade", multiple=True, metavar="PACKAGE", help="Choose this one anew.")
@click.option(
    "--reseal",
    multiple=True,
    metavar="STEP",
    help="Run this sealed step again (its number, from 1, or `all`) and accept what it makes now.",
)
@click.option("--check", is_flag=True, help="Write nothing; exit 4 if a lock is missing or stale.")
@project_options
@json_option
@full_option
@quiet_option
def lock(
    file: Path | None,
    env: tuple[str, ...],
    resolver: Literal["uv", "pip-tools"],
    exclude_newer: str | None,
    upgrade_all: bool,
    upgrade: tuple[str, ...],
    reseal: tuple[str, ...],
    check: bool,
    root: Path | None,
    lockfiles: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Lock every environment that FILE reaches: one lockfiles/<environment>.json each.

    All environments are solved as one universe, so that they agree on versions wherever their requirements
    allow. Recipes that did not change keep their pins; locks name content (file, version, size, SHA-256),
    never where it came from. Commit them.

    Wheels come from the indexes that uv or pip are configured for, Debian's packages from the host's apt sources or
    $FLYTE_BUILD_DEBIAN_MIRROR; both are verified before anything is written, and nothing is written unless
    everything was solved.

    What `with_commands` runs is run now, in a sandbox over exactly the image below it, and sealed by the digest of what
    it changed; a seal is kept as long as nothing below it changed. See docs/sealed-steps.md.

    \b
    flyte-build lock examples/af2/main.py
    flyte-build lock main.py --upgrade-package pandas
    flyte-build lock main.py --exclude-newer "7 days"
    """
    anew = exclude_newer is not None or upgrade_all or bool(upgrade)
    if check and anew:
        raise click.UsageError("`--check` writes nothing: expected no --exclude-newer and no --upgrade with it.")
    from ...kernel.reporting import Counted
    from ...workbench.watching import watched

    # Watched until something has to be solved, so that the same command is answered from the record while nothing
    # changes (`cli.noop`).
    with ExitStack() as watching:
        record = watching.enter_context(watched(file, root))
        bench = opened(file, root, lockfiles, quiet=quiet)
        bench.reporter = said = Counted(bench.reporter)
        solved = _Solved(watching)
        if check:
            number = bench.check_locks(env=env)
        else:
            report = bench.lock(
                env=env,
                resolver=resolver,
                exclude_newer=exclude_newer,
                upgrade=True if upgrade_all else upgrade,
                reseal=reseal,
                solving=solved,
            )
            anew = anew or bool(reseal) or solved.begun or bool(report.written or report.sealed)
    with stdout().capture() as printed:
        if check and not quiet:
            stdout().print(_answering(number), markup=False, soft_wrap=True)
        elif not check and as_json:
            stdout().print(json.dumps(_to_json(report), indent=2), markup=False, soft_wrap=True)
        elif not check and not quiet:
            show(report, bench.lockfiles)
    text = printed.get()
    sys.stdout.write(text)
    sys.stdout.flush()
    # What was said besides is said every time.
    if not anew and not said.number:
        record.save(question(sys.argv[1:]), {"stdout": text})


class _Solved:
    """Ends the watching when something has to be solved: to be watched would take longer than that."""

    def __init__(self, watching: ExitStack) -> None:
        self._watching, self.begun = watching, False

    def __call__(self) -> None:
        self.begun = True
        self._watching.close()


def show(report: LockReport, lockfiles: Path) -> None:
    """A table of the locks and one of what moved; one line where nothing was written."""
    from rich.markup import escape

    from ...workbench.questions import moved
    from ..console import size
    from ..tables import Column, print_table
    from .outdated import show_moves

    columns = (
        Column("environment"),
        Column("lock"),
        Column("python", drop=3),
        Column("platform", drop=2),
        Column("wheels", right=True),
        Column("debs", right=True),
        Column("size", right=True, drop=1),
    )
    rows = []
    for name, made in report.locks.items():
        state = "[green]written[/]" if name in report.written else "[dim]unchanged[/]"
        for platform, locked in sorted(made.platforms.items()):
            total = sum(w.size for w in locked.wheels) + sum(d.size for d in locked.debs)
            total += sum(p.size for p in locked.conda)
            total += locked.python.size if locked.python is not None else 0
            counts = str(len(locked.wheels)), str(len(locked.debs))
            rows.append((escape(name), state, made.python, platform, *counts, size(total)))
    out = stdout()
    if report.written:
        print_table(out, columns, rows)
        every = moved(report)
        if every:
            out.print()
            show_moves(every[:_MOVES])
        if len(every) > _MOVES:
            out.print(f"[dim]and {len(every) - _MOVES} more: `git diff`, or --json[/]", soft_wrap=not out.is_terminal)
    else:
        out.print(
            f"[dim]nothing changed: {_answering(len(report.locks))}[/]",
            soft_wrap=not out.is_terminal,
        )
    for note in report.notes:
        out.print(f"[dim]{escape(note)}[/]", soft_wrap=not out.is_terminal)
    if report.written:
        out.print(f"written to {escape(shown(lockfiles))}; commit it", soft_wrap=True)


def _answering(number: int) -> str:
    return "1 lock answers its recipe" if number == 1 else f"{number} locks answer their recipes"


def _to_json(report: LockReport) -> dict[str, object]:
    from ...workbench.questions import moved
    from .outdated import to_json

    return {
        "schema": 1,
        "written": sorted(report.written),
        "unchanged": sorted(report.unchanged),
        "moved": [to_json(m) for m in moved(report)],
        "notes": list(report.notes),
        "sealed": [asdict(run) for run in report.sealed],
    }
