"""``pin`` in the settings: who writes digests into locks; those that are there are held against everybody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flyte_build.locks.lockfile import read, write
from flyte_build.locks.nouns import Pin
from tests.support.offline import Offline, snapshot
from tests.support.registry import RegistryServer


def pins(offline: Offline) -> int:
    locks = [read(offline.lockfiles, name) for name in ("low", "top")]
    return sum(len(lock.pins) for lock in locks if lock is not None)


@pytest.mark.parametrize(("said", "by_build", "by_push"), [("always", 2, 2), ("on-push", 0, 2), ("never", 0, 0)])
def test_who_pins(said: str, by_build: int, by_push: int, offline: Offline, registry: RegistryServer) -> None:
    (offline.project / "pyproject.toml").write_text(
        f'[tool.flyte-build]\npin = "{said}"\nregistry = "{registry.host}/team"\n'
    )
    offline.ok("lock", "flow.py")
    before = snapshot(offline.lockfiles)
    built = offline.ok("build", "flow.py")
    assert pins(offline) == by_build
    assert ("pins written" in built.err) == bool(by_build)
    assert by_build or snapshot(offline.lockfiles) == before, "the tree is as it was"
    assert offline.ok("build", "flow.py").code == 0
    offline.ok("push", "flow.py")
    assert pins(offline) == by_push
    if said == "never":
        assert "is not pinned" in offline.refused(15, "build", "--locked", "flow.py")


def test_pins_that_are_there_hold_whatever_it_says(offline: Offline) -> None:
    offline.ok("lock", "flow.py")
    offline.ok("build", "flow.py")
    lock = read(offline.lockfiles, "low")
    assert lock is not None
    ((platform, pin),) = lock.pins.items()
    write(offline.lockfiles, replace(lock, pins={platform: Pin(pin.derivation, "sha256:" + "0" * 64)}))
    (offline.project / "pyproject.toml").write_text('[tool.flyte-build]\npin = "never"\n')
    offline.refused(15, "build", "flow.py")
