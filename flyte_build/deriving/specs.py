"""A layer's spec as every kind has it: the kind, the assembler's version, a title, and the kind's own fields. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..assemble.version import ASSEMBLER
from ..kernel.canonical import Json
from .nouns import Artifact, LayerDerivation

__all__ = ["layer_of", "named"]


def layer_of(kind: str, title: str, artifacts: Sequence[Artifact], **fields: Json) -> LayerDerivation:
    return LayerDerivation({"kind": kind, "assembler": ASSEMBLER, "title": title, **fields}, tuple(artifacts))


def named(artifacts: Sequence[Artifact]) -> Json:
    return [{"file": a.file, "sha256": a.sha256} for a in artifacts]
