"""What a project says once: ``[tool.flyte-build]`` of ``pyproject.toml``, and what wins over it (``docs/settings.md``).

Never acts on what it reads, and never says where an image comes from (law 1). :func:`read_settings` gives
:class:`Settings`; :func:`default_file` and :func:`stated_root` say where a command starts.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .reading import Settings, read_settings
    from .starting import default_file, stated_root

__all__ = ["Settings", "default_file", "read_settings", "stated_root"]

__getattr__ = offering(__name__, {"reading": "Settings read_settings", "starting": "default_file stated_root"})
