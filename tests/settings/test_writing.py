"""A first table: added as text, never over one that is there."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.settings.writing import add_table, table_text


def test_the_order_is_the_settings_own() -> None:
    text = table_text({"registry": "r.example/t", "file": 'a"b.py'})
    assert text == '[tool.flyte-build]\nfile = "a\\"b.py"\nregistry = "r.example/t"\n'
    with pytest.raises(ValueError, match="colour"):
        table_text({"colour": "red"})


@pytest.mark.parametrize("before", ["", "[project]\nname = 'x'\n", "# no newline at the end"])
def test_what_is_there_does_not_move_a_byte(tmp_path: Path, before: str) -> None:
    file = tmp_path / "pyproject.toml"
    if before:
        file.write_text(before)
        file.chmod(0o600)
    add_table(file, {"file": "main.py"})
    assert file.read_text().startswith(before)
    assert tomllib.loads(file.read_text())["tool"]["flyte-build"] == {"file": "main.py"}
    assert file.stat().st_mode & 0o777 == (0o600 if before else 0o644)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("[tool.flyte-build]\n", "has \\[tool.flyte-build\\] already"),
        ("tool = {other = 1}\n", "cannot be added"),
        ("not toml", "cannot be read"),
    ],
)
def test_what_is_refused_is_left_as_it_was(tmp_path: Path, before: str, said: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(before)
    with pytest.raises(InputError, match=said):
        add_table(file, {"file": "main.py"})
    assert file.read_text() == before
