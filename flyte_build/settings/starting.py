"""Where a command starts when its line leaves it open: the FILE it means, and the folder that imports start from.

Only answers from the settings; never imports the file, and never looks for one that nobody stated.
"""

from __future__ import annotations

from pathlib import Path

from ..kernel.errors import InputError
from .reading import read_settings, stated

__all__ = ["default_file", "stated_root"]


def default_file(start: Path) -> Path:
    """The FILE of a command that names none in the folder ``start``: ``file`` of the settings, absolute.

    Raises :class:`InputError` where it is not set, and where there is no such file.
    """
    source, _ = stated(start)
    file = read_settings(start).file
    if file is None:
        within = f"in {source}" if source.is_file() else "in a pyproject.toml here or above"
        raise InputError(
            f"no FILE was named, and `file` is not set {within}",
            hint="name one, as in `flyte-build plan main.py`; or let `flyte-build init` find the project's, and write "
            'once that it is meant: `file = "main.py"` below [tool.flyte-build] in pyproject.toml',
        )
    if not file.is_file():
        what = "a folder" if file.is_dir() else "nothing"
        raise InputError(
            f"{source}: [tool.flyte-build]: file: expected a Python file, found {what} at {file}",
            hint="correct `file`, or name the file in the command",
        )
    return file


def stated_root(file: Path, said: Path | None = None) -> Path | None:
    """The folder that the imports of ``file`` are said to start from, absolute; ``None`` where nobody says.

    ``said`` (as ``--root`` says it) wins over ``root`` of the settings.
    """
    return said.absolute() if said is not None else read_settings(file.absolute().parent).root
