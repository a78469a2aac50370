"""What the cluster's parts are told: command lines and configuration files, from the site's addresses alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .certificates import folder
from .site import Site

__all__ = ["NODE", "commands", "write_configs"]

NODE = "node"
# Where these have their sockets is part of other programs: the node has folders of its own in these places.
CONTAINERD = "/run/containerd/containerd.sock"
_DNS_PORT = 53


def commands(site: Site, programs: Mapping[str, Path]) -> dict[str, list[str]]:
    """Name → command line of every part that runs on this machine itself, in the order of their start."""
    kube, keys, config = str(programs["kube"]), folder(site), str(site.kubeconfig)
    etcd, peer = f"http://{site.etcd}", f"http://{site.etcd_peer}"
    quick = ("--kube-api-qps=500", "--kube-api-burst=1000", "--leader-elect=false", "--profiling=false")
    return {
        "registry": ["docker-registry", "serve", str(site.home / "configs" / "registry.json")],
        "etcd": [
            *(kube, "etcd", f"--data-dir={site.home / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
            *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}"),
            *(f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
        ],
        "apiserver": [
            *(kube, "apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={site.port(0)}"),
            # An endpoint on loopback is none to Kubernetes: its Service is answered by `kube services`.
            *("--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"),
            *(f"--client-ca-file={keys / 'authority.crt'}", f"--tls-cert-file={keys / 'server.crt'}"),
            *(f"--tls-private-key-file={keys / 'server.key'}", "--kubelet-preferred-address-types=InternalIP"),
            f"--kubelet-certificate-authority={keys / 'authority.crt'}",
            f"--kubelet-client-certificate={keys / 'admin.crt'}",
            f"--kubelet-client-key={keys / 'admin.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys / 'accounts.key'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            f"--service-cluster-ip-range={site.service_range}",
            *("--authorization-mode=Node,RBAC", "--allow-privileged", "--profiling=false"),
        ],
        "controllers": [
            *(kube, "controllers", f"--kubeconfig={config}", "--bind-address=127.0.0.1", *quick),
            *(f"--secure-port={site.controllers_port}", "--concurrent-job-syncs=20"),
            f"--service-account-private-key-file={keys / 'accounts.key'}",
            f"--root-ca-file={keys / 'authority.crt'}",
        ],
        "scheduler": [
            *(kube, "scheduler", f"--kubeconfig={config}", "--bind-address=127.0.0.1", *quick),
            f"--secure-port={site.scheduler_port}",
        ],
        **{
            name: [str(programs[name]), f"--kubeconfig={config}", f"--admission={address}", f"--certificates={keys}"]
            for name, address in (("jobsets", site.jobset), ("queues", site.kueue))
        },
        "s3": [
            *(str(programs["s3"]), "--region=us-east-1", "--health=/health", "--quiet"),
            *(f"--port=127.0.0.1:{site.s3_port}", f"--port={site.gateway}:{site.s3_port}"),
            *("posix", str(site.home / "s3")),
        ],
        "services": [
            *(kube, "services", f"--kubeconfig={config}", f"--api={site.api}", f"--dns={site.gateway}:{_DNS_PORT}"),
            *(f"--relay={site.gateway}:443={site.api}", f"--relay={site.gateway}:{site.registry_port}={site.registry}"),
        ],
    }


def write_configs(site: Site, pause: str, cni: Path) -> None:
    """The files of ``home/configs``. ``pause`` is the image that holds a pod's namespaces; ``cni`` has the plug-ins."""
    configs = site.home / "configs"
    for name, content in {
        "kubelet.json": _kubelet(site),
        "cni/pods.conflist": _network(site),
        "containerd.toml": _containerd(site, pause, cni),
    }.items():
        (configs / name).parent.mkdir(parents=True, exist_ok=True)
        (configs / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=1))


def write_registry_config(site: Site) -> None:
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(site.home / "registry")}, "delete": {"enabled": True}},
        "http": {"addr": site.registry},
    }
    (site.home / "configs").mkdir(exist_ok=True)
    (site.home / "configs" / "registry.json").write_text(json.dumps(config, indent=1))


def _kubelet(site: Site) -> dict[str, object]:
    """https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/"""
    keys = folder(site)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": site.node,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(keys / "authority.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(keys / "server.crt"),
        "tlsPrivateKeyFile": str(keys / "server.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{site.cgroup}",
        # Kubernetes 1.35 starts no kubelet on a machine of cgroup v1 without it.
        "failCgroupV1": False,
        "podLogsDir": str(site.home / "node" / "logs"),
        "volumePluginDir": str(site.home / "node" / "plugins"),
        "clusterDNS": [site.gateway],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "makeIPTablesUtilChains": False,
        "failSwapOn": False,
        # A sandbox may not make a process less likely to be killed than it is.
        "oomScoreAdj": 0,
        "maxPods": 200,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        # By default ten seconds pass until the API knows of a device.
        "nodeStatusUpdateFrequency": "1s",
        # By default shares of the disk, of which a large one that is mostly used has plenty left.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1Gi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1Gi",
        },
    }


def _network(site: Site) -> dict[str, object]:
    """All pods on one bridge with this machine (https://www.cni.dev/plugins/current/main/bridge/)."""
    first = site.pods.replace(".0/24", ".16")
    addresses = {
        "type": "host-local",
        "dataDir": str(site.home / "node" / "addresses"),
        "ranges": [[{"subnet": site.pods, "rangeStart": first, "gateway": site.gateway}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": False, "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _containerd(site: Site, pause: str, cni: Path) -> str:
    """Version 2 of the file is read by containerd 1.6 to 2."""
    unused = ["internal.v1.opt", "tracing.processor.v1.otlp"]
    unused += [f"snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
    disabled = json.dumps([f"io.containerd.{name}" for name in unused])
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""\
version = 2
root = "{site.home / "node" / "containerd"}"
state = "/run/containerd/state"
disabled_plugins = {disabled}
[grpc]
address = "{CONTAINERD}"
[{cri}]
sandbox_image = "{pause}"
netns_mounts_under_state_dir = true
restrict_oom_score_adj = true
stream_server_address = "127.0.0.1"
[{cri}.cni]
bin_dir = "{cni}"
conf_dir = "{site.home / "configs" / "cni"}"
"""
