"""Devices, and what of this machine belongs to them. Values.

Sources are paths of this machine, targets those that the container toolkit gives them in a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...kernel.values import dataclass, field

__all__ = ["Gpu", "Gpus"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """What one task has alone: a GPU, or a partition of one. ``name`` is its index (``0``; ``0:1`` of a partition).

    ``uuid`` and ``model`` are empty where nothing tells them; ``nodes`` are (source, target); ``env`` is the device's.
    """

    name: str
    nodes: tuple[tuple[Path, str], ...]
    uuid: str = ""
    model: str = ""
    partition: bool = False
    files: tuple[tuple[Path, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gpus:
    """All of this machine. ``nodes`` are those that every task with a device has, ``files`` libraries and programs
    likewise (source, target), ``links`` more names of libraries: name → the library's own."""

    devices: tuple[Gpu, ...] = ()
    nodes: tuple[tuple[Path, str], ...] = ()
    files: tuple[tuple[Path, str], ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
