"""What a cluster says of an attempt: the fault table, row by row, from the words that a real cluster used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.action import Outcome
from flyte_build.submit.kubernetes.sight import EVENTS, WAITING, Sight, look

Object = dict[str, Any]
JOB: Object = {"metadata": {"name": "j"}, "status": {"active": 1}}
LIMIT = 1800.0
ROOT = Path(__file__).parents[3]


def pod(phase: str = "Pending", *, node: str = "n1", **status: Any) -> Object:
    return {"metadata": {"name": "j-abcde", "creationTimestamp": "2026-11-29T10:00:00Z"},
            "spec": {"nodeName": node}, "status": {"phase": phase, **status}}  # fmt: skip


def waiting(reason: str, message: str = "", image: str = "r/x@sha256:1") -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(containerStatuses=[{"name": "primary", "image": image, "state": state}])


def terminated(phase: str, word: str, code: int, log: str = "", **status: Any) -> Object:
    state = {"terminated": {"reason": word, "exitCode": code, "message": log}}
    return pod(phase, containerStatuses=[{"name": "primary", "state": state}], **status)


def condition(kind: str, status: str = "True", **more: str) -> Object:
    return {"type": kind, "status": status, **more}


def job(*conditions: Object) -> Object:
    return {"metadata": {"name": "j"}, "status": {"conditions": list(conditions)}}


def event(reason: str, message: str = "") -> Object:
    return {"reason": reason, "message": message}


def seen(*pods: Object, events: tuple[Object, ...] = (), job: Object | None = JOB) -> Sight:
    return look(job, pods, events, unscheduled=LIMIT)


# -- on its way --------------------------------------------------------------------------------------


def test_before_there_is_a_pod() -> None:
    found = seen()
    assert (found.stage, found.line, found.patience) == ("waiting", "waits for its pod", LIMIT)


def test_no_node_has_room_and_the_schedulers_word_is_told() -> None:
    message = (
        "0/7 nodes are available: 7 Insufficient nvidia.com/gpu. preemption: 0/7 nodes are available: 7 No preemption"
    )
    found = seen(pod(node="", conditions=[condition("PodScheduled", "False", reason="Unschedulable", message=message)]))
    assert (found.stage, found.key, found.patience) == ("queued", "unschedulable", LIMIT)
    assert found.line == "queued: 0/7 nodes are available: 7 Insufficient nvidia.com/gpu"
    assert found.outcome == Outcome(
        1, "error", "no node took it: 0/7 nodes are available: 7 Insufficient nvidia.com/gpu", "Unschedulable"
    )
    assert not found.outcome.again, "what no node takes, none takes the next time"


def test_a_pull_and_a_run_are_seen() -> None:
    creating = waiting("ContainerCreating")
    assert seen(creating).line == "starts on n1"
    assert seen(creating, events=(event("Scheduled"), event("Pulling"))).line == "pulls its image on n1"
    running = pod("Running", containerStatuses=[{"name": "primary", "state": {"running": {}}}])
    assert (seen(running).stage, seen(running).line) == ("running", "running on n1")


def test_a_queue_says_why_it_waits() -> None:
    suspended: Object = {"metadata": {}, "spec": {"suspend": True}, "status": {}}
    assert seen(job=suspended).patience is None, "a queue may be long"
    preempted = pod("Failed", conditions=[condition("DisruptionTarget")])
    assert seen(preempted, job=suspended).stage == "queued", "it is to come again"
    told = event("Pending", "couldn't assign flavors: insufficient quota for nvidia.com/gpu")
    assert seen(job=suspended, events=(told,)).line == f"queued: {told['message']}"
    evicted = event("EvictedDueToPreempted", "Preempted to accommodate a workload of a higher priority")
    assert seen(job=suspended, events=(told, evicted)).line == f"queued again: {evicted['message']}"


# -- what never ends by itself -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "message", "code", "patience", "whose", "again"),
    [
        ("ErrImagePull", "rpc error: code = NotFound desc = not found", "ImagePullFailed", 15, "system", True),
        ("ImagePullBackOff", "Back-off pulling image", "ImagePullFailed", 15, "system", True),
        ("ErrImagePull", "rpc error: desc = 429 Too Many Requests", "ImagePullFailed", 180, "system", True),
        ("InvalidImageName", "couldn't parse image name", "InvalidImageName", 0, "system", False),
        ("CreateContainerConfigError", 'secret "x" not found', "CreateContainerConfigError", 0, "user", False),
        ("CreateContainerError", "context deadline exceeded", "CreateContainerError", 180, "system", True),
    ],
)  # fmt: skip
def test_a_container_that_waits_for_what_may_never_come(
    reason: str, message: str, code: str, patience: float, whose: str, again: bool
) -> None:
    found = seen(waiting(reason, message))
    assert found.stage == "starting"
    assert found.outcome is not None
    assert (found.outcome.code, found.patience) == (code, patience)
    assert (found.outcome.whose, found.outcome.again) == (whose, again)


def test_a_pull_says_why_whichever_of_its_two_words_is_up() -> None:
    why = 'rpc error: code = NotFound desc = failed to resolve reference "r/x@sha256:1": not found'
    said = event("Failed", f'Failed to pull image "r/x@sha256:1": {why}')
    line = 'its image r/x@sha256:1 cannot be pulled: failed to resolve reference "r/x@sha256:1": not found'
    first = seen(waiting("ErrImagePull", why), events=(said, event("Failed", "Error: ErrImagePull")))
    second = seen(
        waiting("ImagePullBackOff", "Back-off pulling image"), events=(said, event("Failed", "Error: ErrImagePull"))
    )
    assert (first.line, second.line) == (line, line)
    assert first.key == second.key, "it is one wait, and its time goes on"


@pytest.mark.parametrize(
    ("reason", "whose", "again", "patience"),
    [("FailedMount", "user", False, 60.0), ("FailedCreatePodSandBox", "system", True, 60.0)],
)
def test_what_only_events_say(reason: str, whose: str, again: bool, patience: float) -> None:
    found = seen(waiting("ContainerCreating"), events=(event("Scheduled"), event(reason, "it is so")))
    assert found.outcome is not None
    assert (found.line, found.patience) == (f"{reason}: it is so", patience)
    assert (found.outcome.whose, found.outcome.again) == (whose, again)


def test_a_pod_that_cannot_even_be_made() -> None:
    forbidden = event("FailedCreate", 'pods "j-" is forbidden: error looking up service account ns/x: not found')
    found = seen(events=(forbidden,))
    assert (found.patience, found.outcome and found.outcome.code) == (20.0, "PodNotCreated")
    quota = event(
        "FailedCreate", 'pods "j-1" is forbidden: exceeded quota: q, requested: requests.nvidia.com/gpu=4, used'
    )
    found = seen(events=(quota,))
    assert (found.stage, found.patience) == ("queued", LIMIT)
    assert found.line == "quota: q, requested: requests.nvidia.com/gpu=4, used"


def test_init_containers_are_looked_at_first() -> None:
    both = waiting("PodInitializing")
    both["status"]["initContainerStatuses"] = [
        {"name": "prepare", "image": "r/y", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    ]
    assert seen(both).line == "its image r/y cannot be pulled: not found"


def test_the_documentation_says_the_same() -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| `\w+` \| \d+ s \|", line)]
    told = {reason.strip("`"): tuple(rest) for reason, *rest in rows}
    known = {**WAITING, **EVENTS}
    assert told == {
        reason: (f"{t.patience:.0f} s", f"`{t.code}`", t.whose, "yes" if t.again else "no")
        for reason, t in known.items()
    }


# -- how it ends ---------------------------------------------------------------------------------------


def test_success_is_what_job_or_pod_say() -> None:
    assert seen(terminated("Succeeded", "Completed", 0)).outcome == Outcome(0)
    assert seen(job=job(condition("Complete"))).outcome == Outcome(0)


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (terminated("Failed", "Error", 3, "the end of the log"), Outcome(3, message="the end of the log")),
        (terminated("Failed", "OOMKilled", 137), Outcome(137, "oom", "killed for memory: more than its limit")),
        (terminated("Succeeded", "OOMKilled", 0), Outcome(137, "oom", "killed for memory: more than its limit")),
        (
            terminated("Failed", "Error", 137, reason="DeadlineExceeded", message="Pod was active too long"),
            Outcome(137, "timeout", "Pod was active too long"),
        ),
        (
            terminated("Failed", "Error", 137, reason="Evicted", message="Pod ephemeral local storage usage exceeds"),
            Outcome(137, "disk", "Pod ephemeral local storage usage exceeds"),
        ),
    ],
)  # fmt: skip
def test_a_task_that_ended_by_its_own_doing(ended: Object, outcome: Outcome) -> None:
    found = seen(ended)
    assert (found.stage, found.outcome) == ("ended", outcome)


def test_a_program_that_is_not_there_is_not_tried_again() -> None:
    found = seen(terminated("Failed", "StartError", 128, "exec: a0: no such file"))
    message = "cannot be started: exec: a0: no such file"
    assert found.outcome == Outcome(128, "error", message, "StartError", "user", again=False)


@pytest.mark.parametrize(
    ("job_now", "pods"),
    [
        (JOB, [pod("Running", conditions=[condition("DisruptionTarget", reason="EvictionByEvictionAPI")])]),
        (JOB, [pod("Failed", reason="Evicted", message="The node was low on resource: memory")]),
        (JOB, [pod("Failed", reason="NodeShutdown", message="node is shutting down")]),
        (JOB, [pod("Failed")]),
        (job(condition("FailureTarget")), [pod("Running", containerStatuses=[{"state": {"running": {}}}])]),
        (job(condition("Failed", reason="BackoffLimitExceeded")), []),
        (None, []),
    ],
    ids=["evicted by the API", "pressure", "shutdown", "no word", "lost node", "pod gone", "Job gone"],
)
def test_what_was_taken_from_it_is_tried_again_and_not_counted(job_now: Object | None, pods: list[Object]) -> None:
    found = seen(*pods, job=job_now)
    assert found.stage == "ended"
    assert found.outcome is not None
    assert (found.outcome.reason, found.outcome.code) == ("lost", "Interrupted")


def test_a_pod_that_is_told_to_end_did_not_fail_of_itself() -> None:
    found = pod("Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 2, "reason": "Error"}}}])
    assert seen(found).outcome == Outcome(2)
    found["metadata"]["deletionTimestamp"] = "now"
    outcome = seen(found).outcome
    assert outcome is not None
    assert (outcome.reason, outcome.code) == ("lost", "Interrupted")


def test_what_nodes_have_too_little_of_is_told_with_what_it_asks_for() -> None:
    message = "0/3 nodes are available: 2 Insufficient nvidia.com/gpu, 3 Insufficient memory. preemption: none"
    found = pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": message}])
    limits = {"nvidia.com/gpu": "4", "cpu": "1"}
    found["spec"] = {"containers": [{"resources": {"limits": limits, "requests": {**limits, "memory": "9Gi"}}}]}
    assert seen(found).line == (
        "queued: 0/3 nodes are available: 2 Insufficient nvidia.com/gpu, 3 Insufficient memory; it asks for "
        "4 of nvidia.com/gpu, 9.0Gi of memory"
    )


def test_the_latest_pod_counts() -> None:
    old = pod("Failed", conditions=[condition("DisruptionTarget")])
    new = pod("Running", containerStatuses=[{"state": {"running": {}}}])
    new["metadata"]["creationTimestamp"] = "2026-11-29T10:00:09Z"
    assert seen(new, old).stage == "running"
