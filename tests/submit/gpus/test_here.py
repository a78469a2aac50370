"""Devices are found by what the driver leaves on a machine: nodes, its files in /proc, the linker's cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.submit.gpus.here import gpus_here
from flyte_build.submit.gpus.nouns import Gpus

from .machine import cached, file, machine, node


def test_each_gpu_has_its_node_and_what_the_driver_says_of_it(tmp_path: Path) -> None:
    found = gpus_here(machine(tmp_path))
    assert [(d.name, d.uuid, d.model, d.partition) for d in found.devices] == [
        ("0", "GPU-0", "NVIDIA H200", False),
        ("1", "GPU-1", "NVIDIA H200", False),
    ]
    assert found.devices[1].nodes == ((tmp_path / "dev/nvidia1", "/dev/nvidia1"),)
    assert [target for _, target in found.nodes] == ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
    assert {target for _, target in found.files} == {
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
        "/usr/bin/nvidia-smi",
    }
    assert found.links == {"libcuda.so": "libcuda.so.1"}


def test_a_machine_without_any_has_none(tmp_path: Path) -> None:
    assert gpus_here(tmp_path) == Gpus()


def test_what_is_no_device_is_none(tmp_path: Path) -> None:
    cached(tmp_path, ["libcuda.so.1"])
    file(tmp_path / "dev/nvidia0")
    (tmp_path / "dev/nvidia1").symlink_to("/dev/null")
    (tmp_path / "dev/nvidia2").mkdir()
    assert gpus_here(tmp_path) == Gpus()


def test_nodes_that_nothing_is_said_of_are_devices_too(tmp_path: Path) -> None:
    cached(tmp_path, ["libcuda.so.1"])
    node(tmp_path / "dev/nvidia10")
    node(tmp_path / "dev/nvidia2")
    file(tmp_path / "proc/driver/nvidia/gpus/0/information", "Device Minor: none\n")
    assert [(d.name, d.uuid, d.model) for d in gpus_here(tmp_path).devices] == [("2", "", ""), ("10", "", "")]


@pytest.mark.parametrize("names", [[], ["libnvidia-ml.so.1"]])
def test_without_the_drivers_library_there_is_nothing_to_give(tmp_path: Path, names: list[str]) -> None:
    node(tmp_path / "dev/nvidia0")
    cached(tmp_path, names)
    assert gpus_here(tmp_path) == Gpus()


def test_libraries_of_another_kind_of_programs_are_not_the_drivers(tmp_path: Path) -> None:
    node(tmp_path / "dev/nvidia0")
    cached(tmp_path, ["libcuda.so.1"], flags=3)
    assert gpus_here(tmp_path) == Gpus()


def test_a_partitioned_gpu_is_its_partitions(tmp_path: Path) -> None:
    """Of all the partitions that there could be, those that the driver has made, in their order."""
    root = machine(tmp_path)
    lines = ["config 1", "monitor 2"]
    for gi in (1, 2, 11):
        lines += [f"gpu1/gi{gi}/access {100 + gi}", f"gpu1/gi{gi}/ci0/access {200 + gi}"]
    file(root / "proc/driver/nvidia-caps/mig-minors", "\n".join(lines))
    for gi in (2, 11):
        file(root / f"proc/driver/nvidia/capabilities/gpu1/mig/gi{gi}/ci0/access")
        node(root / f"dev/nvidia-caps/nvidia-cap{100 + gi}")
        node(root / f"dev/nvidia-caps/nvidia-cap{200 + gi}")
    found = gpus_here(root).devices
    assert [(d.name, d.partition, d.uuid) for d in found] == [
        ("0", False, "GPU-0"),
        ("1:0", True, ""),
        ("1:1", True, ""),
    ]
    assert [target for _, target in found[2].nodes] == [
        "/dev/nvidia1",
        "/dev/nvidia-caps/nvidia-cap111",
        "/dev/nvidia-caps/nvidia-cap211",
    ]
