"""Whole runs on a machine with devices: who asks for one has it, its libraries and programs; who does not sees none.

Nodes are /dev/null's, the driver's library is one that this machine has. No device of NVIDIA's was ever seen here.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import Phase
from flyte_build.submit.gpus.here import gpus_here
from flyte_build.submit.gpus.linker import read
from flyte_build.submit.gpus.nouns import Gpus
from flyte_build.submit.run import RunResult
from flyte_build.submit.sandbox.bubblewrap import Bubblewrap
from flyte_build.submit.sandbox.entrance import Entrance

from ..conftest import Runs
from .machine import FLAGS, PLACE, machine

pytestmark = pytest.mark.integration
NODES = ["/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia0", "/dev/nvidiactl"]


@pytest.fixture
def one(tmp_path: Path) -> Gpus:
    """A machine with one device, whose libcuda can be loaded."""
    root = machine(tmp_path / "machine", 1)
    real = [r for r in read(Path("/etc/ld.so.cache").read_bytes()) if r.flags == FLAGS and r.name.startswith("libz.so")]
    shutil.copyfile(real[0].path, root / PLACE.lstrip("/") / "libcuda.so.1")
    return gpus_here(root)


def rows(result: RunResult, outputs: Any) -> list[list[str]]:
    assert result.phase is Phase.SUCCEEDED, result.error
    found: list[list[str]] = outputs(result)
    return found


def test_who_asks_has_it_and_who_does_not_sees_none(runs: Runs, outputs: Any, one: Gpus, engine: Entrance) -> None:
    """With a linker's cache in the image, and without one. Two actions at once would be two with the only device."""
    cache = isinstance(engine.engine, Bubblewrap)
    for image in runs.images.values() if cache else ():
        shutil.copyfile("/etc/ld.so.cache", image.root / "etc/ld.so.cache")
    result = runs.run(runs.action("devices", "main"), "one", gpus=one, cpu=4, engine=engine)
    plain, *asked = rows(result, outputs)
    assert plain == ["sees None"]
    assert asked == [[*NODES, "sees GPU-0", "libcuda", "ours"]] * 2
    assert runs.observer.warnings == []


def test_a_replica_keeps_its_device_until_another_action_waits_for_it(runs: Runs, outputs: Any, one: Gpus) -> None:
    result = runs.run(runs.action("devices", "main_held"), "held", gpus=one)
    assert rows(result, outputs) == [[*NODES, "sees GPU-0", "libcuda", "ours"]] * 4
    assert [p.name for p in (result.folder / "workers").glob("replica*.log")] == ["replica1.log"]


def test_a_machine_without_says_so_and_runs(runs: Runs, outputs: Any) -> None:
    result = runs.run(runs.action("devices", "main_without"), "none", gpus=Gpus())
    assert rows(result, outputs) == [["sees None"]] * 3
    assert runs.observer.warnings == ["tasks run without the accelerators they ask for (gpu: 1) on this machine"]


def test_a_node_for_itself_is_no_way_to_another(runs: Runs, outputs: Any, one: Gpus, tmp_path: Path) -> None:
    """Of two devices, each action sees its own."""
    second = gpus_here(machine(tmp_path / "other", 2)).devices[1]
    both = replace(one, devices=(*one.devices, second))
    _, *asked = rows(runs.run(runs.action("devices", "main"), "two", gpus=both, cpu=4), outputs)
    assert {row[2] for row in asked} <= {"/dev/nvidia0", "/dev/nvidia1"}
    assert {len([name for name in row if name.startswith("/dev/nvidia") and name[-1].isdigit()]) for row in asked} == {
        1
    }
