"""``runs`` lists those of the project that one stands in, and says where the others are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.offline import Offline
from tests.support.runs import Call, make_run


def names(offline: Offline, *options: str) -> list[str]:
    return sorted(r["name"] for r in offline.ok("runs", "--json", *options).json()["runs"])


def test_of_this_project_by_default(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    (offline.project / "pyproject.toml").touch()
    other = offline.home / "other"
    other.mkdir()
    (other / "setup.py").touch()
    runs = offline.home / "state" / "runs"
    for name, file in (("r1", offline.project / "src" / "flow.py"), ("r2", other / "flow.py"), ("r3", None)):
        said = {} if file is None else {"invocation": {"file": str(file)}}
        make_run(runs, [Call("a0", "low.main")], name=name, **said)
    below = offline.project / "src" / "deep"
    below.mkdir(parents=True)
    for folder in (offline.project, below):
        monkeypatch.chdir(folder)
        assert names(offline) == ["r1"]
    assert names(offline, "--all") == ["r1", "r2", "r3"]
    monkeypatch.chdir(other)
    assert names(offline) == ["r2"]
    empty = Path(offline.home, "empty")
    empty.mkdir()
    (empty / ".git").mkdir()
    monkeypatch.chdir(empty)
    assert names(offline) == []
    assert offline.ok("runs").out == "no runs of this project; `flyte-build runs --all` lists 3 runs of others\n"


def test_one_is_shown_with_its_attempts(offline: Offline) -> None:
    runs = offline.home / "state" / "runs"
    make_run(
        runs,
        [Call("a0", task="low.main", environment="low"), Call("b", "a0", "low.square", environment="low")],
        name="r1",
        docs={"low.square": "Squares it."},
    )
    shown = offline.ok("runs", "show", "r1")
    assert shown.out.startswith("r1 low.main  succeeded, started ")
    assert "✓ square  low" in shown.out
    assert "Squares it." in shown.out
    told = offline.ok("runs", "show", "--json", "r1").json()
    assert [(a["name"], a["doc"], a["queue"], a["interruptible"]) for a in told["actions"]] == [
        ("a0", "", "", False), ("b", "Squares it.", "", False)
    ]  # fmt: skip
    assert "no run `nobody`" in offline.refused(12, "runs", "show", "nobody")


def test_logs_without_a_run_are_the_newest_ones_of_this_project(offline: Offline) -> None:
    (offline.project / "pyproject.toml").touch()
    assert "there are no runs of this project yet" in offline.refused(12, "logs")
    runs = offline.home / "state" / "runs"
    mine = {"invocation": {"file": str(offline.project / "flow.py")}}
    make_run(runs, [Call("a0", "low.main", log="old\n")], name="r1", **{**mine, "started": 1.0})
    make_run(runs, [Call("a0", "low.main", log="new\n")], name="r2", **mine)
    make_run(runs, [Call("a0", "low.main", log="another project's\n")], name="r3", started=9e9)
    assert offline.ok("logs").out == "new\n"
    assert offline.ok("logs", "-f").out.endswith("new\n")
