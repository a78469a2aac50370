"""``with_code_bundle()``: the same layer whoever asks, and no word of it in a lock."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import flyte
import pytest

from flyte_build.deriving.local_files import snapshot
from flyte_build.kernel.errors import LoadError
from flyte_build.project.code_bundle import Code
from flyte_build.project.images import read_image
from flyte_build.project.loading import load
from flyte_build.recipe import CopyFiles, PipInstall, Recipe

BASE = flyte.Image.from_debian_base(python_version=(3, 11))
MAIN = """
import flyte
from lib.x import y
env = flyte.TaskEnvironment("e", image=flyte.Image.from_debian_base(python_version=(3, 11)).with_code_bundle({style}))
@env.task
def go() -> int:
    import late
    return y
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("main.py", "late.py", "never.py", "lib/__init__.py", "lib/x.py", "lib/never.py", "data.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("y = 1\n")
    for name in (".git/x", "lib/__pycache__/x.pyc", "lockfiles/e.json", ".venv/a.py", ".env", "x.whl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("never in an image")
    return tmp_path


def _copied(recipe: Recipe, root: Path) -> set[str]:
    return {e.path for e in snapshot(recipe, root)[len(recipe.steps) - 1] if e.sha256}


@pytest.mark.parametrize(
    ("style", "files"),
    [
        ("", {"main.py", "late.py", "lib/__init__.py", "lib/x.py"}),
        (
            "copy_style='all', dst='/srv/code'",
            {"main.py", "late.py", "never.py", "lib/__init__.py", "lib/x.py", "lib/never.py", "data.csv"},
        ),
    ],
)
def test_the_code_is_a_layer(project: Path, style: str, files: set[str]) -> None:
    (project / "main.py").write_text(MAIN.format(style=style))
    recipe = load(project / "main.py", project).environments["e"].recipe
    where = "srv/code" if style else "home/flyte"
    assert _copied(recipe, project) == {f"{where}/{name}" for name in files}


@pytest.mark.parametrize("style", ["loaded_modules", "all"])
def test_no_lock_has_it_and_it_comes_last(project: Path, style: Literal["loaded_modules", "all"]) -> None:
    with_code = BASE.with_code_bundle(copy_style=style).with_pip_packages("a")
    recipe = read_image(with_code, "environment e", project)
    assert recipe.fingerprint == read_image(BASE.with_pip_packages("a"), "environment e", project).fingerprint
    pip, copy = recipe.steps
    assert isinstance(pip, PipInstall)
    assert isinstance(copy, CopyFiles)
    assert copy.code


def test_the_paths_start_where_the_runtime_imports_from(project: Path) -> None:
    inner = project / "lib"
    code = Code(project, lambda: [inner / "x.py"])
    recipe = read_image(BASE.with_code_bundle(), "environment e", inner, code=code)
    assert _copied(recipe, inner) == {"home/flyte/lib/__init__.py", "home/flyte/lib/x.py"}


def test_what_the_sdk_resolved_is_where_it_says(project: Path) -> None:
    from flyte import _image

    if "root_dir" not in _image.CodeBundleLayer.__dataclass_fields__:
        pytest.skip("this flyte resolves the layer into a copy of files")
    layer = _image.CodeBundleLayer(copy_style="loaded_modules", dst=".", root_dir=project)
    image = BASE.clone(addl_layer=layer)
    recipe = read_image(
        image, "environment e", project / "lib", code=Code(project / "lib", lambda: [project / "main.py"])
    )
    assert _copied(recipe, project / "lib") == {"home/flyte/main.py"}


def test_without_a_file_there_is_nothing_to_copy(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="environment e: with_code_bundle: no file of the environment is below"):
        read_image(BASE.with_code_bundle(), "environment e", tmp_path)
