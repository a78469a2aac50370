"""Up to which instant a lock may look: a date, an instant, or an age such as ``7 days`` (a cooldown).

What is recorded in a lock is always the instant: an age means another one every second. A cooldown from the settings
decides only about what is chosen anew, so that a lock that answers its recipe stays as it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .errors import InputError

__all__ = ["NONE", "parse_cutoff", "rfc3339"]

NONE = "none"
"""No cut-off, where a place has rules of its own."""

_AGE = re.compile(r"(\d{1,5})\s*(h|hours?|d|days?|w|weeks?)", re.IGNORECASE)
# The two shapes of an ISO 8601 duration that say days or hours alone, as uv takes them.
_DURATION = re.compile(r"P(?:(\d{1,5})W|(\d{1,5})D|T(\d{1,5})H)")
_HOURS = {"h": 1, "d": 24, "w": 24 * 7}


def parse_cutoff(text: str, now: datetime | None = None) -> datetime:
    """The instant, in UTC, to the second. A date means the end of that day in UTC (as ``--exclude-newer`` includes the
    whole day), an age is counted back from ``now`` (default: the clock's). Raises :class:`InputError`."""
    age = _age(text.strip())
    if age is not None:
        return ((now or datetime.now(UTC)) - age).replace(microsecond=0)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1, seconds=-1)
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError(text)
        return at.astimezone(UTC)
    except ValueError:
        raise InputError(
            f"cut-off date: expected YYYY-MM-DD, an instant such as 2026-01-02T03:04:05Z, or an age such as `7 days`, "
            f"found `{text}`"
        ) from None


def rfc3339(text: str) -> str:
    """The instant that ``text`` means now, as a lock has it."""
    return f"{parse_cutoff(text):%Y-%m-%dT%H:%M:%SZ}"


def _age(text: str) -> timedelta | None:
    if found := _AGE.fullmatch(text):
        return timedelta(hours=int(found[1]) * _HOURS[found[2][0].lower()])
    if found := _DURATION.fullmatch(text):
        weeks, days, hours = (int(part or 0) for part in found.groups())
        return timedelta(weeks=weeks, days=days, hours=hours)
    return None
