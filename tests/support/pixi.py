"""A pixi project of our own, offline: its flow, its manifest, its ``pixi.lock``, and what became of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .conda import Built, pixi_lock
from .layers import sha256
from .locking import whole_lock
from .offline import Offline

__all__ = ["ENV", "FLOW", "MANIFEST", "built", "config_of", "lock", "platform", "pypi", "words"]

ENV = "/opt/pixi-project/.pixi/envs/default"
FLOW = """\
import pathlib
import flyte
base = flyte.Image.from_debian_base(platform=("linux/amd64",))
image = base.with_pixi_project(pathlib.Path("pixi.toml")){more}
low = flyte.TaskEnvironment("low", image=image)
@low.task
def main(x: int) -> int:
    return x
"""
MANIFEST = """\
[workspace]
channels = ["https://channel.invalid"]
platforms = ["linux-64"]
[dependencies]
python = "*"
"""


def pypi(wheel: Path, *needs: str) -> tuple[str, str]:
    name, version = wheel.name.split("-")[:2]
    more = "".join(f"\n  - {need}" for need in needs)
    row = f"  name: {name}\n  version: '{version}'\n  sha256: {sha256(wheel)}"
    return f"https://index.invalid/{wheel.name}", row + (f"\n  requires_dist:{more}" if needs else "")


def lock(offline: Offline, packages: list[Built], *rows: tuple[str, str]) -> None:
    pixi_lock(offline.project / "pixi.lock", {"linux-64": packages}, pypi=rows)


def words(text: str) -> str:
    return " ".join(text.split())


def platform(project: Offline, name: str = "low") -> dict[str, Any]:
    found: dict[str, Any] = whole_lock(project.lockfiles / f"{name}.json")["platforms"]["linux/amd64"]
    return found


def built(project: Offline) -> str:
    (image,) = project.ok("build", "flow.py", "--json").json()["images"]
    digest: str = image["digest"]
    return digest


def config_of(project: Offline, digest: str) -> Any:
    blobs = project.store / "oci/blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    return json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_text())
