"""A task's signature → command line options, and the values typed there → what the task is called with.

Types are pydantic's to judge (it is what flyte itself validates with): scalars are read from the text,
everything structured (lists, dicts, dataclasses, models) from JSON. ``File`` and ``Dir`` take a path.
"""

from __future__ import annotations

import datetime
import enum
import inspect
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click
from pydantic import TypeAdapter, ValidationError

from ..kernel.errors import InputError
from ..project.nouns import Task
from ..workbench.running import LocalPath

__all__ = ["LocalPath", "call_shape", "convert", "task_options", "type_name"]


class TypedParameter(click.ParamType[Any]):
    """One parameter of a task, converted from what was typed."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self.name = type_name(annotation)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        shown = f"--{param.name.replace('_', '-')}" if param is not None and param.name else "value"
        try:
            return convert(value, self.annotation)
        except InputError as e:
            raise InputError(f"{shown}: {e.message}", hint=e.hint) from None


def task_options(task: Task) -> list[click.Option]:
    """One option a parameter: ``--my-arg`` (and ``--my_arg``), required when the function has no default."""
    defaults = _defaults(task)
    options = []
    for name, (annotation, _) in task.inputs.items():
        default = defaults.get(name, inspect.Parameter.empty)
        required = default is inspect.Parameter.empty
        names = list(dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"]))
        help_text = None if required else f"default: {_shown(default)}"
        if annotation is bool:
            flag = name.replace("_", "-")
            options.append(
                click.Option([f"--{flag}/--no-{flag}", name], required=required, default=None, help=help_text)
            )
        else:
            options.append(
                click.Option([*names, name], type=TypedParameter(annotation), required=required, help=help_text)
            )
    return options


def call_shape(task: Task) -> str:
    """What a task takes in one line: ``sequence [depth] [names]``, the optional ones in brackets."""
    defaults = _defaults(task)
    return " ".join(f"[{name}]" if name in defaults else name for name in task.inputs)


def _shown(default: Any) -> str:
    """A default as one would type it."""
    if isinstance(default, enum.Enum):
        return str(default.value)
    return "none" if default is None else default if isinstance(default, str) and default else repr(default)


def _defaults(task: Task) -> Mapping[str, Any]:
    function = getattr(task.template, "func", None)
    if function is None:
        return {}
    return {
        p.name: p.default
        for p in inspect.signature(function).parameters.values()
        if p.default is not inspect.Parameter.empty
    }


def type_name(annotation: Any) -> str:
    """What ``--help`` calls a type: ``TEXT``, ``INTEGER``, ``FILE``, ``[A|B]``, or ``JSON list[int]``."""
    simple: dict[Any, str] = {
        str: "TEXT",
        int: "INTEGER",
        float: "NUMBER",
        bool: "BOOLEAN",
        datetime.datetime: "TIMESTAMP",
        datetime.date: "DATE",
        datetime.timedelta: "DURATION",
    }
    if annotation in simple:
        return simple[annotation]
    if kind := _io_kind(annotation):
        return "FOLDER" if kind == "Dir" else "FILE"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "[" + "|".join(str(m.value) for m in annotation) + "]"
    if typing.get_origin(annotation) is Literal:
        return "[" + "|".join(map(str, typing.get_args(annotation))) + "]"
    if _is_union(annotation):
        parts = [type_name(a) for a in typing.get_args(annotation) if a is not type(None)]
        return "|".join(dict.fromkeys(parts))
    return f"JSON {_spelled(annotation)}"


def _spelled(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _io_kind(annotation: Any) -> str | None:
    """``File`` or ``Dir`` for flyte.io's types (also parametrised ones), by the module that defines them."""
    base = typing.get_origin(annotation) or annotation
    for cls in getattr(base, "__mro__", ()):
        if cls.__module__.startswith("flyte.io") and cls.__name__ in ("File", "Dir"):
            return str(cls.__name__)
    return None


def convert(text: str, annotation: Any) -> Any:
    """``text`` as a value of ``annotation``; raises :class:`InputError` saying what was expected."""
    if kind := _io_kind(annotation):
        return _path(text, kind == "Dir", annotation)
    if _is_union(annotation):
        return _union(text, annotation)
    if annotation is str:
        return text
    if _scalar(annotation):
        return _validated(lambda a: a.validate_strings(text), annotation, text)
    return _validated(lambda a: a.validate_json(text), annotation, text)


def _scalar(annotation: Any) -> bool:
    if typing.get_origin(annotation) is Literal:
        return True
    scalars = (int, float, bool, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, enum.Enum, Path)
    return isinstance(annotation, type) and issubclass(annotation, scalars)


def _union(text: str, annotation: Any) -> Any:
    members = typing.get_args(annotation)
    if type(None) in members and text.lower() in ("null", "none"):
        return None
    given = [m for m in members if m is not type(None)]
    if len(given) == 1:
        return convert(text, given[0])
    # Text takes anything, so it is tried last.
    for member in sorted(given, key=lambda m: m is str):
        try:
            return convert(text, member)
        except InputError:
            continue
    raise InputError(f"expected {type_name(annotation)}, found `{text}`")


def _validated(read: typing.Callable[[TypeAdapter[Any]], Any], annotation: Any, text: str) -> Any:
    try:
        return read(TypeAdapter(annotation))
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        shown = text if len(text) <= 60 else text[:57] + "..."
        # What a number or a choice looks like need not be explained.
        why = "" if annotation in (int, float, bool) or type_name(annotation).startswith("[") else f": {reason}"
        raise InputError(f"expected {type_name(annotation)}, found `{shown}`{why}") from None


def _path(text: str, folder: bool, annotation: Any) -> Any:
    if "://" in text:
        return annotation(path=text)
    path = Path(text).expanduser().absolute()
    if not (path.is_dir() if folder else path.is_file()):
        raise InputError(
            f"expected a {'folder' if folder else 'file'}, found `{text}`: no such {'folder' if folder else 'file'}"
        )
    return LocalPath(path, folder)
