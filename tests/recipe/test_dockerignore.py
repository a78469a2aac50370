"""``.dockerignore``: Docker's rules, which are not git's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.kernel.errors import InputError
from flyte_build.recipe.dockerignore import DockerIgnore


@pytest.mark.parametrize(
    ("patterns", "path", "ignored"),
    [
        # Anchored at the root: a bare name is not looked for below.
        (["data"], "data", True),
        (["data"], "src/data", False),
        (["/data"], "data", True),
        (["data/"], "data/x", True),
        (["./data/../data"], "data", True),
        # What lies below a match matches.
        (["data"], "data/deep/er.csv", True),
        (["src/*"], "src/a/b.py", True),
        # One star stays within a name, two do not.
        (["*.pyc"], "a.pyc", True),
        (["*.pyc"], "src/a.pyc", False),
        (["**/*.pyc"], "a.pyc", True),
        (["**/*.pyc"], "src/deep/a.pyc", True),
        (["src/**/a.py"], "src/a.py", True),
        (["src/**/a.py"], "src/x/y/a.py", True),
        (["src/**"], "src/x/y", True),
        (["src/**"], "src", False),
        (["**"], "anything/at/all", True),
        (["**/.venv"], "sub/.venv/bin/python", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[a-c]x"], "bx", True),
        (["[^a-c]x"], "bx", False),
        (["[^a-c]x"], "dx", True),
        (["[!a]x"], "!x", True),
        ([r"a\*b"], "a*b", True),
        ([r"a\*b"], "axb", False),
        (["a.b"], "axb", False),
        (["a+b(c)"], "a+b(c)", True),
        # Case counts.
        (["README"], "readme", False),
        # The last pattern that matches decides.
        (["*.md", "!README.md"], "README.md", False),
        (["*.md", "!README.md"], "NEWS.md", True),
        (["!README.md", "*.md"], "README.md", True),
        (["docs", "!docs/keep"], "docs/keep/a", False),
        (["docs", "!docs/keep"], "docs/other", True),
        (["docs", "!docs/keep", "docs/keep/not"], "docs/keep/not", True),
        (["**", "!src"], "src/a.py", False),
        (["# comment", "", "  ", "a"], "a", True),
        (["."], "a", False),
        (["../a"], "a", True),
        ([" a "], "a", True),
    ],
)
def test_rules(patterns: list[str], path: str, ignored: bool) -> None:
    assert DockerIgnore(patterns).ignores(path) is ignored


@pytest.mark.parametrize("pattern", ["[a", "[", "[]a", "a\\", "[b-a]", "!", "! "])
def test_what_docker_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="dockerignore"):
        DockerIgnore([pattern])


def test_a_folder_is_pruned_only_when_nothing_in_it_can_come_back() -> None:
    assert DockerIgnore(["docs"]).prunes("docs")
    assert not DockerIgnore(["docs", "!**/keep.md"]).prunes("docs")
    assert not DockerIgnore(["docs"]).prunes("src")


_names = st.text("ab.*?[]^-!\\#/ ", min_size=1, max_size=8)


@given(st.lists(_names, max_size=4), st.lists(st.text("ab.*", min_size=1, max_size=3), min_size=1, max_size=4))
def test_patterns_never_crash_and_parents_without_exceptions_cover_children(lines: list[str], parts: list[str]) -> None:
    try:
        ignore = DockerIgnore(line for line in lines if not line.strip().startswith("!"))
    except InputError:
        return
    path = "/".join(parts)
    if ignore.ignores(path):
        assert ignore.ignores(f"{path}/below")
        assert ignore.prunes(path)
