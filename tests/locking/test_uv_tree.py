"""A version where only a build backend knows one."""

from __future__ import annotations

import tomllib

import pytest

from flyte_build.locking.pypi.uv_tree import with_version


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "a"\ndynamic = ["version"]\n',
        '[build-system]\nrequires = []\n[project]  # ours\ndynamic = [\n  "version", # by a tag\n  "readme",\n]\n'
        'dependencies = ["x[y]"]\n\n[tool.other]\ndynamic = ["version"]\n',
    ],
)
def test_it_is_said_and_nothing_else_changes(text: str) -> None:
    before, made = tomllib.loads(text), with_version(text.encode())
    assert made is not None
    after = tomllib.loads(made.decode())
    assert after["project"].pop("version") == "0"
    assert "version" not in after["project"].pop("dynamic")
    del before["project"]["dynamic"]
    assert after == before


@pytest.mark.parametrize(
    "text", ['project = { name = "a", dynamic = ["version"] }\n', '[project]\nname = "a"\n"dynamic" = ["version"]\n']
)
def test_what_is_written_otherwise_is_left(text: str) -> None:
    assert with_version(text.encode()) is None
