"""The command line: parse, call one function, print. No logic of its own.

``main`` is the console script. It turns errors into messages and exit codes, so that a user's mistake never
ends in a traceback and our own bug never hides one.
"""

from __future__ import annotations

import gc
import os
import sys

__all__ = ["main"]

_INTERRUPTED = 130
# A command's objects are mostly what it imported, which stays: to look for garbage in them after every 700 new ones is
# an eighth of its time, and finds nothing. So seldom costs no memory that can be measured.
_COLLECTED_EVERY = (50_000, 20, 20)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (``flyte-build --help`` lists them)."""
    from .machine import unwritten

    code = _run(argv)
    # After all of the output is where it should be.
    error = unwritten()
    if error is not None and code == 0:
        from .errors import show_error

        show_error(error)
        return error.exit_code
    return code


def _run(argv: list[str] | None) -> int:
    import click

    from ..kernel.errors import FlyteBuildError
    from .app import cli
    from .machine import refusal
    from .streams import silence

    try:
        result = cli.main(args=argv, prog_name="flyte-build", standalone_mode=False)
        sys.stdout.flush()
    except FlyteBuildError as e:
        from .errors import show_error

        show_error(e)
        return e.exit_code
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.ClickException as e:
        from .errors import show_usage_error

        show_usage_error(e)
        return e.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not an error, but nothing more can be written.
        silence()
        return 0
    except OSError as e:
        from .errors import show_bug, show_error

        refused = refusal(e)
        if refused is not None:
            show_error(refused)
            return refused.exit_code
        show_bug(e)
        return 1
    except Exception as e:
        from .errors import show_bug

        show_bug(e)
        return 1
    return result if isinstance(result, int) else 0


def _watched() -> int:
    from .interrupts import watch

    watch()
    return main()


def _interrupted() -> int:
    from .interrupts import say_interrupted

    say_interrupted()
    return _INTERRUPTED


def entry() -> None:
    """The console script's entry point: the process ends here."""
    from .noop import answered

    gc.set_threshold(*_COLLECTED_EVERY)
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from .streams import open_streams

        open_streams()
    if os.environ.get("GITHUB_ACTIONS"):
        from .streams import guard

        guard()
    try:
        code = 0 if answered(sys.argv[1:]) else _watched()
    except KeyboardInterrupt:
        # What was loaded when it came heard of it; here it came before, or between two things.
        code = _interrupted()
    except OSError as e:
        # Only of the recorded answer, which did not get through.
        from .errors import show_error
        from .machine import refusal
        from .streams import silence

        refused = refusal(e)
        silence()
        if refused is not None:
            show_error(refused)
        code = refused.exit_code if refused is not None else 0
    interrupts = sys.modules.get(f"{__name__}.interrupts")
    if interrupts is not None and (interrupts.was_answered() or (code == _INTERRUPTED and interrupts.was_said())):
        # All that had to be ended has been; taking an interpreter apart takes longer than somebody waits.
        interrupts.leave(code)
    from ..kernel.exiting import leave

    leave(code)
