"""``WWW-Authenticate`` as servers write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.registry.challenge import Challenge, parse_challenges


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://auth.example/token",service="a, b",scope="repository:a/b:pull,push"',
            [
                (
                    "bearer",
                    {"realm": "https://auth.example/token", "service": "a, b", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            'Bearer realm="https://auth.example/t" , error=invalid_token, Basic realm="a \\"quoted\\" word"',
            [
                ("bearer", {"realm": "https://auth.example/t", "error": "invalid_token"}),
                ("basic", {"realm": 'a "quoted" word'}),
            ],
        ),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ("Negotiate YWJjZA==, BASIC Realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (
            "Bearer realm=https://auth.example/token,service=s",
            [("bearer", {"realm": "https://auth.example/token", "service": "s"})],
        ),
        ("", []),
        ('realm="x", Basic realm="y"', []),
        (" , ,", []),
        ('Basic realm="unterminated', [("basic", {})]),
    ],
)
def test_fields(text: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges([text]) == [Challenge(scheme, parameters) for scheme, parameters in expected]


def test_several_fields_are_one_list() -> None:
    assert [c.scheme for c in parse_challenges(["Basic realm=a", "Bearer realm=b"])] == ["basic", "bearer"]


@given(st.text(alphabet='Bearerx =",\\:/ab\t', max_size=60))
def test_whatever_a_server_says_ends(text: str) -> None:
    for challenge in parse_challenges([text]):
        assert challenge.scheme == challenge.scheme.lower()
