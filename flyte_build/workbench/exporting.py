"""``project.export``: one environment's locked wheels as a requirements file, a pylock, or an executable (PEX)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..exporting.pex import Entry, left_out, need_pex, write_pex
from ..exporting.pylock import pylock_text
from ..exporting.requirements import requirements_text
from ..exporting.rows import chosen_platforms
from ..exporting.wheels import fetched, put_wheels, wheels_of
from ..kernel.errors import InputError
from ..kernel.outputs import check_place, write_output, writing
from ..kernel.platforms import host_platform
from ..kernel.reporting import Reporter
from ..store import Store
from ..store.files import hash_file
from .named_lock import Named

__all__ = ["Exported", "export", "export_pex", "export_text", "pex_entry"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported: ``text`` of a requirements file or a pylock, the ``file`` that was written, if any.

    ``sha256`` and ``size`` (bytes) are the file's, for a PEX; ``wheels`` is how many are in it.
    """

    environment: str
    platforms: tuple[str, ...]
    python: str
    text: str | None = None
    file: Path | None = None
    sha256: str | None = None
    size: int | None = None
    wheels: int = 0

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        return f"written to {self.file}: {self.wheels} wheels, for Python {self.python}\nsha256:{self.sha256}"


def export(
    named: Named,
    form: Literal["requirements", "pylock", "pex"],
    reporter: Reporter,
    *,
    store: Store | None = None,
    output: Path | str | None = None,
    platform: str | None = None,
    wheels: Path | str | None = None,
    script: str | None = None,
    entry_point: str | None = None,
) -> Exported:
    """Write the lock's wheels in another tool's form.

    ``output``: the file to write (a PEX needs one). ``platform``: one platform, or ``all``; by default all of the lock,
    for a PEX this machine's. ``wheels``: a folder that the wheels are put into, fetched by hash; a pylock needs it.
    ``script`` or ``entry_point``: what a PEX runs. Raises :class:`InputError` for what does not go together, and what
    fetching raises.
    """
    target, folder = Path(output) if output is not None else None, Path(wheels) if wheels is not None else None
    if form != "pex":
        return export_text(named, form, reporter, output=target, platform=platform, wheels=folder, store=store)
    if target is None:
        raise InputError("a PEX is a file: expected `output`, found none")
    entry = pex_entry(script, entry_point)
    return export_pex(named, target, reporter, platform=platform, entry=entry, store=store)


def pex_entry(script: str | None, entry_point: str | None) -> Entry:
    """What a PEX runs. Raises :class:`InputError` where both are given, or the pex tool is not installed."""
    entry = Entry(script, entry_point)
    need_pex()
    return entry


def export_text(
    named: Named,
    form: Literal["requirements", "pylock"],
    reporter: Reporter,
    *,
    output: Path | None,
    platform: str | None,
    wheels: Path | None,
    store: Store | None = None,
) -> Exported:
    """pip's hashed requirements, or pylock.toml (PEP 751), which has to say where each wheel is."""
    platforms = chosen_platforms(named.lock, platform)
    if form == "pylock":
        if wheels is None:
            raise InputError(
                "pylock.toml (PEP 751) has to say where each wheel is, and a lock names no place",
                hint="let the wheels be put beside it, with --wheels DIR; or take --format requirements",
            )
        beside = os.path.relpath(wheels.absolute(), (output.absolute().parent if output else Path.cwd()))
        text = pylock_text(named.lock, platforms, Path(beside).as_posix())
    else:
        text = requirements_text(named.lock, platforms)
    locked = wheels_of(named.lock, platforms)
    if output is not None:
        check_place(output)
    if wheels is not None:
        store = store or Store()
        paths = fetched(locked, store, named.locator(), reporter)
        with store.reading():
            put_wheels(wheels, paths, writing)
    if output is not None:
        write_output(output, text)
    return Exported(named.lock.environment, tuple(platforms), named.lock.python, text, output, wheels=len(locked))


def export_pex(
    named: Named,
    output: Path,
    reporter: Reporter,
    *,
    platform: str | None,
    entry: Entry,
    store: Store | None = None,
) -> Exported:
    """One executable file of the locked wheels."""
    check_place(output)
    store = store or Store()
    platforms = chosen_platforms(named.lock, platform or host_platform())
    missing = sorted({what for p in platforms for what in left_out(named.lock, p)})
    if missing:
        reporter.note(f"not in a PEX, which holds Python packages only: {', '.join(missing)}")
    wheels = fetched(wheels_of(named.lock, platforms), store, named.locator(), reporter)
    with store.session() as session:
        scratch = session.temporary("pex")
        scratch.mkdir()
        write_pex(named.lock, platforms, wheels, output, entry=entry, scratch=scratch, reporter=reporter)
    sha256, size = hash_file(output)
    return Exported(
        named.lock.environment, tuple(platforms), named.lock.python, None, output, sha256, size, len(wheels)
    )
