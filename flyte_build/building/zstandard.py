"""Zstandard by a library, where one is there: what the assembler's own reader does, and much faster.

From Python 3.14 on the standard library has one (PEP 784); `backports.zstd`, which the extra `pixi` installs, is it
for earlier ones. Either reads what the assembler's own reads, so that it cannot change a layer.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, BinaryIO

from ..assemble.zstd import ZstdError

if TYPE_CHECKING:
    from ..assemble.zstd import Unpack

__all__ = ["library"]

_CHUNK = 1 << 20


def library() -> Unpack | None:
    """The fastest reader that is there; ``None`` where there is only the assembler's own."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        break
    else:
        return None

    def unpack(source: BinaryIO, out: BinaryIO, most: int) -> None:
        left = most
        try:
            with module.ZstdFile(source) as plain:
                while piece := plain.read(_CHUNK):
                    left -= len(piece)
                    if left < 0:
                        raise ZstdError(f"unpacks to more than {most} bytes")
                    out.write(piece)
        except (module.ZstdError, EOFError) as e:
            raise ZstdError(f"corrupt or truncated: {e}") from None

    return unpack
