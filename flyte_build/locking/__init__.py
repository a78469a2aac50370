"""Recipe → lock: the only place where versions are chosen. One universe a project.

Never builds, never names a place in a lock. :func:`lock_project` is the function; ``pypi`` resolves Python packages (uv
or pip-tools), ``apt`` Debian's from signed indexes, ``inspecting`` reads registry bases.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .project import LockReport, lock_project

__all__ = ["LockReport", "lock_project"]

__getattr__ = offering(__name__, {"project": "LockReport lock_project"})
