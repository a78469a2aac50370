"""Dates, instants and ages: up to when a lock may look."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flyte_build.kernel.cutoff import parse_cutoff
from flyte_build.kernel.errors import InputError

NOW = datetime(2026, 11, 29, 12, 30, 15, 999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", "2026-11-01T23:59:59+00:00"),
        ("2026-11-01T12:00:00Z", "2026-11-01T12:00:00+00:00"),
        ("2026-11-01T12:00:00+02:00", "2026-11-01T10:00:00+00:00"),
        ("7 days", "2026-11-22T12:30:15+00:00"),
        ("1 day", "2026-11-28T12:30:15+00:00"),
        ("2w", "2026-11-15T12:30:15+00:00"),
        ("36 Hours", "2026-11-28T00:30:15+00:00"),
        ("P7D", "2026-11-22T12:30:15+00:00"),
        ("PT36H", "2026-11-28T00:30:15+00:00"),
    ],
)
def test_instants(text: str, expected: str) -> None:
    assert parse_cutoff(text, NOW).isoformat() == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "days", "-1 days", "2026-13-01", "2026-11-01T12:00:00", "P1Y"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(InputError, match="expected YYYY-MM-DD, an instant"):
        parse_cutoff(text, NOW)
