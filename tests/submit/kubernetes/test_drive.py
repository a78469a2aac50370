"""A run's driver over an API and an object store of our own: whole runs, and drivers that begin in their middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import obstore
import pytest
from flyteidl2.task import common_pb2
from obstore.store import MemoryStore

from flyte_build.kernel.errors import InputError
from flyte_build.submit.action import Phase, RootAction
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.kubernetes import drive as driving
from flyte_build.submit.kubernetes import launcher, reading
from flyte_build.submit.kubernetes.drive import ClusterRun, drive, storage_env
from flyte_build.submit.kubernetes.endpoint import listen, make_endpoint, token_of
from flyte_build.submit.kubernetes.here import run_here
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.names import job_name
from flyte_build.submit.kubernetes.needs import Needs
from flyte_build.submit.kubernetes.pod import Place
from flyte_build.submit.kubernetes.straight import Straight
from flyte_build.submit.kubernetes.submission import Submission, store_submission
from flyte_build.submit.kubernetes.target import Target
from flyte_build.submit.kubernetes.watching import JOBS
from flyte_build.submit.observer import Collector
from flyte_build.submit.service import Service
from tests.support.apiserver import NAMESPACE, ApiServer, Bad

from .test_pod import DIGEST, IMAGE, spec_of

SECRETS = "v1/secrets"
TARGET = Target("prod", Place(NAMESPACE, storage_secret="keys"), "s3://bucket/base")
JOB = job_name("r1", "a0", 1)
NEEDS = {DIGEST: Needs(("linux/arm64",), "12.4")}


class Hand:
    """Plays controller, kubelet and task: every Job's pod succeeds at once, and leaves outputs."""

    def __init__(self, api: ApiServer, mirror: Mirror) -> None:
        self.api = api
        self.mirror = mirror
        self.ran: list[str] = []
        self._closing = False
        self._thread = threading.Thread(target=self._play)

    def _play(self) -> None:
        done: set[str] = set()
        with self.api.changed:
            while not self._closing:
                for name, job in list(self.api.objects.get(JOBS, {}).items()):
                    if name not in done and self.ready(name):
                        done.add(name)
                        self.run(name, job["metadata"]["labels"])
                self.api.changed.wait(0.05)

    def ready(self, name: str) -> bool:
        """Whether its turn has come."""
        return True

    def run(self, name: str, labels: Mapping[str, str]) -> None:
        self.ran.append(name)
        place = f"{labels['run']}/meta/{labels['action']}/{labels['attempt']}"
        obstore.put(self.mirror.store, f"{place}/outputs.pb", common_pb2.Outputs().SerializeToString() + b"\x0a\x00")
        state = {"terminated": {"reason": "Completed", "exitCode": 0}}
        self.api.pod(name, "Succeeded", containerStatuses=[{"name": "primary", "state": state}])

    def __enter__(self) -> Hand:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        with self.api.changed:
            self.api.changed.notify_all()
        self._thread.join()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore())


@pytest.fixture
def hand(api: ApiServer, mirror: Mirror) -> Iterator[Hand]:
    with Hand(api, mirror) as made:
        yield made


@pytest.fixture
def submission(mirror: Mirror, tmp_path: Path) -> Submission:
    bundle = tmp_path / "code.tgz"
    with tarfile.open(bundle, "w:gz"):
        pass
    root = RootAction(spec_of(), common_pb2.Inputs().SerializeToString(), bundle, "gpu", "gpu.train")
    return asyncio.run(
        store_submission(mirror, "r1", ("prod", {}), root, {"gpu": IMAGE}, inline={}, invocation={}, needs=NEEDS)
    )[0]  # fmt: skip


@asynccontextmanager
async def _unserved(_: Service) -> AsyncIterator[None]:
    yield


def _drive(api: ApiServer, mirror: Mirror, submission: Submission, observer: Collector) -> ActionRecord:
    cluster = api.cluster(sleep=lambda _: None)
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}
    run = ClusterRun(submission, TARGET, cluster, mirror, "endpoint", owner)
    return asyncio.run(asyncio.wait_for(drive(run, observer, _unserved), 60))[0]


