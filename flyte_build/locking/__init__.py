"""Recipe → lock: the only place where versions are chosen.

``lockfile`` is the schema on disk, ``pypi`` resolves Python packages (uv or pip-tools, one universe
for a project), ``apt`` resolves Debian packages from signed indexes, ``project`` puts them together.
Nothing here builds.
"""
