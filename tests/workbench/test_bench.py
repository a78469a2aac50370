"""The workbench as a script uses it: one object, a verb a method, values as results."""

from __future__ import annotations

import json
import logging
import sys
import threading
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

import flyte_build
from flyte_build.kernel.reporting import Recorder
from flyte_build.planning.plan import Plan
from flyte_build.workbench import Workbench
from tests.support.offline import Offline, workflow


@pytest.fixture
def project(offline: Offline) -> Workbench:
    made = flyte_build.open("flow.py")
    made.lock()
    return made


def test_it_says_what_the_file_has(project: Workbench, offline: Offline) -> None:
    assert (project.file, project.root, project.lockfiles) == (
        offline.project / "flow.py",
        offline.project,
        offline.lockfiles,
    )
    assert list(project.environments) == ["low", "top"]
    assert {t.name for t in project.tasks} >= {"main", "do_low"}
    assert "flow.py: low, top" in repr(project)
    with pytest.raises(flyte_build.errors.LoadError, match="no task `mian`") as caught:
        project.plan("mian")
    assert caught.value.hint == "did you mean `main`?"


def test_lock_plan_and_build(offline: Offline) -> None:
    project = flyte_build.open("flow.py")
    with pytest.raises(flyte_build.errors.LockError, match="stale or missing"):
        project.plan()
    report = project.lock()
    assert (report.written, report.unchanged) == (("low", "top"), ())
    assert project.check_locks() == 2
    plan = project.plan("main")
    assert not plan.cached
    assert "2 of 2 images to build" in str(plan)
    images = project.build("main")
    assert list(images.digests) == ["low", "top"]
    assert [i.reused for i in images] == [False, False]
    again = project.build("main", locked=True)
    assert again.digests == images.digests
    assert [i.reused for i in again] == [True, True]
    assert project.plan().cached
    done = offline.ok("build", "flow.py", "--json").json()
    assert {i["environment"]: i["digest"] for i in done["images"]} == images.digests, (
        "the command line is the same verb"
    )


def test_results_are_values_that_print_well_and_show_in_notebooks(project: Workbench) -> None:
    plan, images = project.plan(), project.build()
    verification, sbom = project.verify(), project.sbom(env=["low"])[0]
    for result in (plan, images, verification, sbom):
        with pytest.raises(FrozenInstanceError):
            setattr(result, fields(result)[0].name, None)
        assert "low" in str(result)
        shown = result._repr_html_()
        assert shown.startswith("<table")
        assert "low" in shown
    assert "<svg" in plan._repr_html_(), "the plan's picture"
    assert "<svg" in plan.svg()
    assert verification.good
    assert json.loads(sbom.render("cyclonedx"))["bomFormat"] == "CycloneDX"


def test_what_a_page_shows_of_a_strangers_name_is_escaped(project: Workbench) -> None:
    from flyte_build.workbench.shown import html_table, text_table

    assert "<script>" not in html_table(["a"], [["<script>"]], "<b>")
    assert text_table(["a", "bb"], [["ccc", "d"]], "title") == "title\na    bb\nccc  d"


