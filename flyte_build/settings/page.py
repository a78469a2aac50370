"""The tables as ``docs/settings.md``. Text in, text out: never reads a setting, and never writes a file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator

from .table import TABLE, Kind, Setting
from .targets import TARGET_KEYS
from .variables import VARIABLES

__all__ = ["page"]

_WIDTH = 116

_KINDS: dict[Kind, str] = {
    "text": "text",
    "texts": "list of texts; one may be written without brackets",
    "flag": "`true` or `false`",
    "choice": "one of: {choices}",
    "folder": "a folder, relative to the `pyproject.toml`",
    "file": "a file, relative to the `pyproject.toml`",
    "files": "list of files, relative to the `pyproject.toml`; one may be written without brackets",
    "key": "a file, relative to the `pyproject.toml`, or a reference",
    "size": "a number of bytes, as Kubernetes writes it: `500M`, `10Gi`",
    "count": "a whole number, 1 or more",
    "age": "a date, an instant, or an age: `7 days`, `36 hours`, `2w`, `P7D`",
    "ages": "a table: by index, an age as above, or `none`",
    "targets": "a table a target; [its keys](#target) are below",
}
_IN_A_VARIABLE: dict[Kind, str] = {
    "texts": ", separated by spaces",
    "flag": ": `yes` or `no`",
    "folder": ", relative to the working folder",
}

_INTRODUCTION = """\
# Settings

<!-- Made by `python -m flyte_build.settings page`, from flyte_build/settings/table.py and variables.py: edit those. -->

What a project says once stands in its `pyproject.toml`:

```toml
[tool.flyte-build]
file = "main.py"
registry = "registry.example/team"
cache = ["registry.example/team/cache"]
```

The nearest `pyproject.toml` counts that has this table, from the root of the project upwards, or from the
working folder where a command names no file. The search ends at the folder that holds `.git`. Nothing is merged:
one table says all. Every key may be left out, and an unknown one is an error.

Three places can say the same thing. The first that does wins:

1. an option of the command line;
2. the environment variable; one that is set to nothing says nothing;
3. the key.

Where an image comes *from* is no setting of a project: indexes and mirrors are configured as for pip, uv and apt,
and locks do not know them ([law 1](architecture.md)). What depends on the machine is in [variables](#variables).
"""

_TARGET = """\
## Target

Each table below `targets` is a place to run on ([kubernetes.md](kubernetes.md)):

```toml
[tool.flyte-build.targets.prod]
namespace = "ml"
storage = "s3://bucket/runs"
profile = { base = "gpu-feature-discovery", mig = "resource", tolerations = ["dedicated=gpu:NoExecute"] }
```
"""

_SCHEMA = """\
## In an editor

`flyte_build/settings/settings.schema.json` is a JSON schema (draft-07) of a `pyproject.toml` with this table. An
editor that knows it completes keys, shows what they mean, and underlines mistakes. Write a copy into the project, so
that it is that of the version in use:

```sh
python -m flyte_build.settings schema > settings.schema.json
```

Even Better TOML and taplo take it for one file from its first line,

```toml
#:schema ./settings.schema.json
```

or from `.taplo.toml`:

```toml
[[rule]]
include = ["pyproject.toml"]

[rule.schema]
path = "./settings.schema.json"
```

An editor has one schema for a file, so this one stands in for its own of `pyproject.toml`. It says nothing about
other tables. A schema that already describes those can refer to `#/definitions/flyte-build` for this one.
"""


def page() -> str:
    """The page, in Markdown."""
    return (
        "\n".join([_INTRODUCTION, *_overview(), "", *_sections(), *_target(), "", *_variables(), "", _SCHEMA]).rstrip()
        + "\n"
    )


def _overview() -> Iterator[str]:
    yield "## All keys\n"
    rows = ((f"[`{s.key}`](#{s.key})", _default(s), _code(s.variable, "$"), _code(s.option)) for s in TABLE.values())
    yield from _table(("key", "default", "variable", "option"), rows)


def _sections() -> Iterator[str]:
    yield "## The keys one by one\n"
    for setting in TABLE.values():
        yield f"### {setting.key}\n"
        yield f"{_wrapped(_linked(setting.says, setting.see))}\n"
        yield f"```toml\n[tool.flyte-build]\n{setting.key} = {setting.example}\n```\n"
        yield f"- Value: {_KINDS[setting.kind].format(choices=_codes(setting.choices))}"
        yield f"- Default: {_default(setting)}"
        if setting.variable:
            yield f"- Variable: `${setting.variable}`{_IN_A_VARIABLE.get(setting.kind, '')}"
        if setting.option:
            yield f"- Command line: `{setting.option}`"
        yield ""


def _target() -> Iterator[str]:
    yield _TARGET
    rows = (
        (f"`{k.key}`", f"{k.says} {_codes(k.choices)}".rstrip(), f"`{k.example}`", k.otherwise or "it has to be there")
        for k in TARGET_KEYS.values()
    )
    yield from _table(("key", "what it says", "such as", "where it is not there"), rows)


def _variables() -> Iterator[str]:
    yield "## Variables\n"
    yield "Those that win over a key are in the table above. These have no key: they are about a machine or a login.\n"
    rows = ((_codes(v.names), _linked(v.says, v.see), v.otherwise) for v in VARIABLES)
    yield from _table(("variable", "what it says", "where it is not set"), rows)


def _default(setting: Setting) -> str:
    return setting.otherwise or f"`{json.dumps(setting.default, ensure_ascii=False)}`"


def _linked(text: str, page: str | None) -> str:
    return f"{text} More: [{page}]({page})" if page else text


def _code(name: str | None, sign: str = "") -> str:
    return f"`{sign}{name}`" if name else "–"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
