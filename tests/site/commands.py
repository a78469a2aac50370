"""The command line as pages: every command, argument and option, in the words of ``--help``. Pure text."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from flyte_build.cli.manual import leaves

__all__ = ["command_pages", "exit_codes", "overview"]


def command_pages(group: click.Group, name: str) -> Iterator[tuple[str, str]]:
    """For every command its words, ``store gc``, and its page in Markdown."""
    context = click.Context(group, info_name=name, **group.context_settings)
    for path, command in leaves(group, context):
        # Below its group: Click takes `-h` from there, and a command keeps the option that it made first.
        yield path, _page(f"{name} {path}", command, click.Context(command, info_name=path, parent=context))


def overview(group: click.Group, name: str) -> str:
    """The list of all commands, and the environment that they read."""
    context = click.Context(group, info_name=name, **group.context_settings)
    rows = [f"# Commands\n\nWhat `{name} --help` says, of every command.\n\n| command | |\n|---|---|"]
    for path, command in leaves(group, context):
        rows.append(f"| [`{path}`]({path.replace(' ', '-')}.md) | {_cell(command.get_short_help_str(200))} |")
    for title, body in _sections(group.epilog or ""):
        if title != "Exit codes":
            rows.append(f"\n## {title}\n\n```text\n{inspect.cleandoc(body)}\n```")
    return "\n".join(rows) + "\n"


def exit_codes(group: click.Group, errors: dict[int, tuple[str, str]]) -> str:
    """The table of exit codes; ``errors``: code → the class of the Python API, and what it says of itself."""
    body = dict(_sections(group.epilog or ""))["Exit codes"]
    rows = [
        "# Exit codes\n\nThey never change their meaning. What a pipeline makes of them is in [CI](../ci.md).\n\n"
        "| code | | in Python |\n|---|---|---|"
    ]
    for line in body.strip().splitlines():
        code, _, meaning = line.strip().partition(" ")
        error, says = errors.get(int(code), ("", ""))
        rows.append(f"| {code} | {_cell(meaning.strip())} | {f'`{error}`: {_cell(says)}' if error else ''} |")
    return "\n".join(rows) + "\n"


def _page(path: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    out = [f"# {path.partition(' ')[2]}\n\n```text\n{path} {usage}\n```\n", *_prose(command.help or "")]
    options = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)) is not None
    ]
    if options:
        out.append("| option | |\n|---|---|")
        out += [f"| `{_code(names)}` | {_cell(text)} |" for names, text in options]
    return "\n".join(out) + "\n"


def _prose(text: str) -> Iterator[str]:
    """Paragraphs, of which those behind a ``\\b`` keep their lines, as click has them."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = paragraph.splitlines()
        if lines and lines[0].strip() == "\b":
            yield "```text\n" + "\n".join(lines[1:]) + "\n```\n"
        elif paragraph.strip():
            yield "\n".join(_escaped(line.strip()) for line in lines) + "\n"


def _sections(epilog: str) -> Iterator[tuple[str, str]]:
    for part in epilog.split("\b\n"):
        title, _, body = part.strip("\n").partition("\n")
        if title.endswith(":"):
            yield title.rstrip(":"), body


def _escaped(words: str) -> str:
    """Words of a text as Markdown shows them, outside of what backticks hold."""
    pieces = re.split(r"(`[^`]*`)", words)
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", p) for p in pieces)


def _cell(words: str) -> str:
    return _escaped(" ".join(words.split())).replace("|", r"\|")


def _code(words: str) -> str:
    return words.replace("|", r"\|")
