"""Artifacts by their hash: what is right is stored, what is wrong never, and nothing is asked for twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import Artifact
from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Progress, Recorder, Silent
from flyte_build.sources.download import Lines, redact
from flyte_build.sources.fetching import fetch
from flyte_build.store import Store
from tests.support.http import Fault, FileServer, ServerLocator, serving
from tests.support.images import FolderLocator, noise

DATA = noise(300_000)


def artifact(data: bytes = DATA, file: str = "a.whl") -> Artifact:
    return Artifact(hashlib.sha256(data).hexdigest(), len(data), file, source=object())  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def get(server: FileServer, store: Store, *artifacts: Artifact, roots: list[str] | None = None) -> dict[str, Path]:
    return fetch(artifacts or [artifact()], store, locator=ServerLocator(*(roots or [server.url])), reporter=Silent())


def leftovers(store: Store) -> list[Path]:
    return [p for p in store.tmp.rglob("*") if p.is_file()]


def test_what_is_fetched_is_stored_by_its_hash_and_not_asked_for_again(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA)
    wanted = artifact()
    assert get(server, store)[wanted.sha256].read_bytes() == DATA
    assert get(server, store)[wanted.sha256] == store.artifacts / wanted.sha256
    assert len(server.seen) == 1
    assert server.seen[0].headers["accept-encoding"] == "identity"
    assert leftovers(store) == []


def test_one_hash_wanted_twice_is_fetched_once(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA)
    get(server, store, artifact(), artifact())
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(server: FileServer, store: Store, status: int) -> None:
    server.put("a.whl", DATA, Fault(status=status, headers={"Retry-After": "0"}))
    get(server, store)
    assert sorted(s.status for s in server.seen) == [200, status], "each is noted when it is done, in whatever order"


def test_retry_after_is_waited_for(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA, Fault(status=503, headers={"Retry-After": "1"}))
    before = time.monotonic()
    get(server, store)
    assert time.monotonic() - before >= 1


def test_a_truncated_answer_is_resumed_where_it_ended(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA, Fault(cut=200_000))
    get(server, store)
    assert [(s.start, s.status, s.sent) for s in server.seen] == [(None, 200, 200_000), (200_000, 206, 100_000)]


def test_a_server_without_ranges_starts_over(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA, Fault(cut=200_000), Fault(whole=True))
    assert get(server, store)[artifact().sha256].read_bytes() == DATA
    assert [s.status for s in server.seen] == [200, 200]


def test_a_range_that_is_not_the_one_asked_for_is_not_used(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA, Fault(cut=200_000), Fault(headers={"Content-Range": "bytes 5-299999/300000"}))
    assert get(server, store)[artifact().sha256].read_bytes() == DATA


def test_bytes_left_by_an_interruption_are_not_fetched_again(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA)
    with store.session():
        (store.partial / artifact().sha256).write_bytes(DATA[:250_000])
    get(server, store)
    assert [(s.start, s.sent) for s in server.seen] == [(250_000, 50_000)]


def test_a_partial_file_that_is_whole_already_needs_no_request(server: FileServer, store: Store) -> None:
    with store.session():
        (store.partial / artifact().sha256).write_bytes(DATA)
    get(server, store)
    assert server.seen == []


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * 300_000, b"x" * 400_000])
def test_a_partial_file_with_other_bytes_does_no_harm(server: FileServer, store: Store, left: bytes) -> None:
    server.put("a.whl", DATA)
    with store.session():
        (store.partial / artifact().sha256).write_bytes(left)
    assert get(server, store)[artifact().sha256].read_bytes() == DATA


def test_wrong_bytes_are_refused_named_and_thrown_away(server: FileServer, store: Store) -> None:
    bad = bytes(len(DATA))
    server.put("a.whl", DATA, Fault(body=bad), forever=True)
    with pytest.raises(FetchError) as e:
        get(server, store)
    found = hashlib.sha256(bad).hexdigest()
    expected = f"a.whl: cannot be fetched: {server.url}/a.whl: expected SHA-256 {artifact().sha256}, found {found}"
    assert e.value.message == expected
    assert "lock again" in str(e.value.hint)
    assert store.artifact(artifact().sha256) is None
    assert all(p.stat().st_size == 0 for p in leftovers(store))


def test_bytes_of_another_size_are_not_even_read(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA, Fault(body=noise(5_000_000)), forever=True)
    with pytest.raises(FetchError, match="expected 300000 bytes, found 5000000"):
        get(server, store)
    assert store.artifact(artifact().sha256) is None


def test_the_next_place_is_asked_when_one_has_it_not_or_lies(server: FileServer, store: Store) -> None:
    server.put("lies/a.whl", DATA, Fault(body=bytes(len(DATA))), forever=True)
    server.put("good/a.whl", DATA)
    get(server, store, roots=[f"{server.url}/none", f"{server.url}/lies", f"{server.url}/good"])
    assert [(s.path, s.status) for s in server.seen] == [
        ("/none/a.whl", 404),
        ("/lies/a.whl", 200),
        ("/good/a.whl", 200),
    ]


def test_when_no_place_has_it_every_reason_is_given(server: FileServer, store: Store) -> None:
    server.put("b/a.whl", DATA, Fault(status=403), forever=True)
    with pytest.raises(FetchError) as e:
        get(server, store, roots=[f"{server.url}/a", f"{server.url}/b"])
    assert f"{server.url}/a/a.whl: 404 Not Found" in e.value.message
    assert f"{server.url}/b/a.whl: 403 Forbidden" in e.value.message
    assert "credentials" in str(e.value.hint)


def test_a_server_that_is_down_is_an_error_that_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyte_build.sources.fetching._backoff", lambda tries: 0.0)
    with serving() as gone:
        url = gone.url
    with pytest.raises(FetchError) as e:
        fetch([artifact()], store, locator=ServerLocator(url), reporter=Silent())
    assert "Connection refused" in e.value.message
    assert "run again" in str(e.value.hint)


def test_a_server_that_always_breaks_off_is_given_up(
    server: FileServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.sources.fetching._backoff", lambda tries: 0.0)
    server.put("a.whl", DATA, Fault(cut=1000), forever=True)
    with pytest.raises(FetchError):
        get(server, store)
    assert len(server.seen) == 5
    server.put("a.whl", DATA)
    get(server, store)
    assert server.sent("a.whl") == len(DATA)


def test_one_failure_stops_the_others_and_their_bytes_are_kept(server: FileServer, store: Store) -> None:
    slow = noise(3_000_000, 7)
    server.put("slow.whl", slow, Fault(delay=0.1))
    server.put("a.whl", DATA, Fault(status=404, silent=0.5))
    with pytest.raises(FetchError, match=r"^a\.whl"):
        get(server, store, artifact(slow, "slow.whl"), artifact())
    arrived = store.partial / artifact(slow).sha256
    assert 0 < arrived.stat().st_size < len(slow)
    had = arrived.stat().st_size
    server.put("slow.whl", slow)
    get(server, store, artifact(slow, "slow.whl"))
    # The request that was called off is on the server's list when the server notices, which may be later.
    assert had in [seen.start for seen in server.seen if seen.path == "/slow.whl"]


def test_a_silent_server_does_not_hold_up_a_build_that_is_called_off(server: FileServer, store: Store) -> None:
    server.put("silent.whl", DATA, Fault(delay=30))
    server.put("a.whl", DATA, Fault(status=404, silent=0.3))
    before = time.monotonic()
    with pytest.raises(FetchError):
        get(server, store, artifact(DATA + b"!", "silent.whl"), artifact())
    assert time.monotonic() - before < 20


def test_progress_counts_every_byte_once_even_when_some_are_thrown_away(server: FileServer, store: Store) -> None:
    class Counting(Recorder):
        def __init__(self) -> None:
            super().__init__()
            self.done = 0

        def advance(self, amount: int = 1) -> None:
            self.done += amount

        def total(self, total: int) -> None:
            raise AssertionError("the total is known from the start")

        def work(self, title: str, total: int | None = None, *, unit: str = "items"):  # type: ignore[no-untyped-def]
            from contextlib import nullcontext

            assert (title, total, unit) == ("fetch", len(DATA), "bytes")
            counter: Progress = self
            return nullcontext(counter)

    reporter = Counting()
    server.put("a.whl", DATA, Fault(cut=200_000), Fault(whole=True))
    fetch([artifact()], store, locator=ServerLocator(server.url), reporter=reporter)
    assert reporter.done == len(DATA)


def test_files_are_places_too_and_are_copied_not_linked(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "a.whl"
    source.write_bytes(DATA)
    path = fetch([artifact()], store, locator=FolderLocator(tmp_path), reporter=Silent())[artifact().sha256]
    source.write_bytes(b"changed in place")
    assert path.read_bytes() == DATA
    assert path.stat().st_nlink == 1


def test_a_file_with_other_bytes_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(bytes(10) + DATA[10:])
    with pytest.raises(FetchError, match="expected SHA-256"):
        fetch([artifact()], store, locator=FolderLocator(tmp_path), reporter=Silent())
    assert store.artifact(artifact().sha256) is None


def test_a_local_file_that_changed_says_so(store: Store, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_bytes(b"print(2)\n")
    planned = Artifact(hashlib.sha256(b"print(1)\n").hexdigest(), 9, "main.py")
    with pytest.raises(FetchError, match="changed since it was planned"):
        fetch([planned], store, locator=FolderLocator(tmp_path), reporter=Silent())


def test_nowhere_is_an_error_that_names_the_hash(store: Store) -> None:
    with pytest.raises(FetchError, match=artifact().sha256):
        fetch([artifact()], store, locator=ServerLocator(), reporter=Silent())


def test_two_processes_fetch_one_artifact_once(server: FileServer, store: Store) -> None:
    server.put("a.whl", DATA, Fault(delay=0.1))
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from flyte_build.sources.fetching import fetch\n"
        "from flyte_build.store import Store\n"
        "from flyte_build.kernel.reporting import Silent\n"
        "from tests.support.http import ServerLocator\n"
        "from tests.sources.test_fetching import artifact\n"
        "fetch([artifact()], Store(Path(sys.argv[1])), locator=ServerLocator(sys.argv[2]), reporter=Silent())\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(store.root), server.url]
    both = [subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) for _ in range(2)]
    assert [p.wait(60) for p in both] == [0, 0]
    assert len(server.seen) == 1
    assert leftovers(store) == []


def test_credentials_and_tokens_are_never_shown() -> None:
    assert redact("https://user:secret@index.example/a.whl?token=abc#x") == "https://***@index.example/a.whl?***"


def test_lines_that_are_not_open_can_be_cut() -> None:
    lines = Lines()
    done = threading.Thread(target=lines.cut)
    done.start()
    done.join(1)
    assert not done.is_alive()
