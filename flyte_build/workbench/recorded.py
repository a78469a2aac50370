"""Answers given before: what was asked, and what it was told, for as long as nothing that it depended on has changed.

For processes that ask the same again and again, as a command line does: while an answer is made, all that it reads is
watched (:mod:`flyte_build.planning.watching`), and asking again costs the time to look whether it is as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..planning.noop import key_of, load

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..planning.recording import Recording

__all__ = ["key_of", "load", "watched"]


def watched(file: Path, root: Path | None) -> AbstractContextManager[Recording]:
    """Watch all that is read in the block, from the first import of the SDK on.

    ``record.save(key, answer)`` keeps an answer that was made in it.
    """
    from ..planning.watching import recording

    return recording(root or file.absolute().parent)
