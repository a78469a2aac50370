"""``init``: an existing project gets its settings and locks, and is told what will be refused."""

from __future__ import annotations

from ..support.offline import Offline, snapshot, workflow


def test_a_project_is_taken_on(offline: Offline) -> None:
    done = offline.ok("init", "--yes")
    assert (offline.project / "pyproject.toml").read_text() == '[tool.flyte-build]\nfile = "flow.py"\n'
    assert sorted(p.name for p in offline.lockfiles.iterdir()) == ["low.json", "top.json"]
    assert "1 Flyte file with 2 environments and 2 tasks: flow.py" in done.out
    assert "locked: low, top" in done.out
    assert "git add pyproject.toml lockfiles" in done.out
    assert offline.ok("lock").out.startswith("nothing changed"), "no FILE is needed from here on"
    before = snapshot(offline.project)
    again = offline.ok("init")
    assert "has [tool.flyte-build] already: it is left as it is" in again.out
    assert snapshot(offline.project) == before


def test_nothing_is_written_unasked(offline: Offline) -> None:
    before = snapshot(offline.project)
    assert "there is nobody to ask: expected --yes" in offline.refused(2, "init")
    assert snapshot(offline.project) == before


def test_what_will_be_refused_has_its_way_out_and_the_rest_is_locked(offline: Offline) -> None:
    body = """
        other = flyte.TaskEnvironment("other", image=base.with_pip_packages("x @ hg+https://hg.example/x"))
        above = flyte.TaskEnvironment("above", image=base, depends_on=[other])
    """
    offline.write(workflow("low: alpha", "top(low): alpha beta", body=body))
    done = offline("init", "--yes")
    assert done.code == 7
    assert "locked: low, top" in done.out
    assert "✗ above: depends on other" in done.out
    assert "✗ other: " in done.out
    said = offline("init", "--yes", "--json")
    assert said.code == 7
    assert sorted(p.name for p in offline.lockfiles.iterdir()) == ["low.json", "top.json"]


def test_a_package_that_no_index_has_stops_its_own_environment_alone(offline: Offline) -> None:
    offline.write(workflow("low: alpha", "high: nowhere-to-be-had"))
    done = offline("init", "--yes", "--json")
    assert done.code == 7
    import json

    (tried,) = json.loads(done.out)["tried"]
    assert tried["locked"] == ["low"]
    assert [r["environment"] for r in tried["refusals"]] == ["high"]


def test_a_src_layout_and_a_registry(offline: Offline) -> None:
    text = workflow("low: alpha").replace("python_version=(3, 11)", 'python_version=(3, 11), registry="r.example/team"')
    offline.write(text, "src/pkg/flow.py")
    (offline.project / "flow.py").unlink()
    said = offline.ok("init", "--yes", "--json").json()
    assert said["settings"]["values"] == {"file": "src/pkg/flow.py", "root": "src", "registry": "r.example/team"}
    assert (offline.lockfiles / "low.json").exists()


def test_where_there_is_nothing(offline: Offline) -> None:
    (offline.project / "flow.py").unlink()
    assert "none of the Python files here makes a flyte.TaskEnvironment" in offline.refused(3, "init", "--yes")
    assert not (offline.project / "pyproject.toml").exists()
