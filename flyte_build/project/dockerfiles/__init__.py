"""A Dockerfile that ``Image.from_dockerfile`` names: ``read_dockerfile`` gives base, steps, stages and settings.

``text`` cuts it into instructions and stages, ``steps``, ``copies`` and ``settings`` say what each means, ``image``
puts them together; ``delegated`` is for a file with a line that no step means. Reads the file and the
context's names; runs nothing, fetches nothing.
"""

from .image import read_dockerfile

__all__ = ["read_dockerfile"]
