"""What a run is given besides the task: the logging that its submitter wants."""

from __future__ import annotations

import pytest

from flyte_build.workbench.running import log_settings


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
