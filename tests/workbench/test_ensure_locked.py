"""Environments that were never locked are locked when they are needed, and said to be; stale ones are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.reporting import Recorder
from flyte_build.locking import project as locking
from flyte_build.planning.workspace import Workspace
from flyte_build.project.nouns import Environment, Project
from flyte_build.recipe import Recipe
from flyte_build.store import Store
from flyte_build.workbench.pipeline import ensure_locked
from tests.support.recipes import recipe_of


@pytest.mark.parametrize(
    ("there", "write", "locked"),
    [
        ([], True, ["low", "top"]),
        (["low"], True, ["top"]),
        (["low", "top"], True, None),
        (["low"], False, None),
    ],
)
def test_what_has_no_lock_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: list[str], write: bool, locked: list[str] | None
) -> None:
    asked: list[list[str]] = []

    def lock_project(recipes: Mapping[str, Recipe], directory: Path, **more: Any) -> Any:
        asked.append(list(recipes))
        return locking.LockReport(tuple(recipes), (), {}, ("a note",))

    monkeypatch.setattr(locking, "lock_project", lock_project)
    for name in there:
        (tmp_path / f"{name}.json").write_text("{}")
    made = {n: Environment(n, (), "main.py", recipe_of()) for n in ("low", "top")}
    workspace = Workspace(Project(tmp_path / "main.py", tmp_path, made, ()), tmp_path)
    reporter = Recorder()
    ensure_locked(workspace, list(made.values()), reporter, write=write, store=Store(tmp_path / "store"))
    assert asked == ([locked] if locked else [])
    if locked:
        assert f"no lock yet: locking {', '.join(locked)} in {tmp_path}" in reporter.notes
