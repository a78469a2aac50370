"""The one line that an error is shown with."""

from __future__ import annotations

import pytest

from flyte_build.submit.action import ErrorInfo


@pytest.mark.parametrize(
    ("code", "message", "line"),
    [
        ("ValueError", "bad 3", "ValueError: bad 3"),
        ("ValueError", "ValueError: bad 3", "ValueError: bad 3"),
        (
            "MissingEnvironment",
            "\n  Environment 'a' not found in image cache.\n\n  Use `depends_on`:\n     env = f(\n         )\n",
            "MissingEnvironment: Environment 'a' not found in image cache.",
        ),
        ("Oops", "", "Oops"),
        ("Oops", " \n ", "Oops"),
        ("KeyError", "Traceback (most recent call last):\n  File x\nKeyError: 'k'\n", "KeyError: 'k'"),
        (
            "ContainerFailed",
            "ended with exit code 1 and left neither outputs nor an error; the end of its log:\n  frame\nOSError: no",
            "ContainerFailed: OSError: no",
        ),
    ],
)
def test_it_is_the_type_and_the_first_line_of_what_is_said(code: str, message: str, line: str) -> None:
    assert ErrorInfo(code, message).headline == line
