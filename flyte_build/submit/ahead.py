"""``python -m flyte_build.submit.ahead STORE DIGEST…``: unpack images that a run is likely to enter, beside what makes
it ready; the first one soon, the others with what the processors have left.

Says of each root that it made what its seal is, as a line ``DIGEST SEAL``, before anybody else can have it: the run
that started it need not look at it once more. Nothing else: the run enters roots by itself, and finds whatever hinders
this then. What is never entered was only unpacked early.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..kernel.errors import FlyteBuildError
from ..store import Store
from .lender import lender
from .roots import Roots

__all__ = ["main"]

_GENTLY = 10
"""Of nice(2)."""


def main(words: Sequence[str]) -> None:
    store = Store(Path(words[0]))
    with suppress(FlyteBuildError, OSError), lender() as borrow, store.reading():
        for number, digest in enumerate(words[1:]):
            if number == 1:
                os.nice(_GENTLY)
            # Each by itself: what it holds would keep the run from putting bytecode into its root.
            Roots(store.root, store.blobs, later=True, borrow=borrow, made=_say).get(digest, anything=True)


def _say(digest: str, seal: str) -> None:
    # By the file itself: nobody reads it but who started this.
    with suppress(OSError):
        os.write(1, f"{digest} {seal}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
