r"""Command lines as they stand in pages, help texts and messages: is there such a command, with such options?

A line is read as a shell would, without doing anything: ``&&``, ``|`` and ``;`` part commands, ``#`` begins a remark,
variables may stand before, ``\`` goes on. What is in capitals, in braces or ``…`` stands for any value.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from flyte_build.cli.app import cli

__all__ = ["blocks", "commands", "messages", "problem", "spans"]

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TYPED = ("console", "sh", "bash")
_PROGRAM = "flyte-build"


def blocks(markdown: str) -> Iterator[tuple[str, str]]:
    """The blocks of a page in which something is typed: kind and text."""
    return ((kind, body) for kind, body in _FENCE.findall(markdown) if kind in _TYPED)


def spans(text: str) -> Iterator[str]:
    """What stands between backticks outside of blocks, and begins with our program."""
    outside = _FENCE.sub("", text)
    for found in re.findall(r"`([^`\n]+)`", outside):
        if re.match(rf"{_PROGRAM} [a-z-]", found):
            yield re.sub(r" \[[^\]]*\]", "", found)  # what may be left out


def commands(kind: str, body: str) -> Iterator[str]:
    """The lines of a block that are typed."""
    lines = body.replace("\\\n", " ").splitlines()
    for line in lines:
        typed = re.match(r"^(?:\([\w.-]+\) )?\$ (.*)", line)
        if kind != "console" or typed:
            yield typed[1] if typed else line


def messages(file: Path) -> Iterator[tuple[int, str]]:
    """Command lines in the texts of a source file, with their lines: what stands in backticks, or as an example of its
    own line in a help text. What an f-string fills in is ``X``."""
    source = file.read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(source))) if f"{_PROGRAM} " in source else []
    within = {id(v) for node in nodes if isinstance(node, ast.JoinedStr) for v in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            text = ""
            for v in node.values:  # behind a word without a blank: options, or nothing
                filled = "" if re.search(r"[a-z]$", text) else "X"
                text += str(v.value) if isinstance(v, ast.Constant) else filled
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            text = node.value
        else:
            continue
        for found in spans(text):
            yield node.lineno, found
        for line in text.replace("\\\n", " ").splitlines() if "\b" in text else ():
            if re.match(rf"\s*{_PROGRAM} [a-z-]+", line):
                yield node.lineno, re.split(r"\s{2,}(?!-)", line.strip())[0]


def problem(line: str, *, whole: bool = False) -> str:
    """What is wrong with the calls of our program in a command line; nothing where they are as they have to be.
    ``whole``: it is to be typed as it stands, so nothing that has to be said may lack."""
    try:
        lexer = shlex.shlex(line.replace("…", "ANY"), posix=True, punctuation_chars="&|;<>()")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as e:
        return str(e)
    call: list[str] | None = None
    for word in [*words, ";"]:
        if call is not None and re.fullmatch(r"[&|;<>()]+", word):
            if found := _call(call, whole):
                return found
            call = None
        elif call is not None:
            call.append(word)
        elif word == _PROGRAM:
            call = []
    return ""


def _call(words: list[str], whole: bool) -> str:
    command: click.Command = cli
    context = click.Context(cli, info_name=_PROGRAM, **cli.context_settings)
    words = [word for word in words if word not in ("-v", "--verbose")]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        try:
            below = command.get_command(context, words[0])
        except click.UsageError as e:
            return e.message
        if below is None:
            return "" if words[0].isupper() else f"no command `{words[0]}`"
        command = below
        context = click.Context(command, info_name=words[0], parent=context, **command.context_settings)
        words = words[1:]
    try:
        given, rest, order = command.make_parser(context).parse_args(list(words))
    except click.BadOptionUsage as e:
        return "" if not whole and words[-1] == e.option_name else f"{context.command_path}: {e.format_message()}"
    except click.UsageError as e:
        return f"{context.command_path}: {e.format_message()}"
    if rest and "--" not in words and not context.allow_extra_args:
        return f"{context.command_path}: takes no `{rest[0]}`"
    said = {name for name, value in given.items() if isinstance(value, str | tuple | int)}
    lacking = [p.human_readable_name for p in command.params if p.required and p.name not in said]
    if whole and lacking and "--help" not in words:
        return f"{context.command_path}: {', '.join(lacking)}: expected"
    for parameter in order:
        value = given.get(parameter.name or "")
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
        if choices and isinstance(value, str) and not value.isupper() and value not in choices:
            return f"{context.command_path}: `{value}` is none of {', '.join(choices)}"
    return ""
