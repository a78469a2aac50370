"""Two subjects → what differs between them, for ``flyte-build diff`` and ``plan --explain``.

Never builds, fetches or writes. Everything is read into neutral :class:`Contents` (locks, derivations, stored images,
OCI layouts); :func:`difference` compares two of them and gives a :class:`Difference`.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .comparison import Difference, difference
    from .contents import Contents

__all__ = ["Contents", "Difference", "difference"]

__getattr__ = offering(__name__, {"comparison": "Difference difference", "contents": "Contents"})
