"""Constraint 1 as Flyte has it: the table of images is the root's, and some images need none."""

from __future__ import annotations

from flyte_build.planning.checks import check
from flyte_build.planning.checks.unlisted import called_unlisted
from flyte_build.project.loading import load

from .conftest import IMAGE, Loaded, Make

THREE = """
import flyte
image = flyte.Image.from_debian_base(python_version=(3, 11))
inner = flyte.TaskEnvironment("inner", image=image.with_pip_packages("toolz"))
middle = flyte.TaskEnvironment("middle", image=image.with_pip_packages("six"))
outer = flyte.TaskEnvironment("outer", image=image, depends_on=[{depends}])
@inner.task
async def leaf() -> int:
    return 1
@middle.task
async def branch() -> int:
    return await leaf() + 1
@outer.task
async def top() -> int:
    return await branch() + 1
"""


def test_constraint_1_holds_where_the_root_depends_on_both(make: Make) -> None:
    made = make(main=THREE.format(depends="middle, inner"))
    (note,) = made.check(*(made.lock(n) for n in ("inner", "middle", "outer")))
    assert (note.severity, note.code, note.line) == ("note", "depends-on-missing", 12)
    assert note.message == (
        "branch (middle) calls leaf (inner): works in runs that start in outer, as middle does not depend on inner"
    )
    assert note.hint == "in main.py:5: `middle` with `depends_on=[inner]`"


def test_constraint_1_is_broken_where_no_root_depends_on_both(make: Make) -> None:
    made = make(main=THREE.format(depends="middle"))
    locks = {n: made.lock(n) for n in ("inner", "middle", "outer")}
    (error,) = made.check(*locks.values())
    assert (error.severity, error.code, error.line) == ("error", "depends-on-missing", 12)


def test_constraint_1_is_broken_where_the_caller_is_started_by_itself(make: Make) -> None:
    made = make(main=THREE.format(depends="middle, inner"))
    locks = {n: made.lock(n) for n in ("inner", "middle", "outer")}
    alone = [made.project.environments["middle"]]
    (error,) = check(made.project, alone, locks, "linux/amd64", made.wheels)
    assert (error.severity, error.message) == (
        "error",
        "branch (middle) calls leaf (inner), but middle does not depend on inner",
    )


PLAIN = """
import flyte
a = flyte.TaskEnvironment(name="a")
b = flyte.TaskEnvironment(name="b", depends_on=[])
c = flyte.TaskEnvironment(name="c")
@c.task
async def last() -> int:
    return 1
@b.task
async def leaf() -> int:
    return await last()
@a.task
async def top() -> int:
    return await leaf() + 1
@a.task
async def other() -> int:
    return 1
"""


def test_an_image_that_needs_no_table_is_found_without_depends_on(make: Make) -> None:
    made = make(main=PLAIN)
    found = made.check(*(made.lock(n) for n in "abc"))
    assert [(f.severity, f.code, f.line) for f in found] == [
        ("note", "depends-on-missing", 11),
        ("note", "depends-on-missing", 14),
    ]
    assert found[1].message == (
        "top (a) calls leaf (b): works as its image is found by name, though a does not depend on b"
    )
    assert called_unlisted(made.project, ["a"]) == ["b", "c"]
    assert called_unlisted(made.project, ["b"]) == ["c"]
    assert called_unlisted(made.project, ["c"]) == []


def test_code_of_ones_own_outside_of_the_root_is_never_to_be_published(make: Make) -> None:
    body = "    import mine\n    return 1\n"
    made = make(main=IMAGE + f"env = flyte.TaskEnvironment('env', image=image)\n@env.task\ndef go() -> int:\n{body}")
    root = made.project.root / "flows"
    root.mkdir()
    (made.project.root / "main.py").rename(root / "flow.py")
    (made.project.root / "mine.py").touch()
    (made.project.root / "pyproject.toml").touch()
    made = Loaded(load(root / "flow.py", root), made.wheels)
    (error,) = made.check(made.lock("env"))
    assert error.code == "import-missing"
    assert error.hint == "`mine` is the project's own, in ..: start imports at or above it (`--root`)"


def test_nor_is_a_sibling_that_a_uv_project_edits_in_place(make: Make) -> None:
    body = "    import sibling.maths\n    return 1\n"
    made = make(main=IMAGE + f"env = flyte.TaskEnvironment('env', image=image)\n@env.task\ndef go() -> int:\n{body}")
    app = made.project.root / "app"
    app.mkdir()
    (made.project.root / "main.py").rename(app / "flow.py")
    (made.project.root / "libs/sibling/src/sibling").mkdir(parents=True)
    (made.project.root / "libs/sibling/src/sibling/__init__.py").touch()
    (app / "pyproject.toml").write_text('[tool.uv.sources]\nsibling = { path = "../libs/sibling", editable = true }\n')
    made = Loaded(load(app / "flow.py", app), made.wheels)
    (error,) = made.check(made.lock("env"))
    assert str(error.hint).startswith("`sibling` is the project's own, in ../libs/sibling/src, which its uv project")
    (app / "pyproject.toml").write_text("[tool]\nuv = 1\n")
    (error,) = made.check(made.lock("env"))
    assert str(error.hint).startswith("add the distribution that has `sibling.maths`")
