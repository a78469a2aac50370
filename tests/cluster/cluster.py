"""The cluster: up, down, what runs of it, and what tests want of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path

import httpx

from . import configs
from .api import Api, condition, opened_api
from .build import build, cache_folder
from .certificates import make_certificates, write_kubeconfigs
from .cgroups import remove_cgroup
from .images import push_image
from .needs import cni_folder, lacking
from .node import UPLINK
from .processes import Processes, descendants, started
from .s3 import Store, make_bucket, read_store, write_store
from .site import ClusterError, Site, default_home, find_site, read_site

__all__ = ["Cluster"]

ROOT = Path(__file__).parents[2]
HOLLOW = "hollow"
_CONTROL = ("registry", "etcd", "apiserver", "controllers", "scheduler", "s3", "services", "node")


class Cluster:
    """The one in ``home``, whether it runs or not."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or default_home()
        self.processes = Processes(self.home)

    @cached_property
    def site(self) -> Site:
        """:raises ClusterError: no ``up`` was there"""
        if (site := read_site(self.home)) is None:
            raise ClusterError(f"expected a cluster in {self.home}, found none; `./dev cluster up` starts one")
        return site

    @property
    def store(self) -> Store:
        return read_store(self.site)

    @contextmanager
    def api(self) -> Iterator[Api]:
        with opened_api(self.site) as api:
            yield api

    # -- up ---------------------------------------------------------------------------------------------

    def up(
        self, gpus: Mapping[str, int] | None = None, number: int | None = None, say: Callable[[str], None] = print
    ) -> None:
        """Starts what does not run; returns once pods can be scheduled. ``gpus`` and ``number`` are for a new one.

        :raises ClusterError: the machine lacks something, or a part does not start
        """
        if missing := list(lacking(self.home)):
            raise ClusterError("\n".join(missing))
        programs = build(say)
        with _alone():
            if read_site(self.home) is None:
                if self.home.exists() and any(self.home.iterdir()):
                    raise ClusterError(f"expected {self.home} to be a cluster's folder or empty, found something else")
                self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
                find_site(self.home, gpus, number).write()
            self._start(programs)

    def _start(self, programs: Mapping[str, Path]) -> None:
        site, processes = self.site, self.processes
        make_certificates(site)
        write_kubeconfigs(site)
        configs.write_registry_config(site)
        line = configs.commands(site, programs)
        for name in ("registry", "etcd", "apiserver"):
            processes.start(name, line[name])
        processes.wait("registry", lambda: _answers(f"http://{site.registry}/v2/"))
        pause = push_image(site.registry, "pod", {"pod": programs["pod"].read_bytes()}, ["/pod"])
        cni = cni_folder()
        assert cni is not None
        configs.write_configs(site, pause, cni)
        (site.home / "pod-image").write_text(pause)
        self._start_node(programs["kube"])
        # By it the node reaches the API.
        processes.start("services", line["services"])
        with opened_api(site) as api:
            processes.wait("apiserver", api.ready)
            for name in ("controllers", "scheduler"):
                processes.start(name, line[name])
            write_store(site)
            processes.start("s3", line["s3"], self.store.root)
            processes.wait("s3", lambda: _answers(f"{site.s3_endpoint}/health"))
            make_bucket(self.store)
            processes.wait("node", lambda: self._node_ready(api))
            processes.wait("controllers", lambda: _exists(api, "/api/v1/namespaces/default/serviceaccounts/default"))
            processes.wait("scheduler", lambda: _healthy(f"https://127.0.0.1:{site.scheduler_port}/healthz"))
        for name in _CONTROL:
            if processes.pid(name) is None:
                raise ClusterError(f"{name} ended; {processes.tail(name)}")

    def _start_node(self, kube: Path) -> None:
        site = self.site
        command = ["unshare", "--mount", "--pid", "--fork", "--net", "--mount-proc", "--propagation=private"]
        command += ["--kill-child", sys.executable, "-m", "tests.cluster.node", str(self.home), str(kube)]
        if self.processes.start("node", command, {"PYTHONPATH": str(ROOT)}):
            # That of one that was killed goes by itself, but not at once.
            subprocess.run(["ip", "link", "delete", site.link], capture_output=True, check=False)
        pid = self.processes.pid("node")
        self.processes.wait("node", lambda: _network_of(pid) != _network_of(os.getpid()))
        if site.link not in [name for _, name in socket.if_nameindex()]:
            _ip("link", "add", site.link, "type", "veth", "peer", "name", UPLINK, "netns", str(pid))
        _ip("address", "replace", f"{site.gateway}/24", "dev", site.link)
        _ip("link", "set", site.link, "up")
        # Every address of a Service is this machine's own: `kube services` listens there.
        _ip("route", "replace", "local", site.service_range, "dev", site.link)

    def _node_ready(self, api: Api) -> bool:
        """And not only as the API remembers it of a node that was killed."""
        if not _exists(api, f"/api/v1/nodes/{configs.NODE}"):
            return False
        node = api.get(f"/api/v1/nodes/{configs.NODE}")
        ready = condition(node, "Ready")
        offered = node["status"].get("allocatable", {})
        return (
            ready.get("status") == "True"
            and _seconds(ready["lastHeartbeatTime"]) >= int(self._started("node"))
            and all(offered.get(name) == str(count) for name, count in self.site.gpus.items())
        )

    def _started(self, name: str) -> float:
        """When the process began, in seconds of the wall clock."""
        pid = self.processes.pid(name)
        ticks = started(pid) if pid is not None else None
        if ticks is None:
            raise ClusterError(f"{name} ended; {self.processes.tail(name)}")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        return time.time() - age

    # -- down -------------------------------------------------------------------------------------------

    def down(self) -> None:
        """Ends what ``up`` and others started and removes what it wrote; nothing if there is nothing.

        :raises ClusterError: a process does not end; all others have, and whoever asks again goes on from there
        """
        if read_site(self.home) is None:
            return
        with _alone():
            # Nothing is kept, so nothing has to be saved, and none waits for another's end.
            names = list(dict.fromkeys((HOLLOW, *reversed(_CONTROL), *self.processes.names())))
            for name in names:
                self.processes.kill(name)
            if wrong := [said for name in names if (said := self._still(name))]:
                raise ClusterError("\n".join(wrong))
            subprocess.run(["ip", "link", "delete", self.site.link], capture_output=True, check=False)
            handed = self.home / "controllers"
            remove_cgroup(self.site.cgroup, handed.read_text().split() if handed.exists() else ())
            shutil.rmtree(self.home)
        self.__dict__.pop("site", None)

    def _still(self, name: str) -> str:
        """What is said of a process that does not end."""
        try:
            self.processes.stop(name)
        except ClusterError as e:
            return str(e)
        return ""

    # -- what runs --------------------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """Part → process number, of all that run; those of the node by their names too."""
        found = {name: pid for name in self.processes.names() if (pid := self.processes.pid(name)) is not None}
        if node := found.get("node"):
            for pid, words in descendants(node):
                part = next((w for w in words[:2] if Path(w).name in ("containerd", "kubelet", "gpus")), None)
                if part is not None:
                    found.setdefault(Path(part).name, pid)
        return found

    def hollow(self, count: int, capacity: Mapping[str, int]) -> None:
        """So many hollow nodes with these devices each, instead of those there were; returns once they are known."""
        self.processes.stop(HOLLOW)
        with self.api() as api:
            api.delete("/api/v1/nodes?labelSelector=hollow%3Dtrue")
            if count:
                wanted = [f"{name}={number}" for name, number in capacity.items()]
                line = [str(build()["kube"]), "hollow", f"--kubeconfig={self.site.kubeconfig}", f"--count={count}"]
                self.processes.log(HOLLOW).unlink(missing_ok=True)
                self.processes.start(HOLLOW, [*line, *wanted])
                self.processes.wait(HOLLOW, lambda: f"{count} nodes after" in self.processes.log(HOLLOW).read_text())

    @property
    def pod_image(self) -> str:
        """By digest: the image of ``programs/kube/pod``."""
        return (self.site.home / "pod-image").read_text()


def _network_of(pid: int | None) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"`ip {' '.join(words)}` failed: {done.stderr.strip()}")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _healthy(url: str) -> bool:
    """Of a server that signed its own certificate, on loopback."""
    try:
        return httpx.get(url, timeout=5, trust_env=False, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def _exists(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except (httpx.HTTPStatusError, httpx.TransportError):
        return False
    return True


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


@contextmanager
def _alone() -> Iterator[None]:
    """Addresses are chosen, and a cluster is started and ended, by one at a time on this machine."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "clusters.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