def test_nothing_is_printed(project: Workbench, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    project.build()
    project.verify()
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_progress_goes_to_the_reporter(offline: Offline) -> None:
    heard = Recorder()
    project = flyte_build.open("flow.py", reporter=heard)
    project.lock()
    project.build()
    assert "fetch" in " ".join(heard.titles)


def test_without_a_reporter_the_log_is_told(offline: Offline, caplog: pytest.LogCaptureFixture) -> None:
    project = flyte_build.open("flow.py")
    with caplog.at_level(logging.INFO, "flyte_build"):
        project.reporter.note("a note")
        project.reporter.warn("a warning")
        project.reporter.warn("a warning")
    assert [(r.levelname, r.message) for r in caplog.records] == [("INFO", "a note"), ("WARNING", "a warning")]


def test_a_follower_hears_of_the_plan_before_anything_is_made(project: Workbench) -> None:
    heard: list[object] = []

    class Follower:
        def planned(self, plan: Plan) -> None:
            heard.append([i.state for i in plan.images])

        def making(self) -> None:
            heard.append(project.plan().cached)

    project.build(follower=Follower())
    assert heard == [["build", "build"], False]


def test_findings_of_the_checks(offline: Offline) -> None:
    offline.write(
        workflow(
            "low: alpha",
            "top: alpha",
            body="""
            @top.task
            async def caller(x: int) -> int:
                return await do_low(x)
            """,
        )
    )
    project = flyte_build.open("flow.py")
    project.lock()
    (finding,) = [f for f in project.check() if f.severity == "error"]
    assert finding.code == "depends-on-missing"
    with pytest.raises(flyte_build.errors.CheckError, match="1 call would fail"):
        project.plan().refuse()
    with pytest.raises(flyte_build.errors.CheckError):
        project.build()
    assert len(project.build(check=False)) == 2


def test_exports(project: Workbench, tmp_path: Path) -> None:
    text = project.export("requirements", env="low").text or ""
    assert "alpha==1.0" in text
    assert "--hash=sha256:" in text
    made = project.export("pylock", env="low", output=tmp_path / "out/pylock.toml", wheels=tmp_path / "wheels")
    assert (tmp_path / "out/pylock.toml").read_text() == made.text
    assert any((tmp_path / "wheels").glob("alpha-*.whl"))
    with pytest.raises(flyte_build.errors.InputError, match="expected one environment, found 2"):
        project.export("requirements")
    with pytest.raises(flyte_build.errors.InputError, match="expected `output`"):
        project.export("pex", env="low")


def test_bundles_and_differences(project: Workbench, offline: Offline, tmp_path: Path) -> None:
    made = project.bundle(tmp_path / "flow.fbundle")
    assert made.path.is_file()
    done, folder = flyte_build.unbundle(tmp_path / "flow.fbundle", tmp_path / "elsewhere")
    assert folder == tmp_path / "elsewhere"
    assert {image.environment for image in done.index.images} == {"low", "top"}
    assert sorted(p.name for p in folder.glob("*.json")) == ["low.json", "top.json"]
    found = flyte_build.diff("low", "top", file="flow.py")
    assert [c.name for c in found.wheels or ()] == ["beta"]
    assert flyte_build.diff("low", "low", file="flow.py").empty


# -- one process, many projects ------------------------------------------------------------------------


def test_a_file_that_is_opened_again_is_read_again(project: Workbench, offline: Offline) -> None:
    offline.write(workflow("other: alpha"))
    assert list(flyte_build.open("flow.py").environments) == ["other"]
    assert list(project.environments) == ["low", "top"], "what is open stays as it was"
    assert project.check_locks() == 2


def test_two_projects_may_call_their_modules_alike(offline: Offline) -> None:
    offline.write("VALUE = 'one'\n", "one/common.py")
    offline.write("VALUE = 'two'\n", "two/common.py")
    for name in ("one", "two"):
        offline.write(
            "from common import VALUE\n" + workflow(f"{name}: alpha").replace(f'"{name}"', "VALUE"), f"{name}/flow.py"
        )
    one, two = flyte_build.open("one/flow.py"), flyte_build.open("two/flow.py")
    assert (list(one.environments), list(two.environments)) == (["one"], ["two"])
    assert [f.severity for f in one.check()] == [f.severity for f in two.check()]
    for name in ("flow", "common"):
        assert name not in sys.modules, "a program's own modules are not disturbed"


def test_a_module_of_the_programs_own_stays_its_own(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    offline.write("VALUE = 'the project'\n", "common.py")
    offline.write("from common import VALUE\nassert VALUE == 'the project'\n" + workflow("low: alpha"))
    own = type(sys)("common")
    own.__file__ = "/somewhere/else/common.py"
    monkeypatch.setitem(sys.modules, "common", own)
    path = list(sys.path)
    flyte_build.open("flow.py")
    assert sys.modules["common"] is own
    assert sys.path == path


def test_threads(project: Workbench, offline: Offline) -> None:
    found: list[object] = []

    def work(name: str) -> None:
        try:
            found.append(flyte_build.open(f"{name}/flow.py").plan(env=[name]).plan.images[0].environment)
        except BaseException as e:
            found.append(e)

    names = [f"env{i}" for i in range(4)]
    for name in names:
        offline.write(workflow(f"{name}: alpha"), f"{name}/flow.py")
        flyte_build.open(f"{name}/flow.py").lock()
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(map(str, found)) == names


def test_the_settings_name_the_file(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    (offline.project / "pyproject.toml").write_text('[tool.flyte-build]\nfile = "flow.py"\nlockfiles = "locks"\n')
    project = flyte_build.open()
    assert project.file == offline.project / "flow.py"
    assert project.lockfiles == offline.project / "locks"


def test_a_notebook_shows_a_plan_and_images(project: Workbench, offline: Offline) -> None:
    import nbclient
    import nbformat

    cells = [
        "import flyte_build\nproject = flyte_build.open('flow.py')",
        "project.plan()",
        "await __import__('asyncio').sleep(0)\nproject.build()",
        "project.verify()",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    places = {"metadata": {"path": str(offline.project)}}
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3", resources=places).execute()
    shown = [cell.outputs[-1].data["text/html"] for cell in book.cells[1:]]
    assert all("<table" in html and "low" in html for html in shown)
    assert "<svg" in shown[0]
