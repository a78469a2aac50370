"""Answers people's questions about locks: why a package is there, what stands on what, what is newer.

Reads locks, what artifacts say of themselves, and (only when asked what is newer) the indexes, and the advisories that
the user names a place of. Never changes
anything, never guesses.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .advisories import Affected
    from .chains import Reason, reasons
    from .graph import Graph, graph_of
    from .moving import Move, moves
    from .needs import Needs

__all__ = ["Affected", "Graph", "Move", "Needs", "Reason", "graph_of", "moves", "reasons"]

__getattr__ = offering(
    __name__,
    {
        "advisories": "Affected",
        "graph": "Graph graph_of",
        "moving": "Move moves",
        "needs": "Needs",
        "chains": "Reason reasons",
    },
)
