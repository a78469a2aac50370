"""What the machine refuses, in words: a full disk, a folder that is somebody else's, an output that nobody reads.

Where an :class:`OSError` has come up to the command line, no stage had something better to say of it. If it is one of
those that a machine gives and no mistake of ours causes, it is an error of storage like any other.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from ..kernel.errors import StoreError
from .streams import silence

__all__ = ["refusal", "unwritten"]

_REFUSALS = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTCONN, errno.ENODEV,
})  # fmt: skip


def refusal(error: OSError) -> StoreError | None:
    """``error`` as one of ours; ``None`` where it is a mistake of ours."""
    # A stream's error has no file's name, and what could not be written may be forgotten: so once more.
    output = unwritten("" if error.filename else "\n")
    if output is not None:
        return output
    if error.errno not in _REFUSALS:
        return None
    # Of a copy the second name is that of the file which was written.
    where = error.filename2 or error.filename
    words = error.strerror or str(error)
    return StoreError(f"{os.fsdecode(where)}: {words}" if isinstance(where, str | bytes) else words, hint=_hint(where))


def unwritten(more: str = "") -> StoreError | None:
    """Why standard output, and ``more``, cannot be written, if it cannot."""
    try:
        sys.stdout.write(more)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`| head`): not an error, but nothing more can be written.
        silence()
    except OSError as e:
        silence()
        return StoreError(
            f"standard output cannot be written: {e.strerror or e}",
            hint="what was asked for was done, and is not shown: redirect the output to where there is room",
        )
    return None


def _hint(where: object) -> str:
    import tempfile

    from ..kernel.paths import cache_dir, state_dir

    known = ((cache_dir(), "FLYTE_BUILD_CACHE"), (state_dir(), "FLYTE_BUILD_STATE"))
    path = Path(os.fsdecode(where)).absolute() if isinstance(where, str | bytes) else None
    for folder, variable in known:
        if path is not None and (path == folder or folder in path.parents):
            return f"make room there and check its owner, or set {variable} to a folder of yours"
    if path is not None and Path(tempfile.gettempdir()) in path.parents:
        return "make room there, or set TMPDIR to another folder"
    return "check its owner and permissions, and that there is room on its disk"
