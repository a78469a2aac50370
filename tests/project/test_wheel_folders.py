"""``PythonWheels``: what the SDK's builder installs of a folder of wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.locking.wheels import Target, fitting
from flyte_build.project.wheel_folders import wheels_of
from tests.support.wheels import build_wheel

AMD64 = Target("linux/amd64", "3.11", "3.11.2", (2, 36))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_wheel(tmp_path, "my_pkg", "1.0", requires=["old-one"])
    build_wheel(tmp_path, "my_pkg", "2.0", requires=["Native.Pkg>=1; python_version > '3'", "from-the-index"])
    build_wheel(tmp_path, "my_pkg", "3.0rc1")
    build_wheel(tmp_path, "old_one")
    build_wheel(tmp_path, "unasked")
    for machine in ("x86_64", "aarch64"):
        build_wheel(tmp_path, "native_pkg", tag=f"cp311-cp311-manylinux_2_17_{machine}")
    return tmp_path


def test_the_newest_of_the_package_and_what_it_requires(folder: Path) -> None:
    assert [w.name for w in wheels_of(folder, "My.Pkg", "environment e")] == [
        "my_pkg-2.0-py3-none-any.whl",
        "native_pkg-1.0-cp311-cp311-manylinux_2_17_aarch64.whl",
        "native_pkg-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    ]


def test_of_several_platforms_the_targets(folder: Path) -> None:
    found = fitting(wheels_of(folder, "my-pkg", "environment e"), AMD64)
    assert [w.name for w in found] == [
        "my_pkg-2.0-py3-none-any.whl",
        "native_pkg-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    ]


def test_a_folder_without_the_package(folder: Path) -> None:
    with pytest.raises(LoadError, match=r"environment e: .* holds no wheel of `gone`"):
        wheels_of(folder, "gone", "environment e")


def test_what_is_no_wheel_is_named(folder: Path) -> None:
    (folder / "my_pkg-4.0-py3-none-any.whl").write_text("no")
    with pytest.raises(LoadError, match=r"my_pkg-4\.0-py3-none-any\.whl: cannot be read as a wheel"):
        wheels_of(folder, "my-pkg", "environment e")
    (folder / "nothing.whl").write_text("no")
    with pytest.raises(LoadError, match=r"nothing\.whl: Invalid wheel filename"):
        wheels_of(folder, "my-pkg", "environment e")
