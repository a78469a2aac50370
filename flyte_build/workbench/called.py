"""Progress about images by the environments that they are of: who unpacks them knows their digests alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager

from ..kernel.reporting import Hushed, Progress, Reporter

__all__ = ["Called"]

_IMAGE = re.compile(r"\bimage (?:sha256:)?([0-9a-f]{12})[0-9a-f]*\b")
_SHOWN = 2


class Called(Hushed):
    """Another reporter's words, in which an image is that of its environments; ``images``: environment → digest."""

    def __init__(self, reporter: Reporter, images: Mapping[str, str]) -> None:
        super().__init__(reporter)
        self._names: dict[str, list[str]] = {}
        for name, digest in images.items():
            self._names.setdefault(digest.removeprefix("sha256:")[:12], []).append(name)

    def work(self, title: str, total: int | None = None, *, unit: str = "items") -> AbstractContextManager[Progress]:
        return super().work(self._called(title), total, unit=unit)

    def note(self, message: str) -> None:
        super().note(self._called(message))

    def warn(self, message: str) -> None:
        super().warn(self._called(message))

    def _called(self, text: str) -> str:
        return _IMAGE.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        names = self._names.get(found[1], [])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"the image of {', '.join(names[:_SHOWN])}{more}" if names else found[0]
