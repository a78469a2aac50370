"""Watches all that an answer depends on while it is made, for the project that is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..planning.recording import Recording
from ..planning.watching import recording
from ..project.layout import starting
from ..settings import default_file

__all__ = ["watched"]


@contextmanager
def watched(file: Path | None, root: Path | None) -> Iterator[Recording]:
    """Watch all that is read in the block, from the first import of the SDK on, for the project of ``file``.

    ``file`` and ``root`` are as :func:`flyte_build.workbench.open_project` has them. ``record.save(key, answer)`` keeps
    an answer that was made in the block.
    """
    with recording() as record:
        record.about(starting(file or default_file(Path.cwd()), root).root)
        yield record
