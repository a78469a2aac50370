"""The generator is the same everywhere, the driver finds what is Flyte's, and every outcome has one kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flyte_build.project.layout import starting
from flyte_build.project.loading import load

from .drive import _SAID, Outcome, flyte_files, kind_of, table, try_file
from .generate import generate, shares
from .shapes import SHAPES, Shape


def test_there_is_one_of_each_shape_and_most_of_the_most_frequent() -> None:
    counts = shares(100)
    assert min(counts.values()) == 1
    assert counts["default image"] == max(counts.values())
    assert len({s.name for s in SHAPES}) == len(SHAPES)


def test_a_corpus_is_found_again_and_is_the_same_every_time(tmp_path: Path) -> None:
    made = [generate(tmp_path / name, 1) for name in ("one", "two")]
    assert [p.relative_to(tmp_path / "one") for p in made[0]] == [p.relative_to(tmp_path / "two") for p in made[1]]
    assert [p.read_bytes() for p in made[0]] == [p.read_bytes() for p in made[1]]
    assert flyte_files(tmp_path / "one") == sorted(made[0])
    with pytest.raises(FileExistsError):
        generate(tmp_path / "one", 1)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: s.name)
def test_every_shape_is_read_without_what_it_imports(
    shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (file,) = generate(tmp_path / "c", 1, (shape,))
    layout = starting(file)
    try:
        project = load(file, layout.root, search=layout.search, stand_ins=True)
    finally:
        for name in set(sys.modules) - modules:
            if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
                del sys.modules[name]
    assert project.environments
    for environment in project.environments.values():
        assert environment.recipe


@pytest.mark.parametrize(
    ("code", "said", "kind"),
    [
        (0, "", "ok"),
        (None, "", "hang"),
        (-11, "", "our fault"),
        (1, "Traceback", "our fault"),
        (3, "error: x: no environment in this file", "no environment"),
        (
            3,
            "hint: fastapi is not installed here and stood in for, which may be why: install fastapi",
            "something to install here",
        ),
        (3, "error: main.py does not import: NameError", "does not load"),
        (5, "error: two requirements disagree", "no solution"),
        (7, "error: environment e: `from_dockerfile(Dockerfile)` runs commands", "a Dockerfile"),
        (7, "error: unknown platform", "refused"),
        (10, "error: a calls b, but a does not depend on b", "missing depends_on"),
        (10, "error: e imports x: image lacks it", "missing import"),
        (99, "", "our fault"),
    ],
)
def test_an_outcome_has_one_kind(code: int | None, said: str, kind: str) -> None:
    assert kind_of(code, said) == kind


PROGRAM = """
import sys, time
stage, file = sys.argv[1], sys.argv[2]
if "slow" in file:
    time.sleep(600)
if "late" in file and "--check" in sys.argv:
    print("error: f.py:3: e imports nope: image lacks it", file=sys.stderr)
    sys.exit(10)
"""


@pytest.mark.parametrize(
    ("name", "stage", "kind"), [("well", "check", "ok"), ("late", "check", "missing import"), ("slow", "lock", "hang")]
)
def test_a_file_ends_with_the_first_stage_that_is_not_well(tmp_path: Path, name: str, stage: str, kind: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    file = tmp_path / f"{name}.py"
    file.write_text("import flyte\n")
    timeout = 0.5 if name == "slow" else 60.0
    found = try_file(file, tmp_path, timeout=timeout, command=(sys.executable, str(tmp_path / "program.py")))
    assert (found.file, found.stage, found.kind) == (f"{name}.py", stage, kind)
    assert found.message == ("f.py:3: e imports nope: image lacks it" if name == "late" else "")


def test_what_is_no_flyte_file_is_left_out(tmp_path: Path) -> None:
    for name, text in {
        "a.py": "import flyte\nenv = flyte.TaskEnvironment('e')\n",
        "b.py": "from flyte import TaskEnvironment\nenv = TaskEnvironment('e')\n",
        "c.py": "import flytekit\n",
        "d.py": "import flyte\nprint(flyte.__version__)\n",
        "e.py": "import flyte\ndef (\n",
        ".venv/f.py": "import flyte\nenv = flyte.TaskEnvironment('e')\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [p.name for p in flyte_files(tmp_path)] == ["a.py", "b.py"]


def test_the_table_has_the_well_ones_first_and_what_was_said() -> None:
    outcomes = [
        Outcome("a.py", "check", "ok", "", 1.0),
        *(Outcome(f"{n}.py", "lock", "refused", "a | b", 1.0) for n in range(3)),
    ]
    assert table(outcomes).splitlines()[2:] == [
        "| ok | 1 | 25.0 % | – | – |",
        "| refused | 3 | 75.0 % | lock | a / b |",
    ]


def test_the_page_has_every_shape_and_every_outcome() -> None:
    page = (Path(__file__).parents[2] / "docs" / "adoption.md").read_text()
    for shape in SHAPES:
        assert f"| {shape.name} | {shape.weight} | {shape.needs} | {shape.expected} |\n" in page
    for kind in {kind for _, _, kind in _SAID} | {"ok", "hang", "our fault", "no solution", "unreachable", "refused"}:
        assert kind in page
