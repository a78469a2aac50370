"""What a run keeps in object storage: a journal in pieces, actions as they were enqueued, outcomes for later runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2
from obstore.store import MemoryStore

from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import ErrorInfo, Phase, RootAction
from flyte_build.submit.history import outcomes
from flyte_build.submit.journal import ActionRecord
from flyte_build.submit.kubernetes import reading, stored_journal
from flyte_build.submit.kubernetes.drive import StoredInbox
from flyte_build.submit.kubernetes.mirror import Mirror
from flyte_build.submit.kubernetes.stored_journal import Pieces, StoredJournal, claim, read_actions, read_stored
from flyte_build.submit.kubernetes.stored_results import StoredResults
from flyte_build.submit.kubernetes.submission import read_submission, store_submission
from flyte_build.submit.observer import Collector
from flyte_build.submit.storage import Storage
from flyte_build.submit.uploads import upload
from tests.support.engine import World

from .test_pod import DIGEST, IMAGE, spec_of


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror("s3://bucket/base", tmp_path / "runs", MemoryStore())


def keys(mirror: Mirror) -> list[str]:
    return sorted(str(o["path"]) for page in obstore.list(mirror.store) for o in page)


def journal_of(mirror: Mirror, number: int = 1) -> StoredJournal:
    path = mirror.runs / "r" / "journal.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return StoredJournal(path, mirror, "r", number)


def test_each_driver_has_a_number_of_its_own(mirror: Mirror) -> None:
    async def go() -> list[int]:
        return sorted(await asyncio.gather(*(claim(mirror, "r") for _ in range(4))))

    assert asyncio.run(go()) == [1, 2, 3, 4]
    assert keys(mirror) == [f"r/journal/00000{n}-000000.jsonl" for n in (1, 2, 3, 4)]


def test_what_is_appended_is_stored_when_it_returns_and_many_at_once_cost_few_requests(mirror: Mirror) -> None:
    puts: list[str] = []

    class Counted(Mirror):
        async def put(self, key: str, data: bytes, *, new: bool = False) -> None:
            puts.append(key)
            await super().put(key, data, new=new)

    counted = Counted(mirror.url, mirror.runs, mirror.store)

    async def go() -> list[dict[str, Any]]:
        journal = journal_of(counted)
        await journal.append({"n": 0})
        assert await read_stored(mirror, "r") == [{"n": 0}]
        await asyncio.gather(*(journal.append({"n": n}) for n in range(1, 200)))
        journal.close()
        return await read_stored(mirror, "r")

    assert asyncio.run(go()) == [{"n": n} for n in range(200)]
    assert len(puts) < 30


def test_what_nobody_waits_for_is_stored_as_well(mirror: Mirror) -> None:
    async def go() -> None:
        journal, pieces = journal_of(mirror), Pieces(mirror, "r")
        await journal.append({"n": 0})
        journal.note({"n": 1})
        found = await pieces.new()
        async with asyncio.timeout(60):
            while len(found) < 2:
                found += await pieces.new()
        journal.close()
        journal.note({"n": 2})
        assert found == [{"n": 0}, {"n": 1}]
        assert (mirror.runs / "r" / "journal.jsonl").read_bytes() == b'{"n": 0}\n{"n": 1}\n'

    asyncio.run(go())


def test_pieces_end_and_readers_go_on_where_they_were(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_journal, "_PIECE", 100)

    async def go() -> None:
        journal, pieces = journal_of(mirror), Pieces(mirror, "r")
        assert await pieces.new() == []
        for n in range(30):
            await journal.append({"n": n})
            assert await pieces.new() == [{"n": n}]
        journal.close()

    asyncio.run(go())
    assert len(keys(mirror)) == 3
    later = journal_of(mirror, 2)
    asyncio.run(later.append({"n": 30}))
    later.close()
    assert [e["n"] for e in asyncio.run(read_stored(mirror, "r"))] == list(range(31))


def test_what_cannot_be_stored_is_told_and_comes_with_the_next(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_journal, "_PAUSES", (0.0,))
    broken = [True]

    class Broken(Mirror):
        async def put(self, key: str, data: bytes, *, new: bool = False) -> None:
            if broken[0]:
                raise RunError("no storage")
            await super().put(key, data, new=new)

    async def go() -> list[dict[str, Any]]:
        journal = journal_of(Broken(mirror.url, mirror.runs, mirror.store))
        with pytest.raises(OSError, match="no storage"):
            await journal.append({"n": 1})
        broken[0] = False
        await journal.append({"n": 2})
        journal.close()
        return await read_stored(mirror, "r")

    assert asyncio.run(go()) == [{"n": 1}, {"n": 2}]


def test_a_journal_that_somebody_changed_is_said(mirror: Mirror) -> None:
    obstore.put(mirror.store, "r/journal/000001-000001.jsonl", b'{"n": 1}\nnonsense\n')
    with pytest.raises(RunError, match=r"000001-000001\.jsonl:2: expected a JSON object"):
        asyncio.run(read_stored(mirror, "r"))


def test_an_action_is_stored_before_it_is_taken_on(mirror: Mirror, tmp_path: Path) -> None:
    world = World(tmp_path)
    action, record = world.task("leaf", "b", "a0"), ActionRecord("b", "a0")

    async def go() -> None:
        journal = journal_of(mirror)
        await journal.enqueued(action, record, again=False)
        assert await read_stored(mirror, "r") == []
        await journal.enqueued(action, record, again=True)
        journal.close()

    asyncio.run(go())
    assert asyncio.run(read_actions(mirror, "r")) == {"b": action}
    assert [e["action"]["phase"] for e in asyncio.run(read_stored(mirror, "r"))] == ["queued"]
    obstore.put(mirror.store, "r/actions/x.pb", b"\xff")
    with pytest.raises(RunError, match=r"actions/x\.pb: expected an action"):
        asyncio.run(read_actions(mirror, "r"))


def outputs(*uris: str) -> bytes:
    message = common_pb2.Outputs()
    for uri in uris:
        blob = literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri)))
        message.literals.append(common_pb2.NamedLiteral(name="o", value=blob))
    data: bytes = message.SerializeToString()
    return data


def test_a_result_is_found_as_long_as_all_of_it_is_there(mirror: Mirror) -> None:
    results = StoredResults(mirror)
    uri = f"{mirror.url}/old/kept/a0/1"

    async def find(max_age: float | None = None) -> str | None:
        return await results.find("key", has_outputs=True, max_age=max_age)

    async def go() -> None:
        assert await find() is None
        await results.put("key", uri)
        assert await find() is None, "no outputs"
        elsewhere = "s3://another/file"
        await mirror.put("old/kept/a0/1/outputs.pb", outputs(f"{mirror.url}/old/raw/f", elsewhere, f"{mirror.url}/d"))
        assert await find() is None, "its files are not there"
        await mirror.put("old/raw/f", b"f")
        await mirror.put("d/part/0", b"a folder's")
        assert await find() == uri
        assert await find(max_age=0.0) is None
        assert await results.report(uri) == ""
        await mirror.put("old/kept/a0/1/report.html", b"<p>")
        assert await results.report(uri) == f"{uri}/report.html"
        assert not await results.has("s3://another/file")
        await mirror.put("tasks/key.json", b"[]")
        assert await find() is None

    asyncio.run(go())


def test_requests_are_there_in_their_order_until_they_are_done(mirror: Mirror) -> None:
    async def go() -> None:
        inbox = StoredInbox(mirror, "r")
        await mirror.put("r/requests/2.json", b"two")
        await mirror.put("r/requests/1.json", b"one")
        await mirror.put("r/requests/3.json", b"x" * (2 << 20))
        found = await inbox.look()
        assert [data for _, data in found] == [b"one", b"two", b""], "one that is too large says nothing"
        for name, _ in found:
            await inbox.done(name)
        assert await inbox.look() == []

    asyncio.run(go())
    assert keys(mirror) == []


def root_of(tmp_path: Path) -> RootAction:
    import tarfile

    bundle = tmp_path / "code.tgz"
    with tarfile.open(bundle, "w:gz"):
        pass
    return RootAction(spec_of(), outputs(), bundle, "gpu", "gpu.train", {"A": "B"})


def test_a_run_is_handed_over_whole(mirror: Mirror, tmp_path: Path) -> None:
    async def go() -> None:
        made, action = await store_submission(
            mirror, "r1", ("prod", {"namespace": "team"}), root_of(tmp_path), {"gpu": IMAGE},
            inline={"gpu.train": 7}, invocation={"file": "f"},
        )  # fmt: skip
        assert await read_submission(mirror, "r1") == made
        assert await read_actions(mirror, "r1") == {"a0": action}
        assert made.images == {IMAGE: DIGEST}
        assert (made.env, made.inline, made.resume) == ({"A": "B"}, {"gpu.train": 7}, None)
        assert action.input_uri == "s3://bucket/base/r1/kept/a0/inputs.pb"
        with pytest.raises(RunError, match="run r1 exists in s3://bucket/base"):
            await store_submission(
                mirror, "r1", ("prod", {}), root_of(tmp_path), {"gpu": IMAGE}, inline={}, invocation={}
            )
        for name, said in (("tasks", "keeps other things there"), ("a/b", "is no name for a run")):
            with pytest.raises(RunError, match=said):
                await store_submission(
                    mirror, name, ("prod", {}), root_of(tmp_path), {"gpu": IMAGE}, inline={}, invocation={}
                )
        with pytest.raises(RunError, match="environment 'gpu' has no image"):
            await store_submission(mirror, "r2", ("prod", {}), root_of(tmp_path), {}, inline={}, invocation={})
        with pytest.raises(RunError, match="no run `r2`"):
            await read_submission(mirror, "r2")

    asyncio.run(go())
    (bundle,) = [k for k in keys(mirror) if k.startswith("bundles/")]
    assert bundle.endswith(".tgz")
    facts = json.loads(obstore.get(mirror.store, "r1/run.json").bytes().to_bytes())
    assert (facts["target"], facts["task"], facts["images"]) == ("prod", "gpu.train", {"gpu": DIGEST})


def test_what_was_uploaded_for_inputs_is_stored_with_its_run(mirror: Mirror, tmp_path: Path) -> None:
    storage = Storage(mirror.runs, mirror.url)
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "x").write_text("x")
    uris = [upload(storage, tmp_path / "file.txt"), upload(storage, tmp_path / "folder")]
    inputs = common_pb2.Inputs()
    for uri in (*uris, "s3://elsewhere/y"):
        blob = literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri)))
        inputs.literals.append(common_pb2.NamedLiteral(name="i", value=blob))
    root = replace(root_of(tmp_path), inputs=inputs.SerializeToString())
    handed = store_submission(mirror, "r1", ("prod", {}), root, {"gpu": IMAGE}, inline={}, invocation={})
    asyncio.run(handed)
    assert all(uri.startswith("s3://bucket/base/inputs/") for uri in uris)
    stored = [k.split("/", 2)[2] for k in keys(mirror) if k.startswith("inputs/")]
    assert sorted(stored) == ["file.txt", "folder/deep/x"]


def test_runs_are_listed_followed_and_read_from_the_storage_alone(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LOOK", 0.01)

    def entry(phase: Phase, **more: Any) -> dict[str, Any]:
        return {"action": ActionRecord("a0", task="t", phase=phase, **more).to_json()}

    async def go() -> None:
        for number, name in enumerate(("old", "new"), 1):
            facts = {"schema": 1, "name": name, "task": "t", "started": float(number), "target": "prod"}
            await mirror.put(f"{name}/run.json", json.dumps(facts).encode())
        await mirror.put("bundles/x.tgz", b"")
        journal = StoredJournal(tmp_path / "journal.jsonl", mirror, "new", 1)
        await journal.append(entry(Phase.RUNNING, attempt=1))
        await mirror.put(f"new/{reading.ALIVE}", b"")
        runs = await reading.list_runs(mirror)
        assert [(r.name, r.running, r.phase) for r in runs] == [("new", True, Phase.RUNNING), ("old", False, None)]
        assert [r.name for r in await reading.list_runs(mirror, 1)] == ["new"]
        assert await reading.full_name(mirror, "n") == "new"
        with pytest.raises(RunError, match="no run `x`"):
            await reading.full_name(mirror, "x")
        heard = Collector()
        following = asyncio.create_task(reading.follow(mirror, "new", heard))
        uri = f"{mirror.url}/new/kept/a0/1"
        await mirror.put("new/kept/a0/1/outputs.pb", outputs("s3://elsewhere/x"))
        await mirror.put("new/logs/a0/1.log", b"words\n")
        await journal.append({"line": {"action": "a0", "attempt": 1, "text": "running on n1"}})
        error = ErrorInfo("Oops", "no")
        failed = entry(Phase.FAILED, output_uri=uri, error=error, log=f"{mirror.url}/new/logs/a0/1.log")
        await journal.append(failed)
        await journal.append({"run": {"phase": "failed", "ended": 3.0}})
        journal.close()
        run = await asyncio.wait_for(following, 20)
        assert [r.phase for r in heard.records] == [Phase.RUNNING, Phase.FAILED]
        assert heard.lines == [("a0", 1, "running on n1")]
        assert (run.running, run.phase, run.ended) == (False, Phase.FAILED, 3.0)
        ended = await reading.result(mirror, run)
        assert (ended.phase, ended.error, ended.target) == (Phase.FAILED, error, "prod")
        assert ended.outputs == outputs("s3://elsewhere/x")
        assert Path(ended.actions[0].log).read_text() == "words\n"
        await reading.fetch_logs(mirror, run)
        chain = await reading.read_chain(mirror, "new", heard.warn)
        assert outcomes(chain)["a0"].phase is Phase.FAILED

    asyncio.run(go())
