"""The pages of the site in one folder: ``docs/*.md`` and README as they are, and what the program says of itself.

A link of a page is written for the checkout, where people read the pages, too; here it leads to the same file's
place on the site. What is linked and lies outside of ``docs/`` comes along, below its own path.
"""

from __future__ import annotations

import json
import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from flyte_build.cli.app import cli
from flyte_build.kernel import errors
from tests.site.commands import command_pages, exit_codes, overview

__all__ = ["MENU", "ROOT", "compose", "pages", "targets"]

ROOT = Path(__file__).parents[2]
HOME = "README.md"
MENU = ROOT / "docs" / "menu.json"
"""Chapter → its pages in order, each as its file of the site."""

_COMMANDS = "reference/commands/"
_SCHEMA = "flyte_build/settings/settings.schema.json"
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")

_API = """# Python API, name by name

Made of the docstrings; [Python API](../python.md) goes through it with examples.

```{eval-rst}
.. autofunction:: flyte_build.open
.. autoclass:: flyte_build.Workbench
   :members:
   :inherited-members:
.. autoclass:: flyte_build.RunOptions
   :members:
.. autofunction:: flyte_build.unbundle
.. autofunction:: flyte_build.diff
.. autofunction:: flyte_build.runs
.. autofunction:: flyte_build.read_run
.. autofunction:: flyte_build.pin
.. autofunction:: flyte_build.pinned
```

## What verbs give

```{eval-rst}
RESULTS```

## Errors

```{eval-rst}
.. automodule:: flyte_build.kernel.errors
   :members:
   :show-inheritance:
```
"""
_RESULTS = ("Planned", "Images", "Verification", "Exported", "Document", "Ready", "Run", "Named", "Target")


def compose(folder: Path) -> None:
    """Writes all pages below ``folder``, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    made = _made()
    for origin in _origins():
        place = folder / _place(origin)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not origin.endswith(".md"):
            shutil.copy(ROOT / origin, place)
            continue
        text = _relinked((ROOT / origin).read_text(encoding="utf-8"), origin)
        place.write_text(text + _menus(made) if origin == HOME else text, encoding="utf-8")
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, list[str]]:
    """The menu: chapter → pages."""
    menu = json.loads(MENU.read_text(encoding="utf-8"))
    assert isinstance(menu, dict)
    return menu


def _menus(made: dict[str, str]) -> str:
    """The home page's hidden tables of contents, one a chapter."""
    out = []
    for chapter, names in pages().items():
        lines = "\n".join(name.removesuffix(".md") for name in names)
        out.append(f"\n```{{toctree}}\n:hidden:\n:caption: {chapter}\n\n{lines}\n```\n")
    commands = sorted(n for n in made if n.startswith(_COMMANDS) and not n.endswith("index.md"))
    below = "\n".join(name.removeprefix(_COMMANDS).removesuffix(".md") for name in commands)
    made[f"{_COMMANDS}index.md"] += f"\n```{{toctree}}\n:hidden:\n\n{below}\n```\n"
    return "".join(out)


def _made() -> dict[str, str]:
    """The pages that nobody writes: page → text."""
    texts = dict(command_pages(cli, "flyte-build"))
    made = {f"{_COMMANDS}{path.replace(' ', '-')}.md": text for path, text in texts.items()}
    made[f"{_COMMANDS}index.md"] = overview(cli, "flyte-build")
    made["reference/exit-codes.md"] = exit_codes(cli, _errors())
    results = "".join(f".. autoclass:: flyte_build.workbench.{name}\n   :members:\n" for name in _RESULTS)
    made["reference/api.md"] = _API.replace("RESULTS", results)
    return made


def _errors() -> dict[int, tuple[str, str]]:
    """Exit code → the error that has it, and the first line of what it says of itself."""
    kinds = (getattr(errors, name) for name in errors.__all__)
    named = {k.exit_code: (k.__name__, (k.__doc__ or "").strip().splitlines()[0]) for k in kinds}
    return {**named, 1: ("FlyteBuildError", "The root of all others."), 2: ("UserError", "and `InputError`")}


def _place(origin: str) -> str:
    """Where on the site a file of the checkout is. To some machines ``SECURITY`` and ``security`` are one name."""
    if origin == HOME:
        return "index.md"
    return origin.removeprefix("docs/") if "/" in origin else f"project/{origin}"


def _origins() -> list[str]:
    """The checkout's files that the site has: all of ``docs/``, and what pages lead to, from one to the next."""
    known: set[str] = set()
    waiting = [HOME, *(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*") if p.is_file())]
    waiting += [name.removeprefix("project/") for names in pages().values() for name in names]
    while waiting:
        origin = waiting.pop()
        if origin in known or not (ROOT / origin).is_file() or origin == MENU.relative_to(ROOT).as_posix():
            continue
        known.add(origin)
        if origin.endswith(".md"):
            waiting += targets(origin)
    return sorted(known)


def targets(origin: str) -> list[str]:
    """The files that a page of the checkout leads to, from the checkout's root."""
    found: list[str] = []

    def seen(target: str) -> str:
        found.append(target)
        return target

    _each_link((ROOT / origin).read_text(encoding="utf-8"), seen)
    return [posixpath.normpath(posixpath.join(posixpath.dirname(origin), target)) for target in found]


def _relinked(markdown: str, origin: str) -> str:
    here = posixpath.dirname(_place(origin))

    def there(target: str) -> str:
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        return posixpath.relpath(_place(aim), here or ".")

    return _each_link(markdown, there)


def _each_link(markdown: str, change: Callable[[str], str]) -> str:
    """``markdown`` with the file of every link changed, but for what is code and for addresses."""

    def changed(match: re.Match[str]) -> str:
        before, target, anchor, end = match.groups()
        return match[0] if ":" in target else f"{before}{change(target)}{anchor or ''}{end}"

    out, code = [], False
    for line in markdown.split("\n"):
        code ^= line.lstrip().startswith("```")
        out.append(line if code else _LINK.sub(changed, line))
    return "\n".join(out)
