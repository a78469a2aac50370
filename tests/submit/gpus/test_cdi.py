"""What the container toolkit wrote down of a machine's devices wins over what is found otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.gpus.here import gpus_here
from flyte_build.submit.gpus.nouns import Gpus

from .machine import file, machine, node

LIBRARY = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"


def spec(*devices: tuple[str, list[str]], **changes: Any) -> dict[str, Any]:
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": name, "containerEdits": {"deviceNodes": [{"path": p} for p in paths]}} for name, paths in devices
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [{"path": "/dev/nvidiactl"}, {"path": "/dev/gone"}],
            "mounts": [
                {"hostPath": LIBRARY, "containerPath": LIBRARY, "options": ["ro"]},
                {"hostPath": "/usr/lib/gone.so.1", "containerPath": "/usr/lib/gone.so.1"},
            ],
            "hooks": [
                {
                    "hookName": "createContainer",
                    "path": "/usr/bin/nvidia-cdi-hook",
                    "args": ["nvidia-cdi-hook", "create-symlinks", "--link", f"libcuda.so.1::{LIBRARY[:-2]}"],
                },
                {"hookName": "createContainer", "path": "/x", "args": ["nvidia-cdi-hook", "update-ldcache"]},
            ],
        },
        **changes,
    }


BOTH = spec(
    ("0", ["/dev/nvidia0"]), ("GPU-zero", ["/dev/nvidia0"]), ("1", ["/dev/nvidia1"]),
    ("all", ["/dev/nvidia0", "/dev/nvidia1"]),
)  # fmt: skip


@pytest.mark.parametrize("place", ["etc/cdi/nvidia.yaml", "var/run/cdi/nvidia.json"])
def test_devices_are_those_of_the_file(tmp_path: Path, place: str) -> None:
    file(machine(tmp_path) / place, json.dumps(BOTH))  # which is YAML, too
    found = gpus_here(tmp_path)
    assert [(d.name, d.uuid, d.model) for d in found.devices] == [
        ("0", "GPU-zero", "NVIDIA H200"),
        ("1", "GPU-1", "NVIDIA H200"),
    ]
    assert found.nodes == ((tmp_path / "dev/nvidiactl", "/dev/nvidiactl"),)
    assert found.files == ((tmp_path / LIBRARY.lstrip("/"), LIBRARY),)
    assert found.links == {"libcuda.so": "libcuda.so.1"}


def test_partitions_have_capabilities_besides(tmp_path: Path) -> None:
    node(machine(tmp_path) / "dev/nvidia-caps/nvidia-cap12")
    text = json.dumps(spec(("0:0", ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap12"]), ("1", ["/dev/nvidia1"])))
    file(tmp_path / "etc/cdi/nvidia.json", text)
    found = gpus_here(tmp_path).devices
    assert [(d.name, d.partition, d.uuid) for d in found] == [("0:0", True, ""), ("1", False, "GPU-1")]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "devices: [", json.dumps(spec(("0", ["/dev/nvidia0"]), kind="amd.com/gpu")),
        json.dumps(spec(("0", ["/dev/none"]))), json.dumps(spec(("0", ["/dev/../dev/nvidia0"]))),
        json.dumps({"kind": "nvidia.com/gpu", "devices": "many"}),
        json.dumps({"kind": "nvidia.com/gpu", "devices": [{"name": "0", "containerEdits": {"deviceNodes": ["x"]}}]}),
    ],
)  # fmt: skip
def test_a_file_that_says_nothing_useful_is_passed_over(tmp_path: Path, text: str) -> None:
    file(tmp_path / "etc/cdi/nvidia.yaml", text)
    assert gpus_here(tmp_path) == Gpus()
    file(machine(tmp_path, 1) / "etc/cdi/nvidia.yaml", text)
    assert len(gpus_here(tmp_path).devices) == 1
    assert len(gpus_here(tmp_path).nodes) == 3, "those of the nodes that were found without it"
