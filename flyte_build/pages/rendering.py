"""The page: template, style and script, and a run's document in it. It loads nothing, so it can be kept and sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

__all__ = ["embedded", "render_page"]


def render_page(document: Mapping[str, Any], *, live: str | None = None) -> str:
    """One self-contained HTML file. ``live``: the path that the page asks for the run's state, while it runs."""
    return (
        _part("run.html")
        .replace("{{title}}", escape(f"{document['name']} · {document['task']}"))
        .replace("{{style}}", _part("run.css"))
        .replace("{{script}}", _part("model.js") + _part("run.js"))
        .replace("{{live}}", embedded(live))
        .replace("{{document}}", embedded(document))
    )


def embedded(value: object) -> str:
    """``value`` as JSON that cannot end the script element it stands in (HTML standard, "Restrictions for contents of
    script elements"), whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@cache
def _part(name: str) -> str:
    return (files(__package__) / "parts" / name).read_text(encoding="utf-8")
