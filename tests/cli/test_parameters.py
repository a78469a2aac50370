"""Values typed on the command line become what the task is called with, or an error that says what was expected."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from pathlib import Path
from typing import Any, Literal

import click
import pytest
from flyte.io import Dir, File
from pydantic import BaseModel

from flyte_build.cli.parameters import convert, task_options, type_name
from flyte_build.kernel.errors import InputError
from flyte_build.project.loading import Task
from flyte_build.workbench.running import LocalPath


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Model(BaseModel):
    name: str
    points: list[Point] = []


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("AAGG", str, "AAGG"),
        ("7", str, "7"),
        ("7", int, 7),
        ("1e-3", float, 0.001),
        ("yes", bool, True),
        ("red", Colour, Colour.RED),
        ("b", Literal["a", "b"], "b"),
        ("2026-11-20T10:00:00Z", datetime.datetime, datetime.datetime(2026, 11, 20, 10, tzinfo=datetime.UTC)),
        ("PT90S", datetime.timedelta, datetime.timedelta(seconds=90)),
        ("[1, 2]", list[int], [1, 2]),
        ('{"a": [1.5]}', dict[str, list[float]], {"a": [1.5]}),
        ('{"x": 1}', Point, Point(1)),
        ('{"name": "n", "points": [{"x": 2, "y": 1}]}', Model, Model(name="n", points=[Point(2, 1)])),
        ("7", int | None, 7),
        ("none", int | None, None),
        ("7", int | str, 7),
        ("seven", int | str, "seven"),
    ],
)
def test_values(text: str, annotation: Any, value: object) -> None:
    assert convert(text, annotation) == value


@pytest.mark.parametrize(
    ("text", "annotation", "said"),
    [
        ("x", int, "expected INTEGER, found `x`"),
        ("1.5", int, "expected INTEGER, found `1.5`"),
        ("green", Colour, "expected [red|blue], found `green`"),
        ("[1, 'a']", list[int], "expected JSON list[int]"),
        ('[1, "a"]', list[int], "1: Input should be a valid integer"),
        ('{"y": 1}', Point, "x: Field required"),
        ("x", int | None, "expected INTEGER, found `x`"),
        ("/nowhere/to/be/found", File, "expected a file, found `/nowhere/to/be/found`"),
    ],
)
def test_wrong_types_say_what_was_expected(text: str, annotation: Any, said: str) -> None:
    with pytest.raises(InputError) as e:
        convert(text, annotation)
    assert said in e.value.message
    assert e.value.exit_code == 2


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    assert convert(str(tmp_path / "f"), File) == LocalPath(tmp_path / "f", folder=False)
    assert convert(str(tmp_path), Dir) == LocalPath(tmp_path, folder=True)
    assert convert("s3://bucket/x", File).path == "s3://bucket/x"
    with pytest.raises(InputError, match="expected a folder"):
        convert(str(tmp_path / "f"), Dir)


def function(sequence: str, depth: int = 3, deep: bool = False, msa_file: File | None = None) -> None: ...


class Template:
    func = staticmethod(function)


TASK = Task(
    "f", "e.f", "e", "m.py:1", "", {
        "sequence": (str, None), "depth": (int, None), "deep": (bool, None), "msa_file": (File | None, None)
    }, Template(),
)  # fmt: skip


def run(*args: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    command = click.Command("f", params=list(task_options(TASK)), callback=lambda **kw: seen.update(kw))
    command.main(list(args), standalone_mode=False)
    return seen


def test_options_are_made_from_the_signature() -> None:
    assert run("--sequence", "AA") == {"sequence": "AA", "depth": None, "deep": None, "msa_file": None}
    assert run("--sequence", "AA", "--depth", "5", "--deep")["depth"] == 5
    assert run("--sequence", "AA", "--no-deep")["deep"] is False
    assert run("--sequence=AA", "--msa_file", "s3://b/x")["msa_file"].path == "s3://b/x"


def test_a_required_value_is_missed_and_a_wrong_one_named() -> None:
    with pytest.raises(click.MissingParameter, match="sequence"):
        run()
    with pytest.raises(InputError, match=r"^--depth: expected INTEGER, found `many`"):
        run("--sequence", "A", "--depth", "many")


def test_help_names_the_types() -> None:
    assert [type_name(a) for a in (list[str], File, Dir, int | None)] == ["JSON list[str]", "FILE", "FOLDER", "INTEGER"]
