"""What a run is given besides the task: the logging that its submitter wants."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flyte_build.workbench.running import log_settings, strange_names


@pytest.mark.parametrize(
    ("environ", "settings"),
    [
        ({}, {"LOG_LEVEL": "ERROR"}),
        ({"LOG_LEVEL": "", "PATH": "/bin"}, {"LOG_LEVEL": "ERROR"}),
        ({"LOG_LEVEL": "10"}, {"LOG_LEVEL": "10"}),
        (
            {"USER_LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"},
            {"LOG_LEVEL": "ERROR", "USER_LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"},
        ),
    ],
)
def test_logs_hold_what_tasks_say_unless_more_is_asked_for(environ: dict[str, str], settings: dict[str, str]) -> None:
    assert log_settings(environ) == settings


def test_a_name_that_no_environment_has_is_told_with_those_that_exist_the_nearest_first() -> None:
    bench: Any = SimpleNamespace(environments={"train": None, "profiling_env": None, "fold": None})
    (line,) = strange_names("unfiltered", ("fold", "profilng_env", "profilng_env"), bench)
    begins = "the setting `unfiltered`: no environment is called `profilng_env`; there are: profiling_env, "
    assert line.startswith(begins)
    assert sorted(line.removeprefix(begins).split(", ")) == ["fold", "train"]
    assert strange_names("unfiltered", ("fold", "train"), bench) == []
