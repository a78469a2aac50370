"""The SDK's edge: loads a user's file, reads its environments, images and tasks, and serializes a task's call.

Never hashes, never builds. :func:`load` gives a :class:`Project` of :class:`Environment` and :class:`Task`; the user's
source text is read here too (``source_files``, ``statements``, ``conditions``), without running it.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .environments import read_environments
    from .loading import load, load_module
    from .nouns import Environment, Project, Task
    from .serializing import root_action

__all__ = ["Environment", "Project", "Task", "load", "load_module", "read_environments", "root_action"]

__getattr__ = offering(
    __name__,
    {
        "loading": "load load_module",
        "nouns": "Environment Project Task",
        "serializing": "root_action",
        "environments": "read_environments",
    },
)
