"""Hints are commands that can be pasted: they name the file that the failed command named."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.cli.hints import pointed
from tests.support.offline import Offline


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("run `flyte-build lock` again", "run `flyte-build lock a/flow.py` again"),
        ("`flyte-build lock --upgrade-package x` has it", "`flyte-build lock --upgrade-package x a/flow.py` has it"),
        ("run `flyte-build verify`, or `flyte-build build --locked`",
         "run `flyte-build verify a/flow.py`, or `flyte-build build --locked a/flow.py`"),
        ("run `flyte-build lock main.py`", "run `flyte-build lock main.py`"),
        ("run `flyte-build lock --upgrade main.py`", "run `flyte-build lock --upgrade main.py`"),
        ("`flyte-build build FILE -o oci:DIR` makes one", "`flyte-build build FILE -o oci:DIR` makes one"),
        ("run `flyte-build store verify`", "run `flyte-build store verify`"),
    ],
)  # fmt: skip
def test_a_command_without_a_file_gets_the_one_that_was_typed(hint: str, told: str) -> None:
    assert pointed(hint, Path("a/flow.py")) == told
    assert pointed(hint, Path("oci")) == hint


def test_a_hint_can_be_pasted(offline: Offline) -> None:
    offline.locked()
    (offline.lockfiles / "low.json").write_text("{}")
    said = offline.refused(4, "plan", "flow.py")
    assert "or run `flyte-build lock flow.py` again" in " ".join(said.split())
    (offline.project / "pyproject.toml").write_text('[tool.flyte-build]\nfile = "flow.py"\n')
    assert "or run `flyte-build lock` again" in " ".join(offline.refused(4, "plan").split())
