"""A registry base, read layer by layer: what is in it that an image on top of it depends on.

    layers ──tree──▶ one tree of names ──python, distributions, system──▶ facts

:func:`facts_of` is pure over the tree; :func:`read_layer` reads one blob as a stream and keeps names, modes and a few
small files. Nothing is unpacked, nothing of a base is ever run.
"""

from .facts import facts_of
from .layers import read_layer
from .tree import Tree

__all__ = ["Tree", "facts_of", "read_layer"]
