"""For whose first action a worker is started: for those that had company before."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flyte_build.submit.action import Phase
from flyte_build.submit.sandbox.spec import Sandbox
from flyte_build.submit.warm.company import Company
from flyte_build.submit.warm.pool import Pool
from tests.submit.conftest import Runs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "roots" / ("a" * 64)
    found.mkdir(parents=True)
    return found


def run_of(root: Path, *environments: str) -> list[bool]:
    company = Company()
    found = [company.joins(root, environment) for environment in environments]
    company.end()
    return found


def test_the_second_action_has_company_and_the_next_run_knows(root: Path) -> None:
    assert run_of(root, "a", "b", "a", "a") == [False, False, True, True]
    assert run_of(root, "a", "b") == [True, False]
    # That it had none is as good to know.
    assert run_of(root, "a", "b") == [False, False]


def test_what_is_known_of_others_stays(root: Path) -> None:
    run_of(root, "a", "a")
    run_of(root, "b", "b")
    assert run_of(root, "a", "b", "a", "b") == [True] * 4
    assert run_of(root.with_name("b" * 64), "a") == [False]
    assert root.with_name(f"{root.name}.company").is_file()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 2, "environments": ["a"]}', '{"schema": 1}',
                                  '{"schema": 1, "environments": 3}'])  # fmt: skip
def test_a_note_that_is_none_counts_as_none(root: Path, text: str) -> None:
    root.with_name(f"{root.name}.company").write_text(text)
    assert run_of(root, "a") == [False]


def test_where_nothing_can_be_written_nothing_is_known(tmp_path: Path) -> None:
    assert run_of(tmp_path / "gone" / "roots" / "ab", "a", "a") == [False, True]
    assert list(tmp_path.iterdir()) == []


def actions(pool: Pool, root: Path, *environments: str) -> list[bool]:
    """Whether each, one beside the other, had a worker."""

    async def one(environment: str) -> bool:
        box = Sandbox(root, "/bin/python3", ())
        async with pool.worker(box, "sha256:1", ("a0",), {}, environment) as worker:
            await asyncio.sleep(0.01)
            return worker is not None

    async def all_of_them() -> list[bool]:
        found = await asyncio.gather(*map(one, environments))
        await pool.close()
        return found

    return asyncio.run(all_of_them())


def pool_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, company: Company | None) -> Pool:
    async def held(*_: object) -> object:
        return SimpleNamespace(actions=1, alive=True, timer=None)

    monkeypatch.setattr(Pool, "_held", held)
    monkeypatch.setattr(Pool, "_rest", lambda *_: None)
    nothing = cast(Any, None)
    return Pool(nothing, tmp_path, tmp_path, (), nothing, 10, lambda _: None, company=company)


def test_an_environments_only_action_starts_cold(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert actions(pool_of(tmp_path, monkeypatch, Company()), root, "a", "b", "b") == [False, False, True]
    assert actions(pool_of(tmp_path, monkeypatch, Company()), root, "a", "b", "b") == [False, True, True]
    assert actions(pool_of(tmp_path, monkeypatch, None), root, "a", "b", "b") == [True, True, True]


@pytest.mark.integration
def test_in_a_run_only_what_has_company_has_a_worker(runs: Runs) -> None:
    """Each image here is of one environment: one of whose actions there is one has no worker."""
    root = runs.action("pipeline", "main", text="hello")

    def run(name: str) -> tuple[Counter[str], int]:
        result = runs.run(root, name, overwrite_cache=True)
        assert result.phase is Phase.SUCCEEDED, result.error
        assert not (result.folder / "workers" / "cold.log").exists()
        tasks = Counter(a.task.partition(".")[0] for a in result.actions if a.kind == "task")
        return tasks, len(list((result.folder / "workers").glob("warm*.log")))

    (actions, first), (_, second) = run("first"), run("second")
    company = sorted(name for name, count in actions.items() if count > 1)
    assert 0 < len(company) < len(actions)
    kept = [json.loads(path.read_text())["environments"] for path in (runs.folder / "images").glob("*.company")]
    assert sorted(name for names in kept for name in names) == company
    # Two of the leaf's: one of its actions has variables of its own.
    assert 0 < first <= second == len(company) + 1
