"""``--verbose`` of every command: what is asked of whom, on standard error, with the seconds since it began."""

from __future__ import annotations

import threading

import click

__all__ = ["with_verbose"]

_NAME = "verbose"
_guard = threading.Lock()


def with_verbose(command: click.Command) -> click.Command:
    """``command``, and what is below it, with the option; those that have one already stay as they are."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_verbose(below)
    elif not any(p.name == _NAME for p in command.params):
        command.params.append(_option())
    return command


def _option() -> click.Option:
    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_begin,
        help="Tell on standard error what is asked of whom: requests, caches, solvers, programs, with times.",
    )


def _begin(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    from ..kernel import tracing

    tracing.listen(_print if value and not ctx.resilient_parsing else None)
    if value:
        ctx.call_on_close(lambda: tracing.listen(None))


def _print(at: float, what: str, words: str) -> None:
    from rich.markup import escape

    from .console import stderr

    with _guard:
        stderr().print(f"[dim]{at:8.3f} s  {what:6}  {escape(words)}[/]", soft_wrap=True)
