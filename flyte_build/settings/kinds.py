"""What a key of ``[tool.flyte-build]`` is: a row of the table, and the kinds of values that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["SIZE", "Kind", "Setting"]

Kind = Literal[
    "text", "texts", "flag", "choice", "folder", "file", "files", "key", "size", "count", "age", "ages", "targets"
]
"""What a value is. Paths (``folder``, ``file``, ``files``) are relative to the ``pyproject.toml``, and so is a ``key``
that is a file and no reference (``awskms://…``). A ``size`` is a text, and bytes once it was read. An ``age`` is a
date, an instant or an age, ``ages`` are a table of such, or ``none``, by name: read as pairs. What ``targets`` are made
of has a table of its own (``targets``)."""


SIZE = r"^[0-9]{1,15}([.][0-9]{1,6})?([kKMGTPE]i?)?$"
"""What a ``size`` looks like, for editors; reading has :func:`~flyte_build.kernel.quantities.size_of`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. ``variable`` wins over the file, ``option`` (of the command line) over both; ``None``: there is none.

    ``default`` is the value of ``Settings``; ``otherwise`` says in words what holds where that is no value to show.
    ``says`` is Markdown, ``example`` a TOML value, ``see`` a page of ``docs/`` that has the whole story.
    """

    key: str
    kind: Kind
    says: str
    example: str
    default: Any = None
    otherwise: str = ""
    variable: str | None = None
    option: str | None = None
    choices: tuple[str, ...] = ()
    see: str | None = None

    @property
    def field(self) -> str:
        """The attribute's name in ``Settings``."""
        return self.key.replace("-", "_")
