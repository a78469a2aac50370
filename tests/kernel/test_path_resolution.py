"""Paths below a root of their own: the same answers as the kernel gives a process that has this root."""

from __future__ import annotations

import pytest

from flyte_build.kernel.path_resolution import MOST_LINKS, TooManyLinks, resolve

LINKS = {"a/up": "../b", "a/top": "/b/c", "loop": "loop", "one": "two", "two": "b", "out": "../../../etc"}


def link_of(parts: list[str], last: bool) -> str | None:
    return LINKS.get("/".join(parts))


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/x//./y", "x/y"),
        ("a/up/f", "b/f"),
        ("/a/top", "b/c"),
        ("one", "b"),
        ("a/up/../one/f", "b/f"),
        ("../../x", "x"),
        ("out/passwd", "etc/passwd"),
        ("/", ""),
    ],
)
def test_links_are_followed_and_never_lead_out(path: str, leads_to: str) -> None:
    assert "/".join(resolve(path, link_of)) == leads_to


def test_a_loop_ends() -> None:
    with pytest.raises(TooManyLinks):
        resolve("loop/x", link_of)


def test_as_many_links_as_the_kernel_follows() -> None:
    chain = {str(n): str(n + 1) for n in range(MOST_LINKS)}
    assert resolve("0", lambda parts, last: chain.get(parts[-1])) == [str(MOST_LINKS)]
    chain[str(MOST_LINKS)] = "end"
    with pytest.raises(TooManyLinks):
        resolve("0", lambda parts, last: chain.get(parts[-1]))


def test_the_last_component_is_told_from_the_others() -> None:
    asked: list[tuple[str, bool]] = []

    def watch(parts: list[str], last: bool) -> str | None:
        asked.append((parts[-1], last))
        return "b/c" if parts[-1] == "a" else None

    assert resolve("a/x", watch) == ["b", "c", "x"]
    assert asked == [("a", False), ("b", False), ("c", False), ("x", True)]
