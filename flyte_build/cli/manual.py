"""The command line as a manual page (man-pages(7), groff_man(7)), made of what ``--help`` says. Pure text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

__all__ = ["leaves", "manual"]

_SECTION = "1"


def manual(group: click.Group, name: str, version: str) -> str:
    """The page of ``group`` and of every command below it, in roff."""
    # A command keeps the help option that it was first asked about with: so as the command line asks.
    context = click.Context(group, info_name=name, **group.context_settings)
    out = [
        f'.TH "{name.upper()}" "{_SECTION}" "" "{name} {_text(version)}" "User commands"',
        ".SH NAME",
        rf"{_text(name)} \- hermetic, content\-addressed images for Flyte, and runs on them",
        ".SH SYNOPSIS",
        rf".B {_text(name)}",
        r".I COMMAND",
        r"[\fIOPTIONS\fR] [\fIARGUMENTS\fR]...",
        ".SH DESCRIPTION",
        *_prose(group.help or ""),
        ".SH COMMANDS",
    ]
    for path, command in leaves(group, context):
        out += _command(path, command, context)
    for title, body in _sections(group.epilog or ""):
        out += [f".SH {_text(title.upper())}", *_verbatim(body)]
    return "\n".join(out) + "\n"


def leaves(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, and the words that call it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        if isinstance(command, click.Group) and command.invoke_without_command:
            yield name, command
        if isinstance(command, click.Group):
            below = click.Context(command, info_name=name, parent=context)
            yield from ((f"{name} {path}", leaf) for path, leaf in leaves(command, below))
        else:
            yield name, command


def _command(path: str, command: click.Command, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=path, parent=parent)
    words = " ".join(command.collect_usage_pieces(context))
    out = [f'.SS "{_text(path)} {_text(words)}"', *_prose(command.help or "")]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            out += [".TP", rf"\fB{_text(record[0])}\fR", _line(" ".join(record[1].split()))]
    return out


def _prose(help_text: str) -> list[str]:
    """Paragraphs, of which those behind a ``\\b`` keep their lines, as click has them."""
    out: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(help_text)):
        lines = paragraph.splitlines()
        if lines and lines[0].strip() == "\b":
            out += [".PP", *_verbatim("\n".join(lines[1:]))]
        elif any(line.strip() for line in lines):
            out += [".PP", *map(_line, (line.strip() for line in lines))]
    return out


def _verbatim(body: str) -> list[str]:
    return [".nf", *map(_line, body.rstrip().splitlines()), ".fi"]


def _sections(epilog: str) -> Iterator[tuple[str, str]]:
    """``Title:`` and the lines below it."""
    for part in epilog.split("\b\n"):
        title, _, body = part.strip("\n").partition("\n")
        if title.endswith(":"):
            yield title.rstrip(":"), body


def _text(words: str) -> str:
    return words.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")


def _line(words: str) -> str:
    """A line of text, which is no request even where it begins like one."""
    text = words.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text
