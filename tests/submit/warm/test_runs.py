"""Whole runs by forks: the unmodified runtime of the SDK, and the bytes that cold processes give."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.task import common_pb2
from google.protobuf.json_format import MessageToJson

from flyte_build.submit.action import Phase
from flyte_build.submit.run import RunResult

from ..conftest import Runs

pytestmark = pytest.mark.integration


KINDS = {"inputs.pb": common_pb2.Inputs, "outputs.pb": common_pb2.Outputs}


def documents(result: RunResult) -> Counter[tuple[str, str, str]]:
    """What each action was given and gave: its task, which document, and what is in it, whose bytes are its only ones.

    Names that were drawn, a temporary file's and so that of an action that is given it, are left out: as text, for
    some are shorter than others.
    """
    found: Counter[tuple[str, str, str]] = Counter()
    tasks = {a.name: a.task for a in result.actions}
    for path in sorted((result.folder / "kept").rglob("*.pb")):
        action, *_ = path.relative_to(result.folder / "kept").parts
        data = path.read_bytes()
        message = KINDS[path.name].FromString(data)
        assert message.SerializeToString(deterministic=True) == data
        text = MessageToJson(message, sort_keys=True).replace(result.name, "RUN")
        for name, task in tasks.items():
            if len(name) > 2:
                text = text.replace(name, task)
        text = re.sub(r'(/raw/[^/]*/\d+)/[0-9a-f]{32}/[^"]*', r"\1/DRAWN", text)
        found[tasks[action], path.name, re.sub(r'files/\d+/[^"]*', "files", text)] += 1
    return found


def said(result: RunResult) -> tuple[list[str], list[str]]:
    """The workers that the run had, and why actions were cold."""
    folder = result.folder / "workers"
    cold = folder / "cold.log"
    return sorted(p.stem for p in folder.glob("warm*.log")), cold.read_text().splitlines() if cold.exists() else []


def test_outputs_are_to_the_byte_those_of_cold_actions(
    runs: Runs, outputs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.warm.pool.IDLE_SECONDS", 10_000)  # so that none ends on a busy machine
    root = runs.action("pipeline", "main", text="hello")
    cold = runs.run(root, "fold", warm=False)
    warm = runs.run(root, "warm", overwrite_cache=True)
    assert cold.phase is warm.phase is Phase.SUCCEEDED, warm.error
    assert said(cold) == ([], [])
    workers, why = said(warm)
    assert why == []
    assert len(workers) == 4, "one for each image and environment: top, middle, leaf, and leaf that is sour"
    assert documents(warm) == documents(cold)
    assert documents(warm).total() > 15
    assert not any((warm.folder / "scratch").glob("*"))


def test_an_image_whose_runtime_starts_threads_is_run_cold(runs: Runs, outputs: Any, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='odd', daemon=True).start()\n"
    )
    image = runs.images["leaf"]
    target = "/run/flyte-build/odd"
    runs.images["leaf"] = type(image)(
        image.digest, image.root, image.python, (*image.env, f"PYTHONPATH={target}"), image.workdir,
        (*image.binds, (tmp_path / "odd", target)),
    )  # fmt: skip
    result = runs.run(runs.action("pipeline", "nested", x=3), "one")
    assert outputs(result) == 18
    assert said(result)[1] == ["actions of leaf start cold, not as forks: an import left the thread odd running"]


def test_a_forks_folder_has_what_a_cold_ones_has(runs: Runs, outputs: Any) -> None:
    root = runs.action("unpacked", "listed")
    cold, warm = (runs.run(root, name, warm=name == "warm") for name in ("cold", "warm"))
    assert said(warm) == (["warm1"], [])
    found = outputs(warm)
    assert found == outputs(cold)
    assert any(line.startswith("./unpacked.py ") for line in found)
