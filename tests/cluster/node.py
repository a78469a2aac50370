"""The node: process 1 of namespaces of its own, in which containerd, the kubelet and the fake GPUs run.

``tests.cluster.cluster`` starts it by ``unshare``. Whatever they change under a name that is fixed, or in the network,
they change here: the machine keeps its kernel settings, its firewall and its folders. With process 1 all ends.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .cgroups import make_cgroup
from .configs import CONTAINERD, NODE
from .site import Site, read_site

UPLINK = "uplink"
BRIDGE = "pods"
FOLDERS = ("/var/lib/kubelet", "/run/containerd", "/var/lib/cni", "/var/log/containers")
# Of these the kernel has one each for all. What the kubelet writes (its cm/container_manager_linux.go) goes to a file.
SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
_PATIENCE = 60


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def own_places(site: Site) -> None:
    """Folders and settings of the node's in the place of the machine's, in this mount namespace only."""
    for folder in FOLDERS:
        ours = site.home / "node" / "folders" / folder.lstrip("/")
        ours.mkdir(parents=True, exist_ok=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", str(ours), folder)
    Path(CONTAINERD).unlink(missing_ok=True)
    for setting, value in SETTINGS.items():
        file = site.home / "node" / "settings" / setting
        if not (place := Path("/proc/sys") / setting).exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        run("mount", "--bind", str(file), str(place))
    # Volumes that are mounted for a container have to show in it.
    run("mount", "--make-rshared", "/")


def own_network(site: Site) -> None:
    """A bridge for the pods, with this end of the link to the machine on it."""
    until(lambda: UPLINK in [name for _, name in socket.if_nameindex()], "the link to the machine")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "link", "set", UPLINK, "master", BRIDGE, "up")
    run("ip", "address", "add", f"{site.node}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "route", "add", "default", "via", site.gateway)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {what} within {_PATIENCE} s")
        time.sleep(0.02)


def start(site: Site, name: str, command: Sequence[str]) -> int:
    with (site.home / "logs" / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid


def main(home: Path, kube: str) -> str:
    site = read_site(home)
    assert site is not None
    own_places(site)
    own_network(site)
    if controllers := make_cgroup(site.cgroup):
        (home / "controllers").write_text(" ".join(controllers))
    configs = site.home / "configs"
    parts = {start(site, "containerd", ["containerd", "--config", str(configs / "containerd.toml")]): "containerd"}
    until(lambda: Path(CONTAINERD).exists(), "containerd's socket")
    kubelet = [kube, "kubelet", f"--config={configs / 'kubelet.json'}", f"--hostname-override={NODE}"]
    kubelet += [f"--kubeconfig={site.home / 'kubeconfig.node'}", f"--node-ip={site.node}"]
    parts[start(site, "kubelet", kubelet)] = "kubelet"
    wanted = [f"{name}={count}" for name, count in site.gpus.items()]
    relay = f"--relay={site.registry}={site.gateway}:{site.registry_port}"
    parts[start(site, "gpus", [kube, "gpus", relay, *wanted])] = "gpus"
    while True:
        # Orphans come here too: the shims of containers, among others.
        pid, status = os.wait()
        if pid in parts:
            return json.dumps({"ended": parts[pid], "status": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
