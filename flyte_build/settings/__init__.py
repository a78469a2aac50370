"""What a project says once: ``[tool.flyte-build]`` of ``pyproject.toml``, and the variables that win over it.

Never acts on what it reads, and never says where an image comes from (law 1). :func:`read_settings` is the function,
:class:`Settings` the noun.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reading import Settings, read_settings

__all__ = ["Settings", "read_settings"]

__getattr__ = offering(__name__, {"reading": "Settings read_settings"})
