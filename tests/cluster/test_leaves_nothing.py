"""A second cluster beside the first: what it changes of the machine while it runs, and that nothing of it is left."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cluster.cgroups import cgroups
from tests.cluster.cluster import Cluster
from tests.cluster.jobs import Space
from tests.cluster.node import FOLDERS, SETTINGS
from tests.cluster.processes import started
from tests.cluster.status import report

pytestmark = pytest.mark.integration


def machine() -> dict[str, object]:
    """What the parts of Kubernetes would change if they could."""
    places = {name: sorted(p.name for p in Path(name).iterdir()) if Path(name).is_dir() else [] for name in FOLDERS}
    settings = [*SETTINGS, "net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet"]
    values = {name: Path("/proc/sys", name).read_text() for name in settings if Path("/proc/sys", name).exists()}
    return {"folders": places, "settings": values}


def mentioning(home: Path) -> list[int]:
    """Processes that were started with this folder among their words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(home).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_two_side_by_side_and_nothing_is_left_of_one(cluster: Cluster, space: Space, other_home: Path) -> None:
    before = machine()
    other = Cluster(other_home)
    other.up({"amd.com/gpu": 1}, say=print)
    site, pids = other.site, other.pids()
    assert site.number != cluster.site.number
    assert report(other)["healthy"]
    assert machine() == before
    with other.api() as api:
        api.until("/api/v1/namespaces/default/serviceaccounts", lambda _: True, name="default")
        assert Space(api, "default", other.pod_image).log("here", "print=here") == ["here"]
        assert "nvidia.com/gpu" not in api.get("/api/v1/nodes/node")["status"]["allocatable"]
    other.hollow(1, {})
    pids |= other.pids()
    groups = list(cgroups(site.cgroup))
    assert groups
    assert all(group.is_dir() for group in groups)

    other.down()
    other.down()
    assert [name for name, pid in pids.items() if started(pid) is not None] == []
    assert mentioning(other_home) == []
    assert str(other_home) not in Path("/proc/self/mountinfo").read_text()
    assert site.link not in [name for _, name in socket.if_nameindex()]
    routes = subprocess.run(["ip", "-j", "route", "show", "table", "all"], capture_output=True, check=True).stdout
    networks = (site.pods.rpartition(".")[0], site.service_range.rpartition(".")[0])
    assert [r["dst"] for r in json.loads(routes) if r["dst"].startswith(networks)] == []
    assert [group for group in groups if group.exists()] == []
    assert not other_home.exists()
    assert machine() == before
    assert not report(other)["healthy"]
    assert report(cluster)["healthy"], "the first one goes on"
    assert space.log("still", "print=there") == ["there"]
