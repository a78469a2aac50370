"""Flyte files found by their text: the entry, the root, and what is no Flyte file."""

from __future__ import annotations

import textwrap
from pathlib import Path

from flyte_build.project.survey import survey

LEAF = """
import flyte
env = flyte.TaskEnvironment("leaf", image=flyte.Image.from_debian_base(registry="registry.example/team"))
@env.task
def work(x: int) -> int:
    return x
"""


def put(folder: Path, **files: str) -> Path:
    """Files by name, with ``__`` for a slash."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


def test_one_file(tmp_path: Path) -> None:
    found = survey(put(tmp_path, flow=LEAF, other="import flyte\n"))
    (file,) = found.files
    assert (file.path, file.environments, file.tasks) == (Path("flow.py"), ("leaf",), 1)
    assert (found.entry, found.root, found.registries) == (Path("flow.py"), None, ("registry.example/team",))


def test_the_entry_is_the_file_that_no_other_imports(tmp_path: Path) -> None:
    main = (
        "import flyte\nfrom pkg.leaf import env as leaf\ntop = flyte.TaskEnvironment(name='top', depends_on=[leaf])\n"
    )
    found = survey(put(tmp_path, main=main, pkg__leaf=LEAF))
    assert [f.path.as_posix() for f in found.files] == ["main.py", "pkg/leaf.py"]
    assert found.entry == Path("main.py")


def test_relative_and_neighbours_imports(tmp_path: Path) -> None:
    first = "import flyte\nfrom .leaf import env\ntop = flyte.TaskEnvironment('top', depends_on=[env])\n"
    assert survey(put(tmp_path / "a", pkg__main=first, pkg__leaf=LEAF)).entry == Path("pkg/main.py")
    second = "import flyte\nimport leaf\ntop = flyte.TaskEnvironment('top', depends_on=[leaf.env])\n"
    assert survey(put(tmp_path / "b", app__main=second, app__leaf=LEAF)).entry == Path("app/main.py")


def test_several_tops_have_no_entry_unless_one_runs_itself(tmp_path: Path) -> None:
    assert survey(put(tmp_path, one=LEAF, two=LEAF)).entry is None
    assert survey(put(tmp_path, two=LEAF + "\nif __name__ == '__main__':\n    flyte.run(work, x=1)\n")).entry == Path(
        "two.py"
    )


def test_a_src_layout_has_its_root(tmp_path: Path) -> None:
    found = survey(put(tmp_path, src__pkg__flow=LEAF))
    assert (found.root, found.entry) == (Path("src"), Path("src/pkg/flow.py"))
    (tmp_path / "src" / "__init__.py").touch()
    assert survey(tmp_path).root is None, "a package called src"


def test_what_is_not_the_projects(tmp_path: Path) -> None:
    put(tmp_path, flow=LEAF, venv__lib__flow=LEAF, node_modules__flow=LEAF, **{".hidden__flow": LEAF})
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    put(tmp_path, broken="import flyte\nenv = flyte.TaskEnvironment('x'\n", text="# TaskEnvironment of flyte\n")
    found = survey(tmp_path)
    assert [f.path.name for f in found.files] == ["flow.py"]
    assert found.unread == (Path("broken.py"),)


def test_ci_files(tmp_path: Path) -> None:
    workflows = put(tmp_path, flow=LEAF) / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "test.yml").touch()
    assert survey(tmp_path).ci == (Path(".github/workflows/test.yml"),)
