"""A run on a cluster that this process drives, for clusters whose pods reach this machine. When it ends, by whatever,
nothing of it is left in the cluster."""

from __future__ import annotations

from ..ended import RunResult
from ..loop import run_apart
from ..observer import Observer
from ..service import serve_on
from . import reading
from .api import ApiError, Cluster
from .drive import ClusterRun, drive
from .endpoint import SECRETS, context_of, listen, make_endpoint, new_token, owner_of
from .mirror import Mirror
from .submission import Submission
from .target import Target

__all__ = ["run_here"]


def run_here(
    submission: Submission, target: Target, cluster: Cluster, mirror: Mirror, observer: Observer, address: str | None
) -> RunResult:
    """Drive a run that is in the storage to its end; a task's failure is a result.

    ``address``: by what pods reach this machine (see ``endpoint.listen``). An interrupt aborts every action, and goes
    on as ``KeyboardInterrupt``. Raises :class:`InputError`, :class:`RunError`.
    """
    listener = listen(address, cluster)
    host, port = listener.getsockname()[:2]
    token = new_token()
    try:
        secret = make_endpoint(cluster, submission.run, host, port, token, tls=target.tls)
    except BaseException:
        listener.close()
        raise
    name, tls = secret["metadata"]["name"], context_of(secret)
    run = ClusterRun(submission, target, cluster, mirror, name, owner_of(secret))

    async def go() -> RunResult:
        await drive(run, observer, lambda service: serve_on(service, listener, token, tls))
        return await reading.result(mirror, await reading.read_run(mirror, submission.run))

    try:
        return run_apart(go())
    finally:
        listener.close()
        try:
            # The Jobs are its own, and go with it.
            cluster.delete(SECRETS, name)
        except ApiError as e:
            observer.warn(f"what was made for the run is left in namespace {cluster.namespace}: {e.message}")
