"""``flyte build``, ``run``, ``deploy`` and ``serve`` on images by digest: a hook around the SDK's own commands.

The SDK's commands are groups of groups (file, then object), made while the command line is read. The hook wraps the
last one, which has the environment or task that was asked for: its images are pinned before it acts, and put back
after. A command that loads its environments only while it acts (``--all``, ``--recursive``) hands them to
``flyte.deploy`` or ``flyte.build_images``, which pin first for that time. Errors end the command as ours do: a message,
a hint, an exit code. What makes an environment behind all that (``flyte run python-script``) is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from ..kernel.errors import FlyteBuildError
    from ..kernel.reporting import Reporter
    from .objects import Pins

__all__ = ["pin_images"]

# Click's own, which only a command line imports.
Command: TypeAlias = Any
Context: TypeAlias = Any

_MARK = "_flyte_build_pins"
# What the SDK's commands call when they have loaded environments themselves.
_ENTRANCES = ("deploy", "build_images")
# Options of `flyte run` and `flyte serve` that keep it on this machine, where there is no image.
_HERE = ("local", "tracked", "tui")


def pin_images(command: Command) -> Command:
    """The hook: ``command`` (a group) with images pinned in all it leads to. ``$FLYTE_BUILD_PIN=off`` turns it off."""
    if getattr(command, _MARK, False):
        return command
    setattr(command, _MARK, True)
    if hasattr(command, "get_command"):
        _wrap_group(command)
    else:
        _wrap_leaf(command)
    return command


def _wrap_group(group: Command) -> None:
    get_command: Callable[..., Command] = group.get_command

    def hooked(ctx: Context, name: str) -> Command:
        found = get_command(ctx, name)
        return pin_images(found) if found is not None else None

    group.get_command = hooked


def _wrap_leaf(command: Command) -> None:
    invoke: Callable[[Context], Any] = command.invoke

    def hooked(ctx: Context) -> Any:
        if _off() or any(_option(ctx, name) for name in _HERE):
            return invoke(ctx)
        with _Command(ctx).pinning():
            return invoke(ctx)

    command.invoke = hooked


def _off() -> bool:
    return os.environ.get("FLYTE_BUILD_PIN", "").lower() in ("off", "0", "false", "no")


class _Command:
    """One run of one of the SDK's commands."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._made: list[Pins] = []

    @contextmanager
    def pinning(self) -> Iterator[None]:
        """Pin what the command is about, and what it hands to the SDK; put everything back at the end."""
        import flyte

        asked = [value for name in ("obj", "env") if (value := getattr(self._ctx.command, name, None)) is not None]
        entrances = {} if asked else {name: getattr(flyte, name) for name in _ENTRANCES}
        try:
            self._pin(asked)
            for name, entrance in entrances.items():
                setattr(flyte, name, _Entrance(entrance, self._pin))
            yield
        finally:
            for name, entrance in entrances.items():
                setattr(flyte, name, entrance)
            for made in reversed(self._made):
                made.restore()

    def _pin(self, objects: list[object]) -> None:
        from ..kernel.errors import FlyteBuildError
        from ..project.environments import environment_of, live_environments
        from .objects import pin_objects, place_of

        try:
            found = [value for value in objects if environment_of(value) is not None]
            if not found:
                return
            place = place_of(live_environments(found).values(), self._root(), self._code_root())
            # Of a dry run nothing is left anywhere but here.
            push = not _option(self._ctx, "dry_run")
            # `flyte build` alone needs no registry: without one, it does what it did before there were pins.
            homeless: Literal["refuse", "leave"] = "leave" if self._verb() == "build" else "refuse"
            names = self._references()
            self._made.append(pin_objects(found, place, _reporter(), push=push, references=names, homeless=homeless))
        except FlyteBuildError as e:
            _end(self._ctx, e)

    def _verb(self) -> str | None:
        """The SDK's command: the second word that was typed."""
        words = [ctx.info_name for ctx in _chain(self._ctx)]
        return words[-2] if len(words) > 1 else None

    def _root(self) -> Path | None:
        """``--root-dir``, else the root of the file that was named as ``flyte-build`` has it, or the folder itself."""
        given = _option(self._ctx, "root_dir")
        if given:
            return Path(given).absolute()
        for ctx in _chain(self._ctx):
            for name in ("filename", "path"):
                found = getattr(ctx.command, name, None)
                if isinstance(found, Path):
                    from ..project.layout import layout_of

                    return found.absolute() if found.is_dir() else layout_of(found).root
        return None

    def _code_root(self) -> Path:
        """What the SDK will import the code from: ``--root-dir``, else the current folder."""
        given = _option(self._ctx, "root_dir")
        return Path(given).absolute() if given else Path.cwd()

    def _references(self) -> dict[str, str]:
        """Image names and what stands for them: the configuration's, then ``--image NAME=URI`` or ``--image URI``."""
        from ..project.session import DEFAULT_REFERENCE, image_references

        config = getattr(getattr(self._ctx.find_root(), "obj", None), "config", None)
        found = dict(image_references())
        found |= getattr(getattr(config, "image", None), "image_refs", None) or {}
        for value in _option(self._ctx, "image") or ():
            name, equals, uri = value.partition("=")
            found |= {name: uri} if equals else {DEFAULT_REFERENCE: value}
        return found


class _Entrance:
    """``flyte.deploy`` and its kind, which pin first; ``aio`` is what the SDK calls from its own loop."""

    def __init__(self, entrance: Any, pin: Callable[[list[object]], None]) -> None:
        self._entrance, self._pin = entrance, pin

    def __call__(self, *environments: object, **options: Any) -> Any:
        self._pin(list(environments))
        return self._entrance(*environments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entrance, name)


def _chain(ctx: Context) -> Iterator[Context]:
    found = ctx
    while found is not None:
        yield found
        found = found.parent


def _option(ctx: Context, name: str) -> Any:
    """An option of one of the groups above: a task may have a parameter of the same name."""
    return next((parent.params[name] for parent in list(_chain(ctx))[1:] if parent.params.get(name)), None)


def _end(ctx: Context, error: FlyteBuildError) -> None:
    """Show the error and leave: the SDK would wrap it in words of its own, and report it to its makers."""
    from ..cli.errors import show_error

    if error.hint is not None:
        error.hint = _spoken(error.hint)
    show_error(error)
    ctx.exit(error.exit_code)


def _spoken(hint: str) -> str:
    """The hint in the commands of the program that was typed, where it has them."""
    for verb in ("lock", "plan"):
        hint = hint.replace(f"`flyte-build {verb}", f"`flyte {verb}")
    return hint


def _reporter() -> Reporter:
    from ..cli.progress import make_reporter

    return make_reporter()
