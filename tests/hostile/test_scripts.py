"""A stranger's wheel brings programs of its own, never the environment's: its Python, its pip, what makes it one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.wheel import install_wheel
from tests.support.wheels import build_wheel

INTERPRETERS = ["python", "python3", "python3.11", "python3.14", "pythonw", "Python3", "python2"]
NO_NAMES = [
    "a/b",
    "../x",
    "/bin/sh",
    "a\\b",
    "a\x1bb",
    "a\x9bb",
    "a\u202eb",
    ".",
    "..",
    ".wh.x",
    "n" * 256,
    "a\x7fb",
    "",
]


def programs(wheel: Path) -> set[str]:
    found = install_wheel(str(wheel), wheel.name, python="3.11", venv="/opt/venv").entries
    return {e.path.removeprefix("opt/venv/bin/") for e in found if e.path.startswith("opt/venv/bin/")}


def refused(wheel: Path) -> str:
    with pytest.raises(AssembleError) as e:
        programs(wheel)
    assert str(e.value).startswith(f"{wheel.name}: `")
    assert str(e.value).isprintable()
    return str(e.value)


@pytest.mark.parametrize("section", ["console_scripts", "gui_scripts"])
@pytest.mark.parametrize("name", [*INTERPRETERS, "pip", "pip3", "pip3.11", "PIP"])
def test_an_entry_point_in_place_of_the_environments_own(tmp_path: Path, section: str, name: str) -> None:
    said = refused(build_wheel(tmp_path, "evil", entry_points=f"[{section}]\n{name} = evil:main\n"))
    assert f"script `{name}` would stand in the place of the environment's own" in said


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_entry_point_that_is_no_file_name(tmp_path: Path, name: str) -> None:
    assert "entry_points.txt" in refused(
        build_wheel(tmp_path, "evil", entry_points=f"[console_scripts]\n{name} = evil:main\n")
    )


@pytest.mark.parametrize(
    "path",
    [
        *("scripts/python", "scripts/python3.11", "scripts/pip", "data/bin/python3", "data/pyvenv.cfg", "data/bin"),
        *("data/lib", "data/lib64", "data/lib/python3.11", "data/lib/python3.11/site-packages", "data/include"),
    ],
)
def test_a_file_in_place_of_the_environments_own(tmp_path: Path, path: str) -> None:
    said = refused(build_wheel(tmp_path, "evil", data={path: "#!/bin/sh\n"}))
    assert "would stand in the place of the environment's own" in said


def test_pip_brings_pip(tmp_path: Path) -> None:
    points = "[console_scripts]\npip = pip._internal.cli.main:main\npip3 = pip._internal.cli.main:main\n"
    assert programs(build_wheel(tmp_path, "pip", "25.0", entry_points=points)) == {"pip", "pip3"}
    assert "python" in refused(
        build_wheel(tmp_path, "pip", "26.0", entry_points="[console_scripts]\npython=pip:main\n")
    )


def test_programs_that_are_only_called_alike(tmp_path: Path) -> None:
    names = {"pip-compile", "pipx", "python-dotenv", "python3-config", "pip3x", "ipython3", "pythonic", "größe"}
    points = "[console_scripts]\n" + "".join(f"{name} = tool:main\n" for name in names)
    assert programs(build_wheel(tmp_path, "tool", entry_points=points)) == names


@pytest.mark.parametrize(
    "points",
    [
        "[console_scripts]\nx\n",
        "x = y:z\n",
        "[console_scripts\n",
        "[console_scripts]\nx = y\n",
        "[console_scripts]\nx = y:z; import os\n",
        "[console_scripts]\nx = \x1b[2Jy:z\n",
        "[console_scripts]\n  x = y:z\n y\n",
        "[console_scripts]\nx = y:z\n\n[console_scripts]\nx = \x00:\n",
    ],
)
def test_what_is_no_list_of_entry_points(tmp_path: Path, points: str) -> None:
    refused(build_wheel(tmp_path, "evil", entry_points=points))
