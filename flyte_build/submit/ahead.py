"""``python -m flyte_build.submit.ahead STORE DIGEST…``: unpack images that a run is likely to enter, beside what makes
it ready; the first one soon, the others with what the processors have left.

Says nothing: the run enters roots by itself, and finds whatever hinders this then. What is never entered was only
unpacked early.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..kernel.errors import FlyteBuildError
from ..store import Store
from .lending import read_ahead
from .roots import Roots

__all__ = ["main"]

_GENTLY = 10
"""Of nice(2)."""


def main(words: Sequence[str]) -> None:
    store = Store(Path(words[0]))
    read_ahead()
    with suppress(FlyteBuildError, OSError), store.reading():
        for number, digest in enumerate(words[1:]):
            if number == 1:
                os.nice(_GENTLY)
            # Each by itself: what it holds would keep the run from putting bytecode into its root.
            Roots(store.root, store.blobs, later=True).get(digest, anything=True)


if __name__ == "__main__":
    main(sys.argv[1:])
