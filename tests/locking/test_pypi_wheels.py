"""Which wheel of a version is taken: the target's tags, and the same choice everywhere."""

from __future__ import annotations

import platform
import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging import tags

from flyte_build.kernel.errors import ResolutionError
from flyte_build.locking.wheels import Target, best, glibc_of
from flyte_build.sources.indexes import IndexFile

AMD = Target("linux/amd64", "3.11", "3.11.2", (2, 36))
ARM = Target("linux/arm64", "3.13", "3.13.5", (2, 41))


def wheel(tag: str, **more: object) -> IndexFile:
    name = f"pkg-1.0-{tag}.whl"
    return IndexFile(name, f"https://index.example/{name}", **more)  # type: ignore[arg-type]


def chosen(*named: str, target: Target = AMD) -> str:
    return best("pkg", "1.0", [wheel(t) for t in named], target).name.removeprefix("pkg-1.0-").removesuffix(".whl")


@pytest.mark.parametrize(
    ("expected", "others"),
    [
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", ["py3-none-any", "cp311-none-any"]),
        ("cp311-abi3-manylinux_2_28_x86_64", ["cp39-abi3-manylinux_2_28_x86_64"]),
        ("cp311-cp311-manylinux_2_28_x86_64", ["cp311-cp311-manylinux_2_17_x86_64"]),
        ("cp311-cp311-manylinux_2_17_x86_64", ["cp311-cp311-manylinux_2_39_x86_64"]),
        ("py2.py3-none-any", ["cp311-cp311-musllinux_1_2_x86_64", "cp311-cp311-macosx_11_0_arm64"]),
        ("10-py3-none-any", ["2-py3-none-any", "py3-none-any"]),
        ("cp311-cp311-manylinux1_x86_64", ["cp313-cp313-manylinux_2_17_x86_64"]),
        ("cp311-none-any", ["cp311-cp311t-manylinux_2_17_x86_64"]),
    ],
)
def test_the_most_specific_that_fits(expected: str, others: list[str]) -> None:
    assert chosen(expected, *others) == expected
    assert chosen(*others, expected) == expected


def test_a_free_threaded_build_takes_its_own_and_no_stable_abi_of_others() -> None:
    target = Target("linux/amd64", "3.14t", "3.14.2", (2, 36))
    named = ["cp314-cp314-manylinux_2_17_x86_64", "cp39-abi3-manylinux_2_17_x86_64", "py3-none-any"]
    assert chosen(*named, target=target) == "py3-none-any"
    assert chosen(*named, "cp314-cp314t-manylinux_2_17_x86_64", target=target) == "cp314-cp314t-manylinux_2_17_x86_64"
    assert target.markers["python_version"] == "3.14"
    assert str(target) == "linux/amd64, Python 3.14t, glibc 2.36"


def test_each_target_its_own() -> None:
    named = [
        "cp313-cp313-manylinux_2_17_aarch64",
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp313-cp313-manylinux_2_41_aarch64",
    ]
    assert chosen(*named) == "cp311-cp311-manylinux_2_17_x86_64"
    assert chosen(*named, target=ARM) == "cp313-cp313-manylinux_2_41_aarch64"


@given(st.randoms())
def test_the_order_of_the_page_never_matters(shuffle: random.Random) -> None:
    named = ["py3-none-any", "1-py3-none-any", "1a-py3-none-any", "py2.py3-none-any", "cp310-abi3-manylinux_2_5_x86_64"]
    shuffle.shuffle(named)
    assert chosen(*named) == "cp310-abi3-manylinux_2_5_x86_64"


def test_requires_python_of_a_single_file() -> None:
    files = [wheel("cp311-cp311-manylinux_2_17_x86_64", requires_python=">=3.11.4"), wheel("py3-none-any")]
    assert best("pkg", "1.0", files, AMD).name == "pkg-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            [wheel("cp311-cp311-win_amd64"), wheel("cp311-cp311-macosx_11_0_arm64")],
            "its wheels are for: cp311-cp311-macosx_11_0_arm64, cp311-cp311-win_amd64",
        ),
        (
            [IndexFile("pkg-1.0.tar.gz", "https://index.example/")],
            "it has a source distribution only, and those are not built",
        ),
        ([], "the index lists no file of this version"),
    ],
)
def test_no_wheel_says_what_there_is(files: list[IndexFile], words: str) -> None:
    with pytest.raises(ResolutionError) as e:
        best("pkg", "1.0", files, AMD)
    assert e.value.message == f"pkg 1.0: no wheel for linux/amd64, Python 3.11, glibc 2.36; {words}"
    assert e.value.exit_code == 5
    assert "another version or platform" in str(e.value.hint)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc", reason="compares with x86-64 glibc"
)
def test_agrees_with_packaging_about_the_host() -> None:
    glibc = tuple(int(p) for p in platform.libc_ver()[1].split("."))
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    target = Target("linux/amd64", python, platform.python_version(), glibc[:2])  # type: ignore[arg-type]
    assert list(tags.sys_tags()) == sorted(target.tags, key=lambda tag: target.tags[tag])


def test_the_c_library() -> None:
    assert glibc_of("bookworm") == (2, 36)
    assert glibc_of("trixie") == (2, 41)
    assert glibc_of("forky", "2.42-5") == (2, 42)
    with pytest.raises(ResolutionError, match="the C library of Debian duke is not known"):
        glibc_of("duke")
