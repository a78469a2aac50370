"""Bad input: the user's file, its tasks, and what is typed. Nothing is asked of the network for any of it."""

from __future__ import annotations

import pytest

from ..support.offline import Offline, workflow

IMAGE = "import flyte\nimage = flyte.Image.from_debian_base(python_version=(3, 11))\n"
TASK = "@env.task\ndef main(x: int) -> int:\n    return x\n"


def env(image: str) -> str:
    return f'{IMAGE}import pathlib\nenv = flyte.TaskEnvironment("e", image={image})\n{TASK}'


@pytest.fixture(autouse=True)
def _nothing_happens(offline: Offline) -> object:
    """Whatever is wrong here, no lock and no store comes of it, and no server is asked."""
    yield
    assert not offline.lockfiles.exists()
    assert not offline.index.asked
    assert not offline.archive.requests


@pytest.mark.parametrize(
    ("text", "first", "frames"),
    [
        ("import flyte\nx = = 3\n", "bad.py:2: bad.py does not import: SyntaxError: invalid syntax", ["    x = = 3"]),
        (
            "import helper\n",
            "helper.py:2: bad.py does not import: ValueError: boom",
            ['File "bad.py", line 1, in <module>', 'File "helper.py", line 2, in boom'],
        ),
        ("import sys\nsys.exit(3)\n", "bad.py:2: bad.py does not import: SystemExit: 3", ['File "bad.py", line 2']),
        (
            "import flyte\n\n1 / 0\n",
            "bad.py:3: bad.py does not import: ZeroDivisionError: division by zero",
            ["1 / 0"],
        ),
    ],
)
def test_a_file_that_does_not_import(offline: Offline, text: str, first: str, frames: list[str]) -> None:
    offline.write("def boom():\n    raise ValueError('boom')\nboom()\n", "helper.py")
    offline.write(text, "bad.py")
    for command in ("lock", "plan", "build", "run"):
        said = offline.refused(3, command, "bad.py")
        assert f"error: {first}" in said
        for frame in frames:
            assert frame in said
        assert "importlib" not in said, "only the user's own frames"
        assert len(said.splitlines()) < 15


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent.py", "absent.py: does not exist; expected a Python file that defines tasks"),
        (".", ".: is a folder; expected a Python file that defines tasks"),
        ("notes.txt", "notes.txt: expected a .py file"),
        ("my.flow.py", "my.flow.py: `my.flow` is not a module name, so tasks could not import it"),
    ],
)
def test_no_such_file(offline: Offline, name: str, said: str) -> None:
    if name in ("notes.txt", "my.flow.py"):
        offline.write("", name)
    assert f"error: {said}\n" in offline.refused(3, "plan", name)


def test_a_file_that_is_nearly_called_so(offline: Offline) -> None:
    assert "hint: did you mean `flow.py`?\n" in offline.refused(3, "plan", "flwo.py")
    said = offline.refused(3, "plan", ".")
    assert "hint: name a file in it: flow.py; `flyte-build init .` finds those of Flyte\n" in said


def test_a_file_without_environments_or_tasks(offline: Offline) -> None:
    offline.write("import flyte\n", "empty.py")
    said = offline.refused(3, "plan", "empty.py")
    assert "error: empty.py: no environment in this file\n" in said
    assert "hint: an environment is a `flyte.TaskEnvironment(name=…)` at the top level of the file\n" in said
    said = offline.refused(3, "run", "empty.py")
    assert "error: empty.py: no task in this file\n" in said
    assert "hint: a task is a function decorated with `@env.task`" in said


def test_no_such_task_or_environment(offline: Offline) -> None:
    said = offline.refused(3, "plan", "flow.py", "mian")
    assert said == "error: flow.py: no task `mian`; there are: do_low, main\nhint: did you mean `main`?\n"
    for command in ("lock", "plan", "build"):
        said = offline.refused(3, command, "flow.py", "--env", "lo")
        assert said == "error: flow.py: no environment `lo`; there are: low, top\n"


def test_several_tasks_with_one_name(offline: Offline) -> None:
    more = "\n@low.task\ndef main(x: int) -> int:\n    return -x\n"
    offline.write(workflow("low: alpha", "top(low):") + more)
    said = offline.refused(3, "plan", "flow.py", "main")
    assert "error: flow.py: 2 tasks are called `main`: low.main (flow.py:15), top.main (flow.py:9)\n" in said
    assert "hint: name it with its environment: `low.main`\n" in said
    assert "no lock (lockfiles/top.json)" in offline.refused(4, "plan", "flow.py", "top.main"), "that finds it"


