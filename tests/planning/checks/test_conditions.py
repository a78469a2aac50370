"""Which conditions the source decides, for which image."""

from __future__ import annotations

import ast
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.planning.checks.rules.stdlib import is_standard
from flyte_build.project.conditions import ANYWHERE, Target, verdict

TARGET = Target((3, 11), "x86_64")


def decided(text: str, target: Target = TARGET) -> bool | None:
    return verdict(ast.parse(text, mode="eval").body, target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TYPE_CHECKING", False),
        ("typing.TYPE_CHECKING", False),
        ("not TYPE_CHECKING", True),
        ("__name__ == '__main__'", False),
        ("sys.version_info >= (3, 11)", True),
        ("sys.version_info > (3, 11)", True),
        ("sys.version_info < (3, 11)", False),
        ("sys.version_info == (3, 11)", False),
        ("sys.version_info[:2] == (3, 11)", True),
        ("sys.version_info[:2] > (3, 11)", False),
        ("sys.version_info[0] == 3", True),
        ("sys.version_info[1] < 12", True),
        ("sys.version_info.major >= 3 and sys.version_info.minor >= 12", False),
        ("sys.version_info >= (3,)", True),
        ("sys.version_info >= (3, 11, 4)", None),
        ("sys.version_info >= (3, 10, 4)", True),
        ("sys.version_info[2] > 1", None),
        ("(3, 8) <= sys.version_info", None),
        ("sys.platform == 'linux'", True),
        ("sys.platform.startswith('win')", False),
        ("sys.platform in ('win32', 'cygwin')", False),
        ("sys.platform not in ('win32',)", True),
        ("os.name == 'nt'", False),
        ("platform.system() == 'Linux'", True),
        ("platform.machine() == 'x86_64'", True),
        ("sys.platform == 'darwin' or unknown", None),
        ("sys.platform == 'darwin' and unknown", False),
        ("unknown or sys.platform == 'linux'", True),
        ("unknown", None),
        ("not unknown", None),
        ("os.environ.get('X')", None),
        ("f()", None),
        ("0", False),
        ("True", True),
        ("'a' < 1", None),
        ("__debug__", None),
    ],
)
def test_a_condition(text: str, expected: bool | None) -> None:
    assert decided(text) is expected


def test_without_an_image_only_what_holds_everywhere_is_decided() -> None:
    assert decided("sys.version_info >= (3, 11)", ANYWHERE) is None
    assert decided("platform.machine() == 'x86_64'", ANYWHERE) is None
    assert decided("sys.platform == 'win32'", ANYWHERE) is False


@given(
    numbers=st.lists(st.integers(0, 13), min_size=1, max_size=3),
    op=st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    upper=st.sampled_from(["", "[:1]", "[:2]"]),
)
def test_what_is_decided_is_what_python_says(numbers: list[int], op: str, upper: str) -> None:
    """Against the running interpreter, whose full version decides more than what is known of an image's."""
    text = f"sys.version_info{upper} {op} ({', '.join(map(str, numbers))},)"
    found = decided(text, Target((sys.version_info.major, sys.version_info.minor)))
    assert found in (None, eval(text))  # noqa: S307 (a comparison of numbers made here)
    if len(numbers) < 3:
        assert found is not None


def test_the_standard_library_by_version() -> None:
    assert is_standard("tomllib", (3, 11))
    assert not is_standard("tomllib", (3, 10))
    assert is_standard("telnetlib", (3, 12))
    assert not is_standard("telnetlib", (3, 13))
    assert not is_standard("imp", (3, 12))
    assert not is_standard("numpy", (3, 12))
    mine = (sys.version_info.major, sys.version_info.minor)
    assert [m for m in sorted(sys.stdlib_module_names) if not is_standard(m, mine)] == []
