"""A clustered task: two pods that meet, in the image that the example's lock of `msa_env` has."""

import os
import socket
import time

import flyte
import flyte.clustered

env = flyte.clustered.ClusteredTaskEnvironment(
    name="msa_env",
    image=flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("pytest"),
    replicas=2,
    nproc_per_node=1,
    # One process a pod, with nothing that has to be installed beside.
    runtime=flyte.clustered.JaxRun(),
    failure_policy=flyte.clustered.ClusterFailurePolicy(max_restarts=1),
)


@env.task
async def meet() -> list[str]:
    """What each said to the first of them, once all were begun anew."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if os.environ["JOBSET_RESTART_ATTEMPT"] == "0":
        os._exit(3)
    print("rank", rank, flush=True)
    if rank:
        with _reached(where) as first:
            first.sendall(f"{rank} of {size}".encode())
        return []
    said = [f"{rank} of {size}"]
    with socket.create_server(("", where[1])) as server:
        while len(said) < size:
            other, _ = server.accept()
            with other:
                said.append(other.recv(100).decode())
    return said


def _reached(where: tuple[str, int]) -> socket.socket:
    """The first of them may come up last."""
    for _ in range(300):
        try:
            return socket.create_connection(where, 5)
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(where)
