"""Words of a Dockerfile: quotes, and every form of a variable."""

from __future__ import annotations

import pytest

from flyte_build.recipe.docker_words import deferred, expand, known, words_of

KNOWN = {"A": "x", "P": "/a/b/c.tar.gz", "E": "", "D": "$A"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A-${A}b", "x-xb"),
        ("$AB${AB}", ""),
        ("${N:-d}${N-d}${E:-d}${E-d}", "ddd"),
        ("${N:+d}${A:+d}${E:+d}${E+d}", "dd"),
        ("${A:+:$A}", ":x"),
        ("${N:-${M:-${A}y}}", "xy"),
        ("${P#*/}", "a/b/c.tar.gz"),
        ("${P##*/}", "c.tar.gz"),
        ("${P%.*}", "/a/b/c.tar"),
        ("${P%%.*}", "/a/b/c"),
        ("${P/a/z}${P//[a]/z}", "/z/b/c.tar.gz/a/b/c.tar.gz"),
        ("${P//?a/z}", "z/b/c.zr.gz"),
        ("\\$A $ $- ${ ${A ${a.b} \\n", "$A $ $- ${ ${A ${a.b} \\n"),
        ("$D", "$A"),
        ("'$A' \"q\"", "'x' \"q\""),
    ],
)
def test_the_value_of_a_variable(text: str, value: str) -> None:
    assert expand(text, KNOWN) == value


def test_quotes_count_where_an_instruction_is_read() -> None:
    assert known("'$A'\"$A b\"\\ \\$A", KNOWN) == ("$Ax b $A", [])
    assert known("$N/${M:-$A}", KNOWN) == ("/x", ["N", "M"])
    assert known("'$A'", KNOWN, quotes=False) == ("'x'", [])


def test_what_is_not_known_yet_is_left_for_later() -> None:
    once = deferred("$N-'$N'-${M:+:$M/$A}-$D", KNOWN)
    assert once == "$N-\\$N-${M:+:$M/x}-\\$A"
    assert expand(once, {"N": "n", "M": "m"}) == "n-$N-:m/x-$A"


@pytest.mark.parametrize(
    ("text", "why"), [("${A", "is no variable"), ("${}", "expected a name"), ("${N:?why}", "N: why")]
)
def test_what_is_no_variable_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        known(text, KNOWN)


def test_words_keep_their_quotes() -> None:
    assert words_of('a=1 \t\'b c\'d "e \\" f" g\\ h') == ["a=1", "'b c'd", '"e \\" f"', "g\\ h"]
    with pytest.raises(ValueError, match="a ' is never closed"):
        words_of("it's")


def test_what_is_never_closed_takes_no_time() -> None:
    assert expand("${a:-" * 3000, {}) == "${a:-" * 3000
