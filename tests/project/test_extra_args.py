"""What a user wrote into ``extra_args`` is words, or an error in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.project.extra_args import words_of


def test_words_are_a_shells() -> None:
    assert words_of(SimpleNamespace(extra_args=None), "env") == []
    assert words_of(SimpleNamespace(extra_args="--group 'a b' -q"), "env") == ["--group", "a b", "-q"]


def test_a_quotation_without_an_end_is_the_users_to_mend() -> None:
    with pytest.raises(LoadError, match=r"env: extra_args `--x 'y`: expected words .*, found: No closing quotation"):
        words_of(SimpleNamespace(extra_args="--x 'y"), "env")