def test_a_run_from_the_storage_to_its_end(api: ApiServer, mirror: Mirror, hand: Hand, submission: Submission) -> None:
    observer = Collector()
    record = _drive(api, mirror, submission, observer)
    assert (record.phase, record.error) == (Phase.SUCCEEDED, None)
    assert record.output_uri == "s3://bucket/base/r1/kept/a0/1"
    assert observer.lines[-1] == ("a0", 1, "succeeded")
    run = asyncio.run(reading.read_run(mirror, "r1"))
    assert (run.phase, run.running, [a.phase for a in run.actions]) == (Phase.SUCCEEDED, False, [Phase.SUCCEEDED])
    job = api.objects[JOBS][JOB]
    assert job["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u"}]
    (main,) = job["spec"]["template"]["spec"]["containers"]
    assert main["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert '"kubernetes.io/arch", "operator": "In", "values": ["arm64"]' in json.dumps(job), "as its image needs"


def test_a_driver_that_comes_after_the_end_does_nothing(
    api: ApiServer, mirror: Mirror, hand: Hand, submission: Submission
) -> None:
    first = _drive(api, mirror, submission, Collector())
    again = _drive(api, mirror, submission, Collector())
    assert again == first
    assert hand.ran == [JOB]


def test_a_driver_that_was_killed_is_followed_by_one_that_adopts_its_jobs(
    api: ApiServer, mirror: Mirror, submission: Submission
) -> None:
    """As the first left it: the journal says that the second attempt runs, its Job is there, and so is its pod."""
    running = ActionRecord(
        "a0", task="gpu.train", phase=Phase.RUNNING, attempt=2, retry=1, image=DIGEST, bundle=submission.bundle
    )
    entries = b"".join(json.dumps(e).encode() + b"\n" for e in ({"action": running.to_json()},))
    obstore.put(mirror.store, "r1/journal/000001-000001.jsonl", entries)
    obstore.put(mirror.store, "r1/raw/a0/1/_flytecheckpoints/x", b"c")
    name = job_name("r1", "a0", 2)
    labels = {"run": "r1", "action": "a0", "attempt": "2"}
    api.put(JOBS, {"metadata": {"name": name, "uid": "first", "labels": labels}, "spec": {}})
    with Hand(api, mirror) as hand:
        record = _drive(api, mirror, submission, Collector())
    assert (record.phase, record.attempt) == (Phase.SUCCEEDED, 2)
    assert hand.ran == [name]
    assert api.objects[JOBS][name]["metadata"]["uid"] == "first", "it was not made again"
    assert (mirror.runs / "r1" / "raw" / "a0" / "1" / "_flytecheckpoints").is_dir(), "the next attempt is told of it"


def test_an_attempt_whose_job_is_gone_and_that_left_its_word_does_not_run_again(
    api: ApiServer, mirror: Mirror, submission: Submission
) -> None:
    running = ActionRecord("a0", task="gpu.train", phase=Phase.RUNNING, attempt=1, image=DIGEST)
    line = json.dumps({"action": running.to_json()}).encode() + b"\n"
    obstore.put(mirror.store, "r1/journal/000001-000001.jsonl", line)
    obstore.put(mirror.store, "r1/meta/a0/1/outputs.pb", common_pb2.Outputs().SerializeToString() + b"\x0a\x00")
    assert _drive(api, mirror, submission, Collector()).phase is Phase.SUCCEEDED
    assert api.objects.get(JOBS, {}) == {}


def test_an_api_that_does_not_answer_is_waited_for(
    api: ApiServer, mirror: Mirror, hand: Hand, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(driving, "Straight", partial(Straight, sleep=lambda _: asyncio.sleep(0)))
    refused = iter([Bad(503, "ServiceUnavailable"), Bad(0)] * 12)
    monkeypatch.setattr(api, "bad", lambda method, kind, _: next(refused, None) if method == "POST" else None)
    observer = Collector()
    assert _drive(api, mirror, submission, observer).phase is Phase.SUCCEEDED
    assert any(line.startswith("the cluster's API does not answer: ") for _, _, line in observer.lines)
    assert hand.ran == [JOB]


def test_a_run_that_is_driven_from_here_leaves_nothing(
    api: ApiServer, mirror: Mirror, hand: Hand, submission: Submission
) -> None:
    ended = run_here(submission, TARGET, api.cluster(sleep=lambda _: None), mirror, Collector(), "127.0.0.1")
    assert (ended.phase, ended.target) == (Phase.SUCCEEDED, "prod")
    assert ended.outputs is not None
    assert api.objects[SECRETS] == {}
    secrets = [value for _, kind, what, value in api.log if kind == SECRETS and what == "ADDED"]
    jobs = [value for _, kind, what, value in api.log if kind == JOBS and what == "ADDED"]
    token = secrets[0]["stringData"]["endpoint"].rpartition("/")[2]
    assert jobs[0]["metadata"]["ownerReferences"][0]["uid"] == secrets[0]["metadata"]["uid"]
    assert token not in json.dumps(jobs), "it is in the Secret alone"


def test_the_token_is_the_secrets_and_a_later_driver_has_the_same(api: ApiServer) -> None:
    cluster = api.cluster(sleep=lambda _: None)
    made = make_endpoint(cluster, "r1", "10.0.0.1", 80, "token")
    assert made["stringData"] == {"endpoint": "http://10.0.0.1:80/token"}
    import base64

    stored = api.objects[SECRETS][made["metadata"]["name"]]
    api.put(SECRETS, {**stored, "data": {"endpoint": base64.b64encode(b"http://[fd00::1]:80/token").decode()}})
    assert token_of(make_endpoint(cluster, "r1", "fd00::1", 80, "another")) == "token"


@pytest.mark.parametrize(
    ("address", "said"),
    [("192.0.2.1", "an address of this machine"), ("a/b", "HOST or HOST:PORT"), ("h:x", "HOST or HOST:PORT")],
)
def test_an_address_that_is_none_is_said(api: ApiServer, address: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        listen(address, api.cluster())


def test_a_cluster_on_loopback_does_not_say_by_what_its_pods_reach_us(api: ApiServer) -> None:
    with pytest.raises(InputError, match="nothing says by which address"):
        listen(None, api.cluster())
    with contextlib.closing(listen("127.0.0.1", api.cluster())) as listener:
        assert listener.getsockname()[1] != 0


def test_pods_are_told_of_the_storage_in_its_own_words() -> None:
    options = {"endpoint": "http://s3", "region": "eu", "allow_http": "true"}
    target = Target("t", Place("n"), "s3://b", options=options)
    assert storage_env(target) == {
        "AWS_ENDPOINT": "http://s3", "AWS_REGION": "eu", "AWS_ALLOW_HTTP": "true", "FLYTE_AWS_ENDPOINT": "http://s3",
    }  # fmt: skip
    assert storage_env(Target("t", Place("n"), "gs://b", options={"service_account": "x"})) == {
        "GOOGLE_SERVICE_ACCOUNT": "x"
    }
