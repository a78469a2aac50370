"""What is advised where nothing fits: by what the resolver says, in the words of the image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.locking.pypi.advice import advice
from flyte_build.locking.pypi.question import Question
from flyte_build.locking.wheels import Target, best
from flyte_build.sources.indexes import IndexFile, IndexSettings


def question(platform: str = "linux/arm64") -> Question:
    return Question(Target(platform, "3.11", "3.11.2", (2, 36)), ("x",), IndexSettings(()))  # type: ignore[arg-type]


OTHER_MACHINE = """
  cause: Because all versions of mkl have no wheels with a matching platform tag (e.g., `manylinux_2_36_aarch64`) and
  hint: Wheels are available for `mkl` (v2026.2.0) on the following platforms: `manylinux_2_28_x86_64`, `win_amd64`
"""
OTHER_SYSTEM = """
  cause: Because pywin32>=303 has no wheels with a matching platform tag (e.g., `manylinux_2_36_x86_64`) and you require
  hint: Wheels are available for `pywin32` (v312) on the following platforms: `win32`, `win_amd64`, `win_arm64`
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (OTHER_MACHINE, ["mkl has wheels for manylinux_2_28_x86_64, win_amd64", 'platform=("linux/amd64",)']),
        (OTHER_SYSTEM, ["pywin32 has wheels for win32, win_amd64, win_arm64", "`pywin32; sys_platform != 'linux'`"]),
        ("Because nosuch was not found in the package registry and", ["nosuch is on no index", "misspelt"]),
        ("Because gamma==2 has no wheels with a matching Python ABI tag", ["gamma has no wheel for linux/arm64"]),
        ("ERROR: No matching distribution found for some.thing>=3", ["some.thing has no wheel for", "misspelt"]),
        ("Because all versions of gamma depend on alpha<1", ["ask for versions that agree"]),
    ],
)  # fmt: skip
def test_advice_is_of_what_was_said(words: str, said: list[str]) -> None:
    hint = advice(question(), words)
    assert [s for s in said if s not in hint] == []
    assert ("misspelt" in hint) is ("misspelt" in said), "only of a name that is not found"


def test_a_cut_off_may_be_why_there_is_none() -> None:
    asked = replace(question(), cutoff="2026-01-01T00:00:00Z")
    assert "try a later cut-off" in advice(asked, "ERROR: No matching distribution found for some.thing>=3")


def test_wheels_of_another_platform_name_it(tmp_path: Path) -> None:
    from flyte_build.kernel.errors import ResolutionError

    files = [IndexFile("mkl-1-py3-none-manylinux_2_28_x86_64.whl", "u"), IndexFile("mkl-1-py3-none-win_amd64.whl", "u")]
    with pytest.raises(ResolutionError) as caught:
        best("mkl", "1", files, question().target)
    assert 'platform=("linux/amd64",)' in str(caught.value.hint)
