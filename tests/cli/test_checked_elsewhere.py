"""The check of imports on a machine that has nothing: what it asks, of whom, and that it comes to the same."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from itertools import repeat
from typing import Any

import pytest

from flyte_build.kernel.reporting import Recorder
from flyte_build.planning.checks import find
from flyte_build.planning.workspace import open_workspace
from flyte_build.store import Store
from tests.cli.test_checked import CALLER
from tests.support.offline import Offline
from tests.support.registry import RegistryServer

NOWHERE = "http://127.0.0.1:9/simple"

IMAGE = 'base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))\n'

# `Bio` is in a wheel that is not called so, in one layer with another wheel; `absent` is nowhere.
CALLEE = f"""
import flyte
import alpha
import Bio.Seq
try:
    import absent
except ImportError:
    absent = None
{IMAGE}
low = flyte.TaskEnvironment("low", image=base.with_pip_packages("alpha", "life-tools"))
@low.task
def work(x: int) -> int:
    return x
"""

ASKED_OF_IMAGES = {("GET", "manifest"): 2, ("GET", "blob"): 2}
"""Two images: their manifests, and their configurations."""


@pytest.fixture
def calls(offline: Offline, registry: RegistryServer) -> Offline:
    """`top` calls `low`, whose imports it lacks; both images are in a registry that is a shared cache, too."""
    (offline.project / "pyproject.toml").write_text(
        f'[tool.flyte-build]\nregistry = "{registry.host}/team"\ncache = ["{registry.host}/team/cache"]\n'
    )
    offline.publish("life-tools", files={"Bio/__init__.py": "", "Bio/Seq.py": ""}, metadata={"top_level.txt": "Bio\n"})
    offline.write(CALLEE, "callee.py")
    offline.write(CALLER, "caller.py")
    offline.ok("lock", "caller.py")
    offline.ok("push", "caller.py", "--no-check")
    return offline


def fresh(calls: Offline, registry: RegistryServer) -> None:
    """A new machine: an empty store; from now on is counted."""
    if calls.store.exists():
        shutil.rmtree(calls.store)
    registry.forget_requests()
    calls.index.asked.clear()


def counted(registry: RegistryServer) -> dict[tuple[str, str], int]:
    return dict(Counter((s.method, s.kind) for s in registry.requests))


def findings(calls: Offline) -> list[dict[str, Any]]:
    done = calls("plan", "caller.py", "--check", "--json")
    assert done.code == 10, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["findings"]
    return found


@pytest.mark.parametrize("reachable", [True, False])
def test_a_fresh_runner_finds_the_same_without_an_index(
    calls: Offline, registry: RegistryServer, reachable: bool
) -> None:
    fresh(calls, registry)
    (calls.project / "pyproject.toml").write_text("[tool.flyte-build]\n")
    with_index = findings(calls)
    assert calls.index.asked, "without a cache the index tells"
    assert registry.requests == []
    said = [f["message"] for f in with_index if f["severity"] == "error"]
    assert [m.partition("imports ")[2].partition(":")[0] for m in said] == ["Bio (life-tools 1.0)", "alpha (alpha 1.0)"]

    (calls.project / "pyproject.toml").write_text(
        f'[tool.flyte-build]\nregistry = "{registry.host}/team"\ncache = ["{registry.host}/team/cache"]\n'
    )
    fresh(calls, registry)
    if not reachable:
        calls.patch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    assert findings(calls) == with_index
    assert calls.index.asked == []
    # The runtime's layer, which both images have, and the one of alpha and life-tools: an entry and a listing each.
    assert counted(registry) == {("GET", "manifest"): 2 + 2, ("GET", "blob"): 2 + 2}

    fresh(calls, registry)
    refusal = calls.refused(10, "push", "caller.py")
    assert "whose module imports Bio (life-tools 1.0): " in refusal
    assert counted(registry) == {("GET", "manifest"): 2 + 2, ("GET", "blob"): 2 + 2}, "and nothing was sent"


def test_a_fresh_runner_pushes_without_an_index(calls: Offline, registry: RegistryServer) -> None:
    calls.write(CALLEE.replace("import alpha\nimport Bio.Seq\n", ""), "callee.py")
    calls.patch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    fresh(calls, registry)
    done = calls.ok("push", "caller.py")
    assert "not checked" not in done.err
    # Of the runtime's layer; that `absent` is nowhere in `low` takes the other layer's listing.
    assert counted(registry) == {
        ("GET", "manifest"): 2 + 2,
        ("GET", "blob"): 2 + 2,
        ("HEAD", "manifest"): 2,
        ("GET", "referrers"): 2,
    }
    assert registry.bytes_in() == 0
    assert not any((calls.store / "artifacts" / "sha256").iterdir())


def test_a_plan_without_check_asks_neither(calls: Offline, registry: RegistryServer) -> None:
    fresh(calls, registry)
    found = calls.ok("plan", "caller.py", "--json").json()["findings"]
    assert {f["code"] for f in found} == {"not-checked"}
    assert counted(registry) == ASKED_OF_IMAGES
    assert calls.index.asked == []


def test_the_stores_layers_tell_without_anybody(calls: Offline, registry: RegistryServer) -> None:
    calls.ok("build", "caller.py", "--no-check")
    shutil.rmtree(calls.store / "modules", ignore_errors=True)
    for path in (calls.store / "artifacts" / "sha256").iterdir():
        path.unlink()
    registry.forget_requests()
    calls.index.asked.clear()
    assert {f["code"] for f in findings(calls) if f["severity"] == "error"} == {"import-missing"}
    assert (registry.requests, calls.index.asked) == ([], [])


@pytest.fixture
def alone(calls: Offline, registry: RegistryServer) -> Offline:
    """No shared cache, and an empty store."""
    (calls.project / "pyproject.toml").unlink()
    fresh(calls, registry)
    return calls


def test_an_index_that_fails_is_asked_twice_in_all_and_it_is_said_once(alone: Offline) -> None:
    alone.index.failing["/simple/"] = repeat(503)
    alone.patch.setattr(sys, "path", list(sys.path))
    workspace = open_workspace(alone.project / "caller.py", stand_ins=True)
    for name in ("caller", "callee"):
        del sys.modules[name]
    said = Recorder()
    found = find(workspace, workspace.select(), Store(), reporter=said)
    assert [r.partition("?")[0] for r in alone.index.asked] == ["GET /simple/flyte/"] * 2
    assert {(f.severity, f.code) for f in found} == {("note", "not-checked")}
    assert len(said.warnings) == 1
    assert said.warnings[0].startswith("imports from flyte ")
    assert "were not checked, as nobody says what is in them: GET http://127.0.0.1:" in said.warnings[0]
    assert said.warnings[0].endswith("/simple/flyte/: 503 Service Unavailable (2 attempts)")


def test_without_a_network_a_check_is_a_matter_of_seconds_and_no_failure(alone: Offline) -> None:
    alone.patch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    started = time.monotonic()
    done = alone.ok("plan", "caller.py", "--check")
    assert time.monotonic() - started < 30
    assert "the contents of flyte " in done.out
    assert "checked: every call of 2 images is provided for" in done.out