def test_two_environments_of_one_name(offline: Offline) -> None:
    offline.write(IMAGE + "a = flyte.TaskEnvironment('e', image=image)\nb = flyte.TaskEnvironment('e', image=image)\n")
    said = offline.refused(3, "plan", "flow.py")
    assert "error: two environments are called `e`: one made in flow.py, one in flow.py\n" in said
    assert "hint: an environment's name is its identity; rename one of them\n" in said


def test_a_task_without_an_environment(offline: Offline) -> None:
    offline.write("import flyte\n\n@flyte.task\ndef main(x: int) -> int:\n    return x\n", "bad.py")
    said = offline.refused(3, "run", "bad.py", "main", "--x", "1")
    assert "error: bad.py:3: bad.py does not import: AttributeError: module 'flyte' has no attribute 'task'" in said
    offline.write("import flyte\n\ndef main(x: int) -> int:\n    return x\n", "plain.py")
    said = offline.refused(3, "run", "plain.py", "main", "--x", "1")
    assert "error: plain.py: no task `main`; there are: none\n" in said
    assert "hint: a task is a function decorated with `@env.task`, where `env` is a `flyte.TaskEnvironment`" in said


@pytest.mark.parametrize(
    ("image", "said", "way_out"),
    [
        ("flyte.Image.from_ref_name('mine')", "`from_ref_name('mine')` names an image", "from_debian_base"),
        (
            "flyte.Image.from_dockerfile(pathlib.Path('Dockerfile'), registry='r', name='n')",
            "Dockerfile:2: `USER a b`: expected a user's name or number",
            "from_base",
        ),
    ],
)
def test_an_unsupported_layer_is_named_with_the_way_out(offline: Offline, image: str, said: str, way_out: str) -> None:
    (offline.project / "Dockerfile").write_text("FROM x\nUSER a b\n")
    offline.write(env(image))
    for command in ("lock", "plan", "build"):
        message = offline.refused(7, command, "flow.py")
        assert "error: environment e: " in message
        assert said in message
        assert way_out in message.partition("hint: ")[2]


def test_a_requirement_that_is_none(offline: Offline) -> None:
    offline.write(env("image.with_pip_packages('alpha=>1')"))
    said = offline.refused(3, "lock", "flow.py")
    assert "environment e: with_pip_packages: `alpha=>1` is not a requirement" in said
    assert "hint: write it as PEP 508 does" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--x", "one"], "--x: expected INTEGER, found `one`\n"),
        (["--x", "1.5"], "--x: expected INTEGER, found `1.5`\n"),
        (["--x"], "option '--x' requires an argument\n"),
        ([], "missing option '--x'\n"),
        (["--x", "1", "--words", "[1,"], "--words: expected JSON list[str], found `[1,`: Invalid JSON: EOF"),
        (
            ["--x", "1", "--words", "[1]"],
            "--words: expected JSON list[str], found `[1]`: 0: Input should be a valid str",
        ),
        (["--y", "1"], "no such option '--y'. Did you mean '--x'?\n"),
        (["--x", "1", "more"], "got unexpected extra argument (more)\n"),
    ],
)
def test_wrong_argument_types(offline: Offline, arguments: list[str], said: str) -> None:
    message = offline.refused(2, "run", "flow.py", "main", *arguments)
    assert f"error: {said}" in message


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plam"], "no command `plam`; did you mean `plan`?"),
        (["plan"], "no FILE was named"),
        (["run"], "no FILE was named"),
        (["plan", "flow.py", "--layer"], "no such option '--layer'. Did you mean '--layers'?"),
        (["build", "flow.py", "-o", "docker:x"], "expected a destination like oci:DIR | oci-archive:FILE"),
        (["build", "flow.py", "--jobs", "0"], "invalid value for '--jobs' / '-j': 0 is not in the range x>=1"),
        (
            ["lock", "flow.py", "--exclude-newer", "yesterday"],
            "cut-off date: expected YYYY-MM-DD, an instant such as",
        ),
        (["completion", "tcsh"], "invalid value for '{bash|zsh|fish}': 'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (["run", "flow.py"], "no task was named"),
    ],
)
def test_wrong_usage(offline: Offline, arguments: list[str], said: str) -> None:
    message = offline.refused(2, *arguments)
    assert f"error: {said}" in message
    if "yesterday" not in arguments and "docker:x" not in arguments:
        shows = "as in `flyte-build plan main.py`" if "no FILE" in said else "--help` shows what it takes"
        assert shows in message


@pytest.mark.parametrize("command", [["logs", "r1"], ["run", "--resume", "r1"]])
def test_no_such_run(offline: Offline, command: list[str]) -> None:
    said = offline.refused(12, *command)
    assert "error: no run `r1` in " in said
    assert "hint: `flyte-build runs --all` lists them\n" in said
