"""Deployed tasks as they lie on this machine: found by name, by version, and the latest."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import InputError, RunError
from flyte_build.submit import deployed
from flyte_build.submit.cache import bundle_digest
from flyte_build.submit.deployed import DeployedTask, Deployments, check_part

IMAGES = {"flyte-build.local/env@sha256:aa": "sha256:aa", "flyte-build.local/env2@sha256:bb": "sha256:bb"}


def task(folder: Path, name: str = "env.work", version: str = "1", **more: Any) -> DeployedTask:
    code = more.pop("text", b"code")
    bundle = folder / f"{code.hex()}.tgz"
    bundle.write_bytes(gzip.compress(code, mtime=1))
    environment = name.partition(".")[0]
    facts = {"images": IMAGES, "inline": {name: 7}, "spec": b"spec", "file": "flow.py", "at": 0.0}
    return DeployedTask(
        "p", "d", name, version, environment, code=bundle_digest(bundle), bundle=bundle, **(facts | more)
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which is 100 and can be set."""
    now = [100.0]
    monkeypatch.setattr(deployed.time, "time", lambda: now[0])
    return now


def test_a_task_is_found_as_it_was_deployed(tmp_path: Path, clock: list[float]) -> None:
    store, made = Deployments(tmp_path / "tasks"), task(tmp_path)
    assert store.find("p", "d", "env.work", "") is None
    ((put, known),) = store.put([made])
    found = Deployments(tmp_path / "tasks").find("p", "d", "env.work", "1")
    assert found == put
    assert not known
    assert found == dataclasses.replace(made, at=100.0, bundle=found.bundle)
    assert gzip.decompress(found.bundle.read_bytes()) == b"code"
    assert (found.image, store.intact(found)) == ("sha256:aa", True)
    for where in (("q", "d"), ("p", "e")):
        assert store.find(*where, "env.work", "1") is None
    assert store.find("p", "d", "env.other", "") is None


def test_the_latest_is_what_was_deployed_last(tmp_path: Path, clock: list[float]) -> None:
    store = Deployments(tmp_path / "tasks")
    for now, version in ((100.0, "2"), (200.0, "10"), (300.0, "2")):
        clock[0] = now
        store.put([task(tmp_path, version=version)])
    latest = store.find("p", "d", "env.work", "")
    assert latest is not None
    assert (latest.version, latest.at) == ("2", 300.0)
    assert [(t.version, t.at) for t in store.listed("p", "d")] == [("2", 300.0), ("10", 200.0)]
    assert store.listed("p", "other") == []


@pytest.mark.parametrize(
    "change", [{"spec": b"other"}, {"text": b"other"}, {"images": {"r/env@sha256:cc": "sha256:cc"}}, {"inline": {}}]
)
def test_a_version_never_changes(tmp_path: Path, clock: list[float], change: dict[str, Any]) -> None:
    store = Deployments(tmp_path / "tasks")
    store.put([task(tmp_path)])
    with pytest.raises(InputError, match=r"version 1 of env\.work was deployed on .* with other contents"):
        store.put([task(tmp_path, "env.new"), task(tmp_path, **change)])
    assert [t.name for t in store.listed("p", "d")] == ["env.work"]
    assert store.find("p", "d", "env.work", "1") == store.put([task(tmp_path)])[0][0]


def test_a_document_that_is_none_is_told(tmp_path: Path, clock: list[float]) -> None:
    store = Deployments(tmp_path / "tasks")
    store.put([task(tmp_path)])
    path = tmp_path / "tasks" / "p" / "d" / "env.work" / "1.json"
    whole = path.read_text()
    others = whole.replace('"schema": 1', '"schema": 2'), whole.replace('env@sha256:aa": "', 'env@sha256:ff": "')
    for text in ("", "[]", "{}", *others, '{"schema": 1, "spec": 3}'):
        path.write_text(text)
        with pytest.raises(RunError, match=r"1\.json: expected a deployed task"):
            store.find("p", "d", "env.work", "1")


def test_code_that_was_changed_is_not_intact(tmp_path: Path, clock: list[float]) -> None:
    store = Deployments(tmp_path / "tasks")
    ((made, _),) = store.put([task(tmp_path)])
    made.bundle.write_bytes(gzip.compress(b"other"))
    assert not store.intact(made)
    made.bundle.unlink()
    assert not store.intact(made)


@pytest.mark.parametrize("name", ["../x", "..", ".", "a/b", "ü", "x" * 20])
def test_any_name_has_a_place_of_its_own_below_the_folder(tmp_path: Path, clock: list[float], name: str) -> None:
    store = Deployments(tmp_path / "tasks")
    store.put([task(tmp_path, name), task(tmp_path, "env.work")])
    found = store.find("p", "d", name, "1")
    assert found is not None
    assert found.name == name
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["tasks"]
    assert sorted(p.name for p in (tmp_path / "tasks").iterdir()) == ["code", "p"]


@pytest.mark.parametrize("text", ["", "a b", "../x", "-x", "x" * 129])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="version: expected letters"):
        check_part("version", text)
