"""FILE left out: what the settings name is meant, and the first word may then be TASK."""

from __future__ import annotations

import pytest

from tests.support.offline import Offline


@pytest.fixture
def stated(offline: Offline) -> Offline:
    (offline.project / "pyproject.toml").write_text('[tool.flyte-build]\nfile = "flow.py"\n')
    offline.ok("lock")
    return offline


def environments(document: dict[str, list[dict[str, str]]]) -> list[str]:
    return [image["environment"] for image in document["images"]]


def test_every_command_that_takes_a_file_goes_without(stated: Offline) -> None:
    assert environments(stated.ok("plan", "--json").json()) == ["low", "top"]
    assert environments(stated.ok("build", "--json").json()) == ["low", "top"]
    assert environments(stated.ok("verify", "--json").json()) == ["low", "top"]
    assert "alpha==1.0" in stated.ok("export", "requirements", "--env", "low").out
    assert "alpha" in stated.ok("sbom", "--env", "low").out
    assert "no task was named" in stated.refused(2, "run")


def test_the_first_word_may_be_the_task(stated: Offline) -> None:
    assert environments(stated.ok("plan", "do_low", "--json").json()) == ["low"]
    assert environments(stated.ok("build", "do_low", "--json").json()) == ["low"]
    assert "--x INTEGER" in stated.ok("run", "main", "--help").out
    assert "no task `mian`" in stated.refused(3, "plan", "mian")
    assert "unexpected extra argument" in stated.refused(2, "plan", "main", "do_low")


def test_a_file_that_is_named_is_the_one_that_is_meant(stated: Offline) -> None:
    assert environments(stated.ok("plan", "flow.py", "do_low", "--json").json()) == ["low"]
    assert "does not exist" in stated.refused(3, "plan", "other.py")
    assert "does not exist" in stated.refused(3, "plan", "folder/main")


def test_from_a_folder_below(stated: Offline) -> None:
    (stated.project / "deep").mkdir()
    stated.patch.chdir(stated.project / "deep")
    assert environments(stated.ok("plan", "main", "--json").json()) == ["low", "top"]


def test_without_the_setting_a_word_is_a_file_as_ever(offline: Offline) -> None:
    assert "no FILE was named" in offline.refused(2, "plan")
    assert "main: does not exist; expected a Python file" in offline.refused(3, "plan", "main")


def test_a_recorded_answer_hears_of_another_file(stated: Offline) -> None:
    first = stated.ok("plan", "--json").json()
    assert stated.ok("plan", "--json").json() == first
    (stated.project / "pyproject.toml").write_text('[tool.flyte-build]\nfile = "absent.py"\n')
    assert "absent.py" in stated.refused(2, "plan", "--json")
