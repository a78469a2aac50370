"""Answers given before: what was asked, and what it was told, for as long as nothing that it depended on has changed.

For processes that ask the same again and again, as a command line does: while an answer is made, all that it reads is
watched (:mod:`flyte_build.planning.watching`), and asking again costs the time to look whether it is as it was.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..planning.noop import key_of, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..planning.recording import Recording

__all__ = ["key_of", "load", "watched"]


@contextmanager
def watched(file: Path | None, root: Path | None) -> Iterator[Recording]:
    """Watch all that is read in the block, from the first import of the SDK on, for the project of ``file``.

    ``file`` and ``root`` are as :func:`flyte_build.workbench.open_project` has them. ``record.save(key, answer)`` keeps
    an answer that was made in the block.
    """
    from ..planning.watching import recording

    with recording() as record:
        from ..settings import default_file, project_root

        record.about(project_root(file or default_file(Path.cwd()), root))
        yield record
