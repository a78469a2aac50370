"""Whether somebody asked for an image's Python, or the SDK noted that of whoever imports the file."""

from __future__ import annotations

import sys
from pathlib import Path

import flyte
import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.project.bases import HERE
from flyte_build.project.loading import load
from flyte_build.project.session import asked_python, noting_pythons
from flyte_build.recipe import Recipe

from ..support.uv import pyproject


def test_what_is_stated_is_noted_for_the_time_of_a_block(tmp_path: Path) -> None:
    before = flyte.Image.from_debian_base(python_version=(3, 11))
    (tmp_path / "s.py").write_text("# /// script\n# dependencies = []\n# ///\n")
    with noting_pythons():
        stated = flyte.Image.from_debian_base(python_version=(3, 11), name="x", registry="r")
        script = flyte.Image.from_uv_script(tmp_path / "s.py", name="s", python_version=(3, 11))
        noted = flyte.Image.from_debian_base(name="x", registry="r")
    after = flyte.Image.from_debian_base(python_version=(3, 11))
    asked = [asked_python(image) for image in (before, stated, stated.with_env_vars({"A": "1"}), script, noted, after)]
    assert asked == [False, True, True, True, False, False]
    assert stated.python_version == (3, 11)
    assert stated.clone(name="y").uri == after.clone(registry="r", name="y").uri


@pytest.mark.parametrize("stated", [False, True])
def test_this_machines_python_may_have_been_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    """What is stated is held, though it is what would have been noted anyway."""
    newer = f"3.{sys.version_info.minor + 1}"
    monkeypatch.setattr("flyte_build.project.images.pythons", lambda prefer: (newer,))
    pyproject(tmp_path, python=f">={newer}")
    (tmp_path / "flow.py").write_text(
        "import sys, pathlib, flyte\n"
        f"image = flyte.Image.from_debian_base({'python_version=sys.version_info[:2]' if stated else ''})\n"
        "image = image.clone(name='i', extendable=True)\n"
        "image = image.with_uv_project(pathlib.Path(__file__).with_name('pyproject.toml'))\n"
        "env = flyte.TaskEnvironment('e', image=image)\n"
    )
    wish = load(tmp_path / "flow.py", tmp_path).environments["e"].wish
    if stated:
        assert isinstance(wish, LoadError)
        assert f"requires Python >={newer}, the image has {HERE}" in wish.message
    else:
        assert isinstance(wish, Recipe)
        assert wish.python == newer
