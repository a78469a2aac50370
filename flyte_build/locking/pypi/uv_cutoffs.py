"""Indexes with cut-offs of their own as uv's configuration has them (``[[index]]``, ``exclude-newer``)."""

from __future__ import annotations

import json

from .question import Question

__all__ = ["configuration"]


def configuration(question: Question, instead: str | None = None) -> str:
    """The text of a ``uv.toml``. ``instead``: what every cut-off is, to see whether uv reads them."""
    settings, rows = question.settings, []
    for index in settings.indexes:
        row = {"name": index.name, "url": index.url, "default": index is settings.indexes[-1]}
        cutoff = settings.cutoff_of(index, question.cutoff)
        if instead is not None or cutoff != question.cutoff:
            row["exclude-newer"] = instead or cutoff or False
        rows.append("[[index]]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in row.items() if v is not None))
    return "\n".join(rows)
