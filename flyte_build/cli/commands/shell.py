"""``flyte-build shell [FILE] [ENV] [-- CMD]`` and ``exec``: a sandbox of an environment's image, to be in oneself."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...kernel.patience import patiently
from ..completion import complete_environment
from ..console import echo
from ..options import cache_option, file_argument, json_option, network_option, opened, project_options, quiet_option

if TYPE_CHECKING:
    from ...planning.plan import Plan
    from ...submit.sandbox.spec import Network

__all__ = ["exec", "shell"]

_TERMINAL = ("TERM", "COLORTERM")


class _WithCommand(click.Command):
    """What stands after ``--`` is a command's, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.ensure_object(dict)["command"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- CMD..." if self.name == "exec" else "[-- CMD...]"]


class _Planned:
    """Shows the plan where something has to be made; what is there is entered at once."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent

    def planned(self, plan: Plan) -> None:
        if not (self._silent or plan.cached):
            from ..plan_table import show

            show(plan, to_stderr=True)

    def making(self) -> None:
        return None


def _options(f: Any) -> Any:
    for option in (
        file_argument,
        click.argument("task", metavar="ENV", required=False, shell_complete=complete_environment),
        network_option,
        click.option(
            "--var",
            "variables",
            multiple=True,
            metavar="NAME[=VALUE]",
            help="A variable of the command's (without VALUE: as it is here); may be repeated. No others get in.",
        ),
        click.option(
            "--secrets",
            is_flag=True,
            help="Have the environment's secrets there, as its tasks do: each from the variable of the same name here, "
            "or of <GROUP>_<KEY>.",
        ),
        click.option(
            "--gpus",
            type=click.IntRange(0),
            default=0,
            metavar="COUNT",
            help="Have so many of this machine's NVIDIA GPUs there; runs may use the same ones meanwhile.",
        ),
        click.option(
            "--verify-images", is_flag=True, help="Hash every file of the unpacked image before it is entered."
        ),
        click.option("--locked", is_flag=True, help="Never write a lock: an environment without one is an error."),
        cache_option,
        project_options,
        quiet_option,
        click.pass_context,
    )[::-1]:
        f = option(f)
    return f


@click.command(cls=_WithCommand)
@_options
def shell(ctx: click.Context, **given: Any) -> None:
    """Be in the image of an environment: a shell, or CMD, in a sandbox as its tasks have it.

    The working directory has the project's modules, as a run ships them (a copy: what is changed goes when the shell
    ends), and imports find them. Variables are the image's and the environment's. Networks, owner, system calls and
    disk are limited as a task's are; a Flyte connection is not there, and secrets only with --secrets.

    ENV may be left out where FILE has one environment, FILE where the settings name it. At a terminal every key goes to
    the command; without one, standard input and output are pipes. The exit code is the command's own.

    \b
    flyte-build shell examples/af2/main.py fold_env
    flyte-build shell fold_env -- python -i -c "import model"
    flyte-build shell --gpus 1 fold_env -- nvidia-smi
    """
    _enter(ctx, as_json=False, **given)


@click.command(cls=_WithCommand)
@json_option
@_options
def exec(ctx: click.Context, as_json: bool, **given: Any) -> None:
    """Run CMD in the image of an environment, in a sandbox as its tasks have it: `shell` for scripts.

    Everything is as with `flyte-build shell`, but CMD has to be there. With --json, what CMD wrote (of each output the
    last 16 MiB) and its exit code are printed as one document, and the exit code is 0 if CMD ran at all.

    \b
    flyte-build exec examples/af2/main.py fold_env -- python -m pytest tests
    flyte-build exec --network none fold_env -- python -c "import torch"
    """
    if not ctx.obj["command"]:
        raise click.UsageError("expected a command after `--`; `flyte-build shell` opens a shell.", ctx)
    _enter(ctx, as_json=as_json, **given)


def _enter(
    ctx: click.Context,
    *,
    as_json: bool,
    file: Path | None,
    task: str | None,
    network: Network | None,
    variables: tuple[str, ...],
    secrets: bool,
    gpus: int,
    verify_images: bool,
    locked: bool,
    caches: tuple[str, ...],
    root: Path | None,
    lockfiles: Path | None,
    quiet: bool,
) -> None:
    from ...workbench.entering import Asked, Streams, enter, environment_of
    from .. import terminal

    seated = terminal.at_terminal() and not as_json
    bench = opened(file, root, lockfiles, quiet=quiet or as_json)
    environment = environment_of(bench, task)
    given = _variables(variables) | ({n: os.environ[n] for n in _TERMINAL if os.environ.get(n)} if seated else {})
    asked = Asked(ctx.obj["command"], given, network, caches, locked, verify_images, secrets, gpus)
    shown = terminal.Shown(own_terminal=seated, keep=as_json)
    # A closed window or a kill must put the terminal back, and end the sandbox.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ended)
    with ExitStack() as seat:

        def streams() -> Streams:
            seat.enter_context(patiently("the command is ended"))
            if not seated:
                return Streams(None if as_json else terminal.source(), shown)
            made = Streams(0, shown, size=terminal.size)
            seat.enter_context(terminal.raw(made.resize))
            return made

        ended = enter(bench, environment, asked, streams, _Planned(quiet or as_json))
    shown.end()
    if as_json:
        said = {
            "schema": 1,
            "environment": ended.environment,
            "image": ended.image,
            "command": list(ended.command),
            "exit_code": ended.code,
            "stdout": shown.kept[1].decode(errors="replace"),
            "stderr": shown.kept[2].decode(errors="replace"),
        }
        echo(json.dumps(said, indent=2, ensure_ascii=False))
    elif ended.code:
        raise click.exceptions.Exit(ended.code)


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in given:
        name, told, value = word.partition("=")
        if not name or (not told and name not in os.environ):
            raise click.UsageError(f"`--var {word}`: expected NAME=VALUE, or the NAME of a variable that is set here.")
        found[name] = value if told else os.environ[name]
    return found


def _ended(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
