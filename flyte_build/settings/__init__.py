"""What a project says once: ``[tool.flyte-build]`` of ``pyproject.toml``, and what wins over it (``docs/settings.md``).

Never acts on what it reads, and never says where an image comes from (law 1).
Offers :func:`read_settings` with :class:`Settings`; :func:`default_file`, :func:`project_root`: where commands start.
"""

from .reading import Settings, read_settings
from .starting import default_file, project_root

__all__ = ["Settings", "default_file", "project_root", "read_settings"]
