"""Watches all that an answer depends on while it is made, for the project that is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..kernel.users_code import reading
from ..planning.recording import Recording
from ..planning.watching import recording
from ..project.layout import starting
from ..settings import default_file

__all__ = ["watched"]


@contextmanager
def watched(
    file: Path | None, root: Path | None, taken: tuple[Path, Mapping[str, Any]] | None = None
) -> Iterator[Recording]:
    """Watch all that is read in the block, from the first import of the SDK on, for the project of ``file``.

    ``file`` and ``root`` are as :func:`flyte_build.workbench.open_project` has them. ``record.save(key, answer)`` keeps
    an answer that was made in the block. ``taken``: the project is not read in it, but that of the record, with its
    root.
    """
    if taken is not None:
        with recording(taken[0]) as record:
            record.took(taken[1])
            yield record
        return
    with recording() as record:
        with reading():
            record.about(starting(file or default_file(Path.cwd()), root).root)
        yield record
