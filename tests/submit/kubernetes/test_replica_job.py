"""The Job of a replica, made of an attempt's."""

from __future__ import annotations

import json

from flyte_build.submit.kubernetes.replica_job import named, replica_job

from .test_pod import made, spec_of


def test_the_job_of_a_replica_has_nothing_of_an_action() -> None:
    env = {"ACTION_NAME": "a1", "FLYTE_ATTEMPT_NUMBER": "0", "RUN_NAME": "r1"}
    attempt = made(spec_of(), env={**env, "_U_EP_OVERRIDE": "$(ADDRESS)/as/a1"}, timeout=60.0)
    job = replica_job(attempt, "primary", "program")
    assert job is not None
    other = made(
        spec_of(),
        env={**env, "ACTION_NAME": "a2", "_U_EP_OVERRIDE": "$(ADDRESS)/as/a2"},
        timeout=5.0,
        args=("a0", "other"),
    )
    assert replica_job(other, "primary", "program") == job
    pod = job["spec"]["template"]["spec"]
    assert "activeDeadlineSeconds" not in pod
    (main,) = pod["containers"]
    assert {v["name"]: v["value"] for v in main["env"]} == {"RUN_NAME": "r1", "_U_EP_OVERRIDE": "$(ADDRESS)"}
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels == {
        "run": "r1", "app.kubernetes.io/managed-by": "flyte-build", "app.kubernetes.io/component": "replica",
    }  # fmt: skip
    own = named(job, "primary", "it")
    assert own["metadata"]["name"] == "it"
    assert json.loads(own["spec"]["template"]["spec"]["containers"][0]["args"][0])["name"] == "it"
    attempt["spec"]["template"]["spec"]["containers"][0]["command"] = ["mine"]
    assert replica_job(attempt, "primary", "program") is None
