"""The setting ``layer-ceiling`` in recipes: where wheels are installed, and it is not the default."""

from __future__ import annotations

from pathlib import Path

import flyte
import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.project.environments import read_environments
from flyte_build.recipe import Recipe


def wish_in(folder: Path, image: flyte.Image | str, *settings: str) -> object:
    (folder / "pyproject.toml").write_text("\n".join(["[tool.flyte-build]", *settings, ""]))
    environment = flyte.TaskEnvironment(name="env", image=image)
    return read_environments([environment], folder, folder / "main.py").environments["env"].wish


def recipe_in(folder: Path, image: flyte.Image | str, *settings: str) -> Recipe:
    wish = wish_in(folder, image, *settings)
    assert isinstance(wish, Recipe)
    return wish


DEBIAN = flyte.Image.from_debian_base(python_version=(3, 11))


@pytest.mark.parametrize(("said", "ceiling"), [("500M", 500_000_000), ("4Gi", None)])
def test_it_is_in_the_recipe_where_it_is_not_the_default(tmp_path: Path, said: str, ceiling: int | None) -> None:
    assert recipe_in(tmp_path, DEBIAN, f'layer-ceiling = "{said}"').layer_ceiling == ceiling
    assert recipe_in(tmp_path, DEBIAN).layer_ceiling is None


def test_an_image_without_wheels_has_none(tmp_path: Path) -> None:
    assert recipe_in(tmp_path, "registry.example/a:1", 'layer-ceiling = "500M"').layer_ceiling is None


def test_it_has_a_floor(tmp_path: Path) -> None:
    wish = wish_in(tmp_path, DEBIAN, 'layer-ceiling = "1M"')
    assert isinstance(wish, InputError)
    assert "layer-ceiling: expected 16777216 bytes (16Mi) or more, found 1000000" in wish.message
