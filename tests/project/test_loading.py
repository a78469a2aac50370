"""Loading a user's file: what is found in it, and what is said when it does not load."""

from __future__ import annotations

import os
import py_compile
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.project.loading import Project, load

PREAMBLE = "import flyte\nimage = flyte.Image.from_debian_base(python_version=(3, 11))\n"


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Project]:
    """Write files (the last one is loaded) and load them."""

    def make(root: Path | None = None, **files: str) -> Project:
        path = tmp_path
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return load(path, root)

    return make


def test_environments_are_found_through_names_tasks_and_depends_on(project: Callable[..., Project]) -> None:
    made = project(
        low=PREAMBLE + 'low = flyte.TaskEnvironment("low", image=image)\n',
        mid=PREAMBLE
        + """
import low
mid = flyte.TaskEnvironment("mid", image=image, depends_on=[low.low])
@mid.task(max_inline_io_bytes=99_000_000)
def work(x: int) -> int:
    '''Work hard.'''
    return x
""",
        top="from mid import work\n",
    )
    assert list(made.environments) == ["mid", "low"], "by the task that is imported, and by depends_on"
    assert made.environments["mid"].depends_on == ("low",)
    assert made.environments["mid"].location == "mid.py"
    task = made.task("work")
    assert (task.full_name, task.environment, task.doc) == ("mid.work", "mid", "Work hard.")
    assert task.location.startswith("mid.py:")
    assert task.inline == 99_000_000


def test_an_image_that_is_refused_does_not_stop_the_other_environments(project: Callable[..., Project]) -> None:
    made = project(
        refused_one=PREAMBLE
        + 'a = flyte.TaskEnvironment("a", image=image)\n'
        + 'b = flyte.TaskEnvironment("b", image=image.with_pip_packages("x", extra_args="--no-deps"))\n'
    )
    assert made.environments["a"].recipe.python == "3.11"
    with pytest.raises(RefusedError, match="environment b: PipPackages: the pip arguments"):
        _ = made.environments["b"].recipe


def test_a_file_that_does_not_import_shows_the_users_own_frames(project: Callable[..., Project]) -> None:
    with pytest.raises(LoadError) as e:
        project(helper_x="def go():\n    return 1 / 0\n", broken="import helper_x\nhelper_x.go()\n")
    assert e.value.exit_code == 3
    assert "helper_x.py:2" in e.value.message
    assert e.value.message.endswith("does not import: ZeroDivisionError: division by zero")
    assert e.value.detail is not None
    assert "broken.py" in e.value.detail
    assert "importlib" not in e.value.detail
    assert "flyte_build" not in e.value.detail


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (
            "import nowhere_to_be_found\n",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
            "inside the task",
        ),
        ("def (:\n", "SyntaxError", None),
        ("from . import x\n", "ImportError", "--root"),
        ("raise SystemExit(3)\n", "SystemExit: 3", None),
    ],
)
def test_why_a_file_does_not_import(project: Callable[..., Project], text: str, said: str, hint: str | None) -> None:
    with pytest.raises(LoadError) as e:
        project(reason=text)
    assert said in e.value.message
    assert "reason.py" in e.value.message
    assert (hint in (e.value.hint or "")) if hint else e.value.hint is None


def test_bytecode_that_only_looks_current_is_not_run(project: Callable[..., Project], tmp_path: Path) -> None:
    """Same size, same second: Python itself would run what was there before."""
    text = PREAMBLE + 'e = flyte.TaskEnvironment("one", image=image)\n'
    assert list(project(twice=text).environments) == ["one"]
    source = tmp_path / "twice.py"
    before = source.stat()
    py_compile.compile(str(source), doraise=True)
    source.write_text(text.replace("one", "two"))
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    del sys.modules["twice"]
    assert list(load(source).environments) == ["two"]


def test_nothing_is_written_beside_the_users_sources(project: Callable[..., Project], tmp_path: Path) -> None:
    project(low="X = 1\n", high="import low\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["high.py", "low.py"]


def test_a_path_that_is_no_python_file(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="does not exist"):
        load(tmp_path / "no.py")
    with pytest.raises(LoadError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(LoadError, match=r"expected a \.py file"):
        load(tmp_path / "x.txt")
    (tmp_path / "not.a.module.py").write_text("")
    with pytest.raises(LoadError, match=r"`not\.a\.module` is not a module name"):
        load(tmp_path / "not.a.module.py")


def test_a_file_whose_name_is_no_identifier_loads_as_flyte_loads_it(tmp_path: Path) -> None:
    (tmp_path / "01-basic.py").write_text(PREAMBLE + 'e = flyte.TaskEnvironment("e", image=image)\n')
    assert list(load(tmp_path / "01-basic.py").environments) == ["e"]


def test_a_file_named_like_a_loaded_module_is_not_mistaken_for_it(project: Callable[..., Project]) -> None:
    with pytest.raises(LoadError, match="the module name `pytest` is taken by"):
        project(pytest="")


TWO = (
    PREAMBLE
    + """
a = flyte.TaskEnvironment("a", image=image)
b = flyte.TaskEnvironment("b", image=image)
@a.task
def same() -> int:
    return 1
def make():
    @b.task
    def same() -> int:
        return 2
make()
"""
)


def test_no_such_task_lists_those_there_are(project: Callable[..., Project]) -> None:
    made = project(
        one_task=PREAMBLE + 'e = flyte.TaskEnvironment("e", image=image)\n@e.task\ndef main() -> int:\n    return 1\n'
    )
    with pytest.raises(LoadError, match=r"no task `mian`; there are: main") as e:
        made.task("mian")
    assert e.value.hint == "did you mean `main`?"


def test_a_function_without_environment_is_no_task(project: Callable[..., Project]) -> None:
    made = project(plain="def main() -> int:\n    return 1\n")
    with pytest.raises(LoadError, match="no task `main`; there are: none") as e:
        made.task("main")
    assert "@env.task" in (e.value.hint or "")


def test_several_tasks_with_one_name_need_their_environment(project: Callable[..., Project]) -> None:
    made = project(two_tasks=TWO)
    with pytest.raises(LoadError, match="2 tasks are called `same`") as e:
        made.task("same")
    assert "two_tasks.py:" in e.value.message
    assert made.task("b.same").environment == "b"


def test_two_environments_with_one_name_name_both_places(project: Callable[..., Project]) -> None:
    with pytest.raises(LoadError, match=r"called `twin`: one made in (left|right).py, one in (left|right).py"):
        project(
            left='import flyte\nx = flyte.TaskEnvironment("twin")\n',
            right='import flyte\nx = flyte.TaskEnvironment("twin")\n',
            both="from left import x\nfrom right import x as y\n",
        )


def test_environments_in_lists_and_dictionaries_at_the_top_level_count(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(
        "import flyte\n"
        'several = [flyte.TaskEnvironment("a"), flyte.TaskEnvironment("b")]\n'
        'named = {"c": flyte.TaskEnvironment("c")}\n'
    )
    assert load(tmp_path / "flow.py").environments.keys() == {"a", "b", "c"}


def test_a_file_that_asks_for_a_backend_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text('import flyte\nenv = flyte.TaskEnvironment("a")\nflyte.current_domain()\n')
    with pytest.raises(LoadError, match="InitializationError") as e:
        load(tmp_path / "flow.py")
    assert '`if __name__ == "__main__":`' in str(e.value.hint)
