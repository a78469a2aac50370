"""What is told of what is asked: never a secret."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from flyte_build.kernel import tracing

CANARY = "canary-3f9a7c"


@pytest.fixture
def told() -> Iterator[list[tuple[str, str]]]:
    found: list[tuple[str, str]] = []
    tracing.listen(lambda _at, what, words: found.append((what, words)))
    yield found
    tracing.listen(None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://user:{CANARY}@example.org/simple/numpy/", "https://example.org/…/numpy"),
        (f"https://{CANARY}@example.org:8443/simple/", "https://example.org:8443/simple/"),
        (f"https://example.org/{CANARY}/simple/numpy/", "https://example.org/…/numpy"),
        (f"https://example.org/a/b.whl?X-Amz-Signature={CANARY}#{CANARY}", "https://example.org/…/b.whl"),
        ("http://127.0.0.1:5000/v2/team/image/manifests/v1", "http://127.0.0.1:5000/v2/team/image/manifests/v1"),
        (f"http://[{CANARY}/", "(a URL)"),
    ],
)
def test_urls(url: str, shown: str) -> None:
    assert tracing.shown_url(url) == shown
    assert tracing.redacted(f"GET {url} 200") == f"GET {shown} 200"


def test_what_a_secret_variable_holds_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_REGISTRY_PASSWORD", CANARY)
    assert tracing.redacted(f"--password {CANARY}") == "--password ***"


def test_programs_are_told_of_and_long_words_are_not(told: list[tuple[str, str]]) -> None:
    program = f"pass\n# {CANARY}"
    subprocess.run([sys.executable, "-c", program, f"https://u:{CANARY}@example.org/x/y"], check=True)
    ((what, words),) = told
    assert what == "tool"
    assert words.endswith(f"-c ({len(program)} characters) https://example.org/…/y")
    tracing.listen(None)
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert len(told) == 1


def test_nobody_listens_by_default() -> None:
    assert not tracing.active()
    assert tracing.hooks() == {}
    tracing.tell("store", "nothing")
    with tracing.timed("work", "nothing"):
        pass
