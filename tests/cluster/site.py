"""Where one cluster lives: its folder, its addresses, and what its node pretends to have.

Chosen by the first ``up`` among what is free, kept in ``site.json`` of the folder, and the same until ``down``. Two
clusters with folders of their own run beside each other.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["GPUS", "ClusterError", "Site", "default_home", "find_site", "read_site"]

GPUS = {"nvidia.com/gpu": 4, "amd.com/gpu": 2}
_FIRST_PORT, _PORTS, _SITES = 28440, 9, 50


class ClusterError(Exception):
    """What keeps the cluster from being as wished, in words for whoever wished it."""


def default_home() -> Path:
    """``FLYTE_BUILD_CLUSTER``, or a folder among the user's state (XDG Base Directory Specification)."""
    if given := os.environ.get("FLYTE_BUILD_CLUSTER"):
        return Path(given).absolute()
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "flyte-build-tests" / "cluster"


@dataclass(frozen=True)
class Site:
    """``number`` decides all addresses: ports on loopback, and the networks 10.231.NUMBER.0/24 (pods; .1 is this
    machine, .2 the node) and 10.232.NUMBER.0/24 (Services)."""

    home: Path
    number: int
    gpus: Mapping[str, int] = field(default_factory=lambda: dict(GPUS))

    def port(self, place: int) -> int:
        return _FIRST_PORT + _PORTS * self.number + place

    @property
    def api(self) -> str:
        return f"127.0.0.1:{self.port(0)}"

    @property
    def registry_port(self) -> int:
        return self.port(1)

    @property
    def registry(self) -> str:
        """Plain HTTP. Images are named by it, and the node finds it under this name too."""
        return f"127.0.0.1:{self.registry_port}"

    @property
    def s3_port(self) -> int:
        return self.port(2)

    @property
    def etcd(self) -> str:
        return f"127.0.0.1:{self.port(3)}"

    @property
    def etcd_peer(self) -> str:
        return f"127.0.0.1:{self.port(4)}"

    @property
    def controllers_port(self) -> int:
        return self.port(5)

    @property
    def scheduler_port(self) -> int:
        return self.port(6)

    @property
    def jobset(self) -> str:
        """Its admission, where it runs."""
        return f"127.0.0.1:{self.port(7)}"

    @property
    def kueue(self) -> str:
        """Its admission, where it runs."""
        return f"127.0.0.1:{self.port(8)}"

    @property
    def pods(self) -> str:
        return f"10.231.{self.number}.0/24"

    @property
    def gateway(self) -> str:
        """This machine as pods see it; any program that listens there is in their reach."""
        return f"10.231.{self.number}.1"

    @property
    def node(self) -> str:
        return f"10.231.{self.number}.2"

    @property
    def service_range(self) -> str:
        return f"10.232.{self.number}.0/24"

    @property
    def api_service(self) -> str:
        """What Kubernetes gives its own Service: the first address of the range."""
        return f"10.232.{self.number}.1"

    @property
    def link(self) -> str:
        return f"fbcluster{self.number}"

    @property
    def cgroup(self) -> str:
        return f"flyte-build-cluster-{self.number}"

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    @property
    def s3_endpoint(self) -> str:
        """The same for this machine and for pods."""
        return f"http://{self.gateway}:{self.s3_port}"

    def write(self) -> None:
        new = self.home / "site.json.new"
        new.write_text(json.dumps({**asdict(self), "home": str(self.home)}))
        new.rename(self.home / "site.json")


def read_site(home: Path) -> Site | None:
    """The site whose folder this is; ``None`` if no ``up`` was there."""
    try:
        known = json.loads((home / "site.json").read_text())
    except FileNotFoundError:
        return None
    return Site(Path(known["home"]), known["number"], known["gpus"])


def find_site(home: Path, gpus: Mapping[str, int] | None = None, number: int | None = None) -> Site:
    """A new site whose addresses nobody uses; ``number`` insists on one.

    :raises ClusterError: none is free, or there is no such number
    """
    if number is not None and number not in range(_SITES):
        raise ClusterError(f"expected a number from 0 to {_SITES - 1}, found {number}")
    taken = []
    for candidate in range(_SITES) if number is None else (number,):
        site = Site(home, candidate, dict(GPUS if gpus is None else gpus))
        if not (found := list(_in_use(site))):
            return site
        taken += found
    raise ClusterError(f"expected free addresses for a cluster, found in use: {', '.join(taken[:8])}")


def _in_use(site: Site) -> Iterator[str]:
    for place in range(_PORTS):
        try:
            socket.create_server(("127.0.0.1", site.port(place))).close()
        except OSError:
            yield f"127.0.0.1:{site.port(place)}"
    said = subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=True).stdout
    for link in json.loads(said):
        addresses = [row.get("local", "") for row in link.get("addr_info", ())]
        ours = tuple(f"{network.rpartition('.')[0]}." for network in (site.pods, site.service_range))
        if link.get("ifname") == site.link or any(a.startswith(ours) for a in addresses):
            yield f"the network link {link.get('ifname')}"
