"""Where imports start when nobody says: the layouts that public projects have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.project.layout import Layout, layout_of, starting
from flyte_build.project.loading import load
from flyte_build.project.serializing import root_action

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Files by path, each with its text; the first is the user's."""

    def make(files: dict[str, str], *, project: bool = True) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        if project:
            (tmp_path / "pyproject.toml").touch()
        return tmp_path / next(iter(files))

    return make


LAYOUTS = [
    ("alone", {"a/main.py": "import os, numpy\n"}, "a", []),
    ("beside", {"a/main.py": "import helper\n", "a/helper.py": ""}, "a", []),
    ("a package beside", {"a/main.py": "from lib.x import y\n", "a/lib/__init__.py": "", "a/lib/x.py": ""}, "a", []),
    ("src beside", {"main.py": "from app.x import y\n", "src/app/__init__.py": "", "src/app/x.py": ""}, ".", ["src"]),
    (
        "in src",
        {"src/app/main.py": "from app.x import y\n", "src/app/__init__.py": "", "src/app/x.py": ""},
        "src",
        [],
    ),
    (
        "in src, and beside",
        {"src/app/main.py": "import x\nfrom app.x import y\n", "src/app/__init__.py": "", "src/app/x.py": ""},
        "src",
        ["src/app"],
    ),
    ("from the project", {"flows/main.py": "from lib import y\n", "lib/__init__.py": ""}, ".", []),
    (
        "from the project's src",
        {"flows/main.py": "import tool\nfrom lib import y\n", "flows/tool.py": "", "src/lib/__init__.py": ""},
        ".",
        ["flows", "src"],
    ),
    (
        "through a module of the project's",
        {"flows/main.py": "import lib\n", "lib/__init__.py": "import common.z\n", "common/z.py": ""},
        ".",
        [],
    ),
    ("relative", {"pkg/main.py": "from .x import y\n", "pkg/__init__.py": "", "pkg/x.py": ""}, ".", []),
    (
        "relative, two up",
        {"src/app/jobs/main.py": "from ..x import y\n", "src/app/x.py": "", "src/app/__init__.py": ""},
        "src",
        [],
    ),
    ("a folder that is no package", {"flows/main.py": "from docs import x\n", "docs/conf.py": ""}, "flows", []),
    ("a library's name", {"flows/main.py": "import pytest\n", "pytest/__init__.py": ""}, "flows", []),
    ("a library's below a file", {"mcp/server.py": "from mcp.server.fast import X\n"}, "mcp", []),
    ("the SDK's own", {"flows/main.py": "import flyte\n", "src/flyte/__init__.py": ""}, "flows", []),
    ("one that does not parse", {"flows/main.py": "def (\n", "lib.py": ""}, "flows", []),
]


@pytest.mark.parametrize(("files", "root", "search"), [x[1:] for x in LAYOUTS], ids=[x[0] for x in LAYOUTS])
def test_the_root_holds_all_that_is_imported(
    write: Write, tmp_path: Path, files: dict[str, str], root: str, search: list[str]
) -> None:
    file = write(files)
    assert layout_of(file) == Layout(tmp_path / root, tuple(tmp_path / s for s in search))


def test_a_file_that_hides_a_library_is_said_where_the_root_is_said(write: Write, tmp_path: Path) -> None:
    file = write({"mcp/server.py": "import flyte\nfrom mcp.server.fast import X\nenv = flyte.TaskEnvironment('e')\n"})
    assert list(load(file, layout_of(file).root, stand_ins=True).environments) == ["e"]
    with pytest.raises(LoadError, match=r"No module named 'mcp\.server\.fast'") as e:
        load(file, tmp_path, stand_ins=True)
    assert "hides the library's: give its folder as --root" in str(e.value.hint)


def test_the_current_folder_is_the_project_where_nothing_marks_one(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write({"flows/main.py": "import lib\n", "lib.py": ""}, project=False)
    monkeypatch.chdir(tmp_path / "flows")
    assert layout_of(file) == Layout(tmp_path / "flows")
    monkeypatch.chdir(tmp_path)
    assert layout_of(file) == Layout(tmp_path)


def test_what_is_said_is_the_root(write: Write, tmp_path: Path) -> None:
    file = write({"a/b/main.py": "import lib, x\n", "a/lib.py": "", "a/b/x.py": ""})
    assert starting(file, tmp_path / "a") == Layout(tmp_path / "a", (tmp_path / "a" / "b",))
    (tmp_path / "pyproject.toml").write_text('[tool.flyte-build]\nroot = "a/b"\n')
    assert starting(file) == Layout(tmp_path / "a" / "b")
    assert starting(file, tmp_path / "elsewhere") == Layout(tmp_path / "elsewhere")


def test_a_project_with_src_loads_and_its_run_finds_it(write: Write, tmp_path: Path) -> None:
    file = write(
        {
            "flows/main.py": "import flyte\nfrom lib.x import y\nimport tool\nenv = flyte.TaskEnvironment('e')\n"
            "@env.task\ndef go() -> int:\n    return y\n",
            "flows/tool.py": "",
            "src/lib/__init__.py": "",
            "src/lib/x.py": "y = 3\n",
        }
    )
    layout = layout_of(file)
    project = load(file, layout.root, search=layout.search)
    assert project.root == tmp_path
    made = root_action(project, project.task("go"), {}, tmp_path / "bundles")
    assert made.paths == ("flows", "src")
    assert made.env == {"_F_SYS_PATH": "./flows:./src"}
    assert b"flows.main" in made.task_spec
