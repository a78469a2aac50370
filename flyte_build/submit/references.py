"""What a message of flyte's refers to: the URIs in it, those of files inside dataclasses, too. Opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgpack
from google.protobuf.message import Message

__all__ = ["references", "rewrite"]

MSGPACK = "msgpack"
# A File or Dir inside a dataclass is a msgpack map; these keys tell it from other maps (flyte.io.File, flyte.io.Dir).
_SHAPE = frozenset({"path", "name", "format"})

Renamed = Callable[[str], str | None]


def references(message: Message) -> list[str]:
    """Every URI in ``message``, in its order. Raises :class:`ValueError` for msgpack that is none."""
    found: list[str] = []
    rewrite(message, found.append)
    return found


def rewrite(message: Message, renamed: Renamed) -> bool:
    """Replace every URI in ``message`` for which ``renamed`` gives a new one; whether there was any.

    Raises :class:`ValueError` for msgpack that is none.
    """
    changed = False
    fields = {descriptor.name: value for descriptor, value in message.ListFields()}
    uri = fields.get("uri")
    if isinstance(uri, str) and (new := renamed(uri)) is not None:
        message.uri = new  # type: ignore[attr-defined]
        changed = True
    if fields.get("tag") == MSGPACK and isinstance(fields.get("value"), bytes):
        try:
            data = msgpack.unpackb(fields["value"], strict_map_key=False)
            found = _data(data, renamed)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as e:  # a map for a key has no hash
            raise ValueError(f"expected msgpack, found something else: {e}") from None
        if found:
            message.value = msgpack.packb(data)  # type: ignore[attr-defined]
            changed = True
    for child in _children(message):
        changed |= rewrite(child, renamed)
    return changed


def _data(data: Any, renamed: Renamed) -> bool:
    """The same for decoded msgpack, in place."""
    changed = False
    if isinstance(data, dict):
        path = data.get("path")
        if data.keys() >= _SHAPE and isinstance(path, str) and (new := renamed(path)) is not None:
            data["path"] = new
            changed = True
        for value in data.values():
            changed |= _data(value, renamed)
    elif isinstance(data, list):
        for value in data:
            changed |= _data(value, renamed)
    return changed


def _children(message: Message) -> Iterator[Message]:
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        if descriptor.message_type.GetOptions().map_entry:
            yield from (v for v in value.values() if isinstance(v, Message))
        elif isinstance(value, Message):
            yield value
        else:
            yield from value
