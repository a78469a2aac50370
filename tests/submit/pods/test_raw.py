"""Container tasks: real ones in an image without a Python, and their values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.core import types_pb2

from flyte_build.submit.action import Phase
from flyte_build.submit.pods.raw_files import rendered
from flyte_build.submit.pods.raw_values import NotText, json_of, literal_of, text_of
from flyte_build.submit.run import RunResult
from flyte_build.submit.sandbox.spec import Engine
from tests.submit.conftest import Runs

from .test_runs import tools

SIMPLE = types_pb2.SimpleType


@pytest.fixture
def run(runs: Runs) -> Callable[..., RunResult]:
    runs.images["containers"] = tools(runs.folder)

    def run(task: str, **options: Any) -> RunResult:
        return runs.run(runs.action("containers", task), task, **options)

    return run


@pytest.mark.integration
def test_inputs_are_files_and_files_are_outputs(
    run: Callable[..., RunResult], outputs: Callable[[RunResult], Any], engine: Engine
) -> None:
    ended = run("main", engine=engine)
    assert ended.phase is Phase.SUCCEEDED, ended.error
    said, number, flag, wait, document, part = outputs(ended)
    assert said == "so-7 true so 7 true 90s\n"
    assert (number, flag, wait) == ("8", "True", "0:01:30")
    assert part == "a part"
    line, given = document.split("\n", 1)
    assert line == "a document"
    assert json.loads(given) == {
        "word": "so",
        "number": 7,
        "flag": True,
        "wait": "90s",
        "document": "/var/inputs/document",
        "folder": "/var/inputs/folder",
    }


@pytest.mark.integration
@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("no_output", "it left no /var/outputs/o, which is its output o"),
        ("bad_output", "/var/outputs/o, its output o: expected integer, found 'many'"),
        ("fails", "ended with exit code 3 and left neither outputs nor an error; the end of its log:\nno such luck"),
    ],
)
def test_what_a_container_does_not_do_is_said(run: Callable[..., RunResult], task: str, says: str) -> None:
    ended = run(task)
    assert ended.phase is Phase.FAILED
    (own,) = [a for a in ended.actions if a.environment == "containers"]
    assert own.error is not None
    assert says in own.error.message


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("5\n", SIMPLE.INTEGER, 5),
        ("1e3", SIMPLE.FLOAT, 1000.0),
        ("hi\n", SIMPLE.STRING, "hi\n"),
        ("True", SIMPLE.BOOLEAN, True),
        ("0", SIMPLE.BOOLEAN, False),
        ("2026-01-02T03:04:05Z", SIMPLE.DATETIME, "2026-01-02T03:04:05Z"),
        ("1.5s", SIMPLE.DURATION, "1.500s"),
    ],
)
def test_a_files_text_is_a_value(text: str, kind: Any, value: object) -> None:
    assert json_of(literal_of(text, types_pb2.LiteralType(simple=kind))) == value


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("many", SIMPLE.INTEGER),
        ("", SIMPLE.FLOAT),
        ("yes", SIMPLE.BOOLEAN),
        ("yesterday", SIMPLE.DATETIME),
        ("9" * 30, SIMPLE.INTEGER),
    ],
)
def test_a_text_that_is_no_value_is_refused(text: str, kind: Any) -> None:
    with pytest.raises(NotText, match=f"expected {SIMPLE.Name(kind).lower()}, found"):
        literal_of(text, types_pb2.LiteralType(simple=kind))


def test_arguments_name_inputs() -> None:
    argv = ("a", "{{.inputs.x}}-{{ .inputs.y }}", "{{.inputs.gone}}", "{{.outputPrefix}}")
    assert rendered(argv, {"x": True, "y": [1, 2.5]}) == ("a", "true-[1,2.5]", "{{.inputs.gone}}", "{{.outputPrefix}}")
    assert text_of({"a": None}) == "{a:}"


def test_an_image_of_a_container_task_may_lack_what_others_need(tmp_path: Path) -> None:
    assert tools(tmp_path).python == ""
