"""``./dev cluster``: the cluster by hand."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from .addons import add_jobset, add_kueue
from .build import build
from .cluster import Cluster
from .site import GPUS, ClusterError
from .status import report, table

ABOUT = "A real Kubernetes on this machine, for tests; see CONTRIBUTING.md. FLYTE_BUILD_CLUSTER: its folder."


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("./dev cluster", description=ABOUT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start it, or what of it does not run; prints how to reach it")
    given = " ".join(f"{name}={count}" for name, count in GPUS.items())
    up.add_argument("--gpus", metavar="NAME=COUNT", nargs="*", type=_amount, help=f"of a new one (default: {given})")
    up.add_argument("--number", type=int, help="decides the addresses of a new one (default: the first free)")
    commands.add_parser("down", help="end what up started, and remove what it wrote")
    status = commands.add_parser("status", help="what runs; exit code 1 if something does not")
    status.add_argument("--json", action="store_true")
    commands.add_parser("build", help="only build its programs, and print where they are")
    hollow = commands.add_parser("hollow", help="add nodes that only say that they run what they are given")
    hollow.add_argument("count", type=int, help="0: none any more")
    hollow.add_argument("capacity", metavar="NAME=COUNT", nargs="*", type=_amount)
    commands.add_parser("jobset", help="add JobSet: its definition, controllers and admission")
    commands.add_parser("kueue", help="add Kueue for Jobs and JobSets: definitions, scheduler, controllers, admission")
    kubectl = commands.add_parser("kubectl", help="of the same version", add_help=False)
    kubectl.add_argument("words", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    try:
        return _do(chosen)
    except ClusterError as e:
        print(f"cluster: {e}".replace("\n", "\ncluster: "), file=sys.stderr)
        return 1


def _do(chosen: argparse.Namespace) -> int:
    cluster = Cluster()
    match chosen.command:
        case "build":
            for name, path in build(_say).items():
                print(name, path)
        case "up":
            cluster.up(dict(chosen.gpus) if chosen.gpus is not None else None, chosen.number, _say)
            print(table(report(cluster)))
            print(f"export KUBECONFIG={cluster.site.kubeconfig}")
        case "down":
            cluster.down()
        case "status":
            found = report(cluster)
            print(json.dumps(found, indent=2) if chosen.json else table(found))
            return 0 if found["healthy"] else 1
        case "hollow":
            cluster.hollow(chosen.count, dict(chosen.capacity))
        case "jobset" | "kueue":
            with cluster.api() as api:
                (add_jobset if chosen.command == "jobset" else add_kueue)(cluster, api)
        case "kubectl":
            kube = str(build(_say)["kube"])
            environ = {**os.environ, "KUBECONFIG": str(cluster.site.kubeconfig)}
            sys.stdout.flush()
            os.execve(kube, [kube, "kubectl", *chosen.words], environ)
    return 0


def _say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


def _amount(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    if "/" not in name or not count.isdigit():
        raise argparse.ArgumentTypeError(f"expected NAME=COUNT such as nvidia.com/gpu=4, found `{text}`")
    return name, int(count)


if __name__ == "__main__":
    # As an exception it leaves nothing half-done: a build ends its compilers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
