"""Names of Jobs and values of labels: always such that Kubernetes takes them, and different for what differs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.submit.kubernetes.names import DNS_LABEL, MOST, job_name, label_value

_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def test_a_job_is_named_by_its_attempt() -> None:
    assert job_name("r20261129-101112-ab12", "a0", 1) == "r20261129-101112-ab12-a0-1-638e656569"
    assert job_name("Run_1", "A.b", 2) == "run-1-a-b-2-f18c5449e6"


def test_no_two_attempts_share_a_name() -> None:
    given = [("a-b", "c", 1), ("a", "b-c", 1), ("a-b", "c", 11), ("A-b", "c", 1), ("a.b", "c", 1), ("a" * 90, "b", 1)]
    given.append(("a" * 90, "b", 2))
    assert len({job_name(*g) for g in given}) == len(given)


@given(st.text(), st.text(), st.integers(1, 10**6))
def test_any_name_is_a_dns_label(run: str, action: str, attempt: int) -> None:
    assert DNS_LABEL.fullmatch(job_name(run, action, attempt))


@pytest.mark.parametrize("text", ["a0", "r20261129-101112-ab12", "env.task", "A_b", ""])
def test_a_value_that_is_one_stays_as_it_is(text: str) -> None:
    assert label_value(text) == text


@given(st.text(), st.text())
def test_any_text_becomes_a_value_of_its_own(one: str, other: str) -> None:
    for text in (one, other):
        assert _VALUE.fullmatch(label_value(text))
        assert len(label_value(text)) <= MOST
    assert (label_value(one) == label_value(other)) is (one == other)
