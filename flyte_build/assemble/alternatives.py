"""``update-alternatives`` without running it: which program answers to a generic name.

A postinst that says ``update-alternatives --install LINK NAME PATH PRIORITY [--slave …]`` in plain words
is read, and its effect is what update-alternatives(1) would leave in automatic mode: for each name the
highest priority wins. A call with variables in it is not understood, and so is one of a package that
``scripts.py`` then warns about; it is never guessed at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .deb import Control
from .debian import Tree, place
from .entries import Entry

__all__ = ["Alternative", "alternatives", "install_calls"]

_CALL = re.compile(r"^\s*(?:/usr/s?bin/)?update-alternatives\b[^\n]*$", re.MULTILINE)
_FOLDER = "etc/alternatives"


@dataclass(frozen=True, slots=True)
class Alternative:
    """One ``--install``: ``slaves`` are (link, name, path); all paths absolute."""

    link: str
    name: str
    path: str
    priority: int
    slaves: tuple[tuple[str, str, str], ...]


def install_calls(script: str) -> Iterator[tuple[str, Alternative | None]]:
    """The ``update-alternatives`` commands in a shell script, each with what it means: ``None`` if not plain."""
    for match in _CALL.finditer(script.replace("\\\n", " ")):
        yield match[0], _parse(match[0])


def _parse(command: str) -> Alternative | None:
    try:
        words = shlex.split(command, comments=True)
    except ValueError:
        return None
    words = [w for w in words[1:] if w not in ("--quiet", "--force")]
    if words[-2:] in (["||", "true"], ["||", ":"]):
        words = words[:-2]
    if len(words) < 5 or words[0] != "--install" or any(c in w for w in words for c in "$`;|&<>(){}"):
        return None
    link, name, path, priority = words[1:5]
    slaves = []
    rest = words[5:]
    while rest:
        if len(rest) < 4 or rest[0] != "--slave":
            return None
        slaves.append((rest[1], rest[2], rest[3]))
        rest = rest[4:]
    paths = [link, path, *(p for slave in slaves for p in (slave[0], slave[2]))]
    if not re.fullmatch(r"-?[0-9]{1,9}", priority) or any(_abnormal(p) for p in paths):
        return None
    if any(not re.fullmatch(r"[^/\s]+", n) or n in (".", "..") for n in (name, *(s[1] for s in slaves))):
        return None
    return Alternative(link, name, path, int(priority), tuple(slaves))


def _abnormal(path: str) -> bool:
    return not path.startswith("/") or any(part in ("", ".", "..") for part in path[1:].split("/"))


def alternatives(controls: Iterable[Control], tree: Tree) -> list[Entry]:
    """The links, below ``/etc/alternatives`` and at the generic names, and dpkg's record of each name.

    A choice whose program is not in ``tree`` is none, and no link takes the place of a package's file.
    """
    choices: dict[str, list[Alternative]] = {}
    for control in controls:
        for script in ("preinst", "postinst"):
            text = control.files.get(script, b"").decode("utf-8", "replace")
            for _, found in install_calls(text):
                if found is not None and tree.real(found.path) is not None:
                    choices.setdefault(found.name, []).append(found)
    out: list[Entry] = []
    for name, group in sorted(choices.items()):
        # The first of equals, in the order of the packages' names.
        best = max(group, key=lambda a: a.priority)
        links = [(best.link, name, best.path)]
        links += [slave for slave in best.slaves if tree.real(slave[2]) is not None]
        for link, generic, path in links:
            if place(link[1:]) not in tree.entries:
                out.append(Entry(place(link[1:]), "symlink", 0o777, link=f"/{_FOLDER}/{generic}"))
                out.append(Entry(f"{_FOLDER}/{generic}", "symlink", 0o777, link=path))
        out.append(Entry(f"var/lib/dpkg/alternatives/{name}", "file", 0o644, (_record(best, group),)))
    return list({entry.path: entry for entry in out}.values())


def _record(best: Alternative, group: list[Alternative]) -> bytes:
    """The state file: mode, link, slaves' names and links, then each choice with its slaves' paths."""
    slaves = {name: link for a in reversed(group) for link, name, _ in a.slaves}
    lines = ["auto", best.link]
    for name, link in sorted(slaves.items()):
        lines += [name, link]
    lines.append("")
    for choice in sorted({a.path: a for a in group}.values(), key=lambda a: a.path):
        paths = {name: path for _, name, path in choice.slaves}
        lines += [choice.path, str(choice.priority), *(paths.get(name, "") for name in sorted(slaves))]
    lines += ["", ""]
    return "\n".join(lines).encode("utf-8")
