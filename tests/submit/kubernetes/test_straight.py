"""Requests by the loop: as a cluster's others, over a few connections, whatever becomes of those."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from flyte_build.submit.kubernetes.api import ApiError, Cluster
from flyte_build.submit.kubernetes.refusals import TRIES
from flyte_build.submit.kubernetes.straight import Straight
from tests.support.apiserver import NAMESPACE, ApiServer, Bad
from tests.support.certificates import make_certificates

from .test_api import JOBS, repeated, value

PODS = "v1/pods"
LOG = f"/api/v1/namespaces/{NAMESPACE}/pods/p/log"


class Rig:
    """``waited`` is how long it was slept for, ``made`` how many connections there were."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.waited: list[float] = []
        self.made = 0
        self._connect = cluster.connection
        cluster.connection = self._counted  # type: ignore[method-assign]
        self.straight = Straight(cluster, sleep=self._sleep)

    def _counted(self) -> Any:
        self.made += 1
        return self._connect()

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    def run(self, body: Callable[[], Awaitable[Any]]) -> Any:
        async def go() -> Any:
            try:
                async with asyncio.timeout(60):
                    return await body()
            finally:
                self.straight.close()

        return asyncio.run(go())

    def meet(self, server: asyncio.Server) -> None:
        """Ask this one from now on."""
        self.cluster.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.cluster._straight = None

    def create(self, name: str = "a") -> Any:
        return self.run(lambda: self.straight.create(JOBS, value(name)))

    def text(self, seconds: float = 5.0) -> bytes:
        found: bytes = self.run(lambda: self.straight.text(PODS, "p/log", {"limitBytes": "9"}, seconds))
        return found


@pytest.fixture
def rig(api: ApiServer) -> Rig:
    return Rig(api.cluster())


def test_objects_are_made_and_logs_are_read_over_one_connection(rig: Rig, api: ApiServer) -> None:
    api.documents[LOG] = b"a line\nand a half"

    async def body() -> None:
        assert await rig.straight.create(JOBS, value("a")) == api.objects[JOBS]["a"]
        assert await rig.straight.text(PODS, "p/log", {"limitBytes": "9"}, 5.0) == b"a line\nand a half"
        await rig.straight.create(JOBS, value("b"))

    rig.run(body)
    assert api.asked == [f"POST {rig.cluster.path(JOBS)}", f"GET {LOG}?limitBytes=9", f"POST {rig.cluster.path(JOBS)}"]
    assert rig.made == 1


def test_a_refusal_is_that_of_any_other_request(rig: Rig, api: ApiServer) -> None:
    api.put(JOBS, value("a"))
    with pytest.raises(ApiError) as other:
        api.cluster().create(JOBS, value("a"))
    with pytest.raises(ApiError) as e:
        rig.create()
    assert (e.value.status, e.value.reason, e.value.message) == (409, "AlreadyExists", other.value.message)
    assert not rig.waited


@pytest.mark.parametrize("bad", [Bad(0), Bad(500), Bad(503), Bad(429, "TooManyRequests")])
def test_what_may_pass_is_sent_again(rig: Rig, api: ApiServer, bad: Bad) -> None:
    api.bad = repeated(bad, 3)
    rig.create()
    assert (len(api.asked), len(rig.waited)) == (4, 3)


def test_a_server_that_says_when_is_asked_then(rig: Rig, api: ApiServer) -> None:
    api.bad = repeated(Bad(429, "TooManyRequests", retry_after=7), 1)
    rig.create()
    assert 7 <= rig.waited[0] < 8


def test_one_that_never_answers_is_given_up(rig: Rig, api: ApiServer) -> None:
    api.bad = repeated(Bad(0), 100)
    with pytest.raises(ApiError, match="no answer: the connection was closed before there was an answer") as e:
        rig.create()
    assert (e.value.status, len(api.asked)) == (0, TRIES - 1)


@pytest.mark.parametrize(("bad", "asked"), [(Bad(0), 2), (Bad(429), 2), (Bad(500), 1), (Bad(404), 1)])
def test_a_log_is_asked_for_again_where_the_api_was_busy(rig: Rig, api: ApiServer, bad: Bad, asked: int) -> None:
    api.documents[LOG] = b"said"
    api.bad = repeated(bad, 1)
    if asked > 1:
        assert rig.text() == b"said"
    else:
        with pytest.raises(ApiError, match=f": {bad.status} no"):
            rig.text()
    assert len(api.asked) == asked


def test_credentials_that_ran_out_are_asked_for_once_more(api: ApiServer) -> None:
    told: list[str] = []

    def credentials() -> dict[str, str]:
        told.append(f"Bearer {len(told)}")
        return {"Authorization": told[-1]}

    api.bad = repeated(Bad(401, "Unauthorized"), 1)
    Rig(api.cluster(credentials=credentials)).create()
    assert len(told) == len(api.asked) == 2
    api.bad = repeated(Bad(401, "Unauthorized"), 2)
    with pytest.raises(ApiError, match="401"):
        Rig(api.cluster(credentials=credentials)).create("b")


def test_credentials_of_two_lines_are_none(api: ApiServer) -> None:
    rig = Rig(api.cluster(credentials=lambda: {"Authorization": "a\r\nb: c"}))
    with pytest.raises(ApiError, match="expected credentials of one line"):
        rig.create()
    assert not api.asked


def test_many_at_once_share_a_few_connections(rig: Rig, api: ApiServer) -> None:
    async def body() -> None:
        await asyncio.gather(*(rig.straight.create(JOBS, value(f"j{n}")) for n in range(100)))

    rig.run(body)
    assert len(api.objects[JOBS]) == 100
    assert rig.made <= 16


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_log_is_whole(rig: Rig, chunked: bool) -> None:
    log = bytes(range(251)) * 20_000

    async def body() -> bytes:
        async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
            rig.meet(server)
            return await rig.straight.text(PODS, "p/log", {}, 5.0)

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if chunked:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(log), 100_000):
                piece = log[at : at + 100_000]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(log) + log)
        await reader.read()
        writer.close()

    assert rig.run(body) == log


def test_a_connection_that_was_closed_while_idle_is_not_used(rig: Rig) -> None:
    closed = asyncio.Event()

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        await writer.drain()
        writer.close()
        closed.set()

    async def body() -> None:
        async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
            rig.meet(server)
            for _ in range(3):
                assert await rig.straight.text(PODS, "p/log", {}, 5.0) == b"x"
                await closed.wait()
                await asyncio.sleep(0.05)
                closed.clear()

    rig.run(body)
    assert (rig.made, rig.waited) == (3, [])


def test_one_that_says_nothing_is_waited_for_no_longer_than_it_may(
    rig: Rig, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.submit.kubernetes.straight._LOOK", 0.02)
    going = threading.Event()

    def silent(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        going.wait(30)
        return None

    api.bad = silent
    try:
        with pytest.raises(ApiError, match=r"no answer: nothing came for 0\.1 s"):
            rig.text(0.1)
    finally:
        going.set()
    assert len(rig.waited) == TRIES - 2


def test_who_is_cancelled_goes_after_the_answer_to_what_may_have_been_done(rig: Rig, api: ApiServer) -> None:
    asked, going = threading.Event(), threading.Event()

    def slow(method: str, kind: str, query: dict[str, str]) -> Bad | None:
        asked.set()
        going.wait(30)
        return None

    api.bad = slow

    async def body() -> None:
        making = asyncio.create_task(rig.straight.create(JOBS, value("a")))
        await asyncio.to_thread(asked.wait)
        making.cancel()
        await asyncio.sleep(0.05)
        assert not making.done()
        going.set()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert "a" in api.objects[JOBS], "what deletes it now finds it"
        asked.clear()
        going.clear()
        reading = asyncio.create_task(rig.straight.text(PODS, "p/log", {}, 5.0))
        await asyncio.to_thread(asked.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(reading, 5)
        assert not going.is_set()
        going.set()

    rig.run(body)


def test_behind_a_proxy_it_is_asked_as_all_others(api: ApiServer) -> None:
    api.documents[f"/k8s/one{LOG}"] = b"said"
    cluster = Cluster("http://cluster.invalid/k8s/one", urllib3.ProxyManager(api.url), namespace=NAMESPACE)
    assert Rig(cluster).text() == b"said"
    assert api.asked == [f"GET http://cluster.invalid/k8s/one{LOG}?limitBytes=9"]


def test_where_the_library_opens_no_connections_it_is_asked_in_threads(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How urllib3 opens one is its own affair."""
    api.documents[LOG] = b"said"
    cluster = api.cluster()
    monkeypatch.delattr("urllib3.connectionpool.HTTPConnectionPool._new_conn")
    assert cluster.connection() is None
    monkeypatch.undo()
    monkeypatch.setattr(cluster, "connection", lambda: None)
    assert Rig(cluster).text() == b"said"


def test_nobody_there(api: ApiServer) -> None:
    rig = Rig(Cluster("http://127.0.0.1:9", urllib3.PoolManager(), namespace=NAMESPACE))
    with pytest.raises(ApiError, match="no answer") as e:
        rig.create()
    assert e.value.hint


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_whom_others_trust_is_trusted_and_nobody_else(tmp_path: Path, trusted: bool) -> None:
    theirs = make_certificates(tmp_path / "theirs")
    known = theirs if trusted else make_certificates(tmp_path / "others")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(theirs.certificate, theirs.key)
    log = bytes(range(251)) * 1000  # more than a record of TLS
    rig = Rig(Cluster("https://x", urllib3.PoolManager(ca_certs=str(known.authority)), namespace=NAMESPACE))

    async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while await reader.readline() != b"\r\n":
                pass
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(log) + log)
        writer.close()

    async def body() -> None:
        async with await asyncio.start_server(answering, "127.0.0.1", 0, ssl=context) as server:
            rig.meet(server)
            rig.cluster.host = rig.cluster.host.replace("http:", "https:")
            if trusted:
                assert await rig.straight.text(PODS, "p/log", {}, 5.0) == log
                assert await rig.straight.text(PODS, "p/log", {}, 5.0) == log
            else:
                with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
                    await rig.straight.create(JOBS, value("a"))
            rig.straight.close()

    rig.run(body)
    assert rig.made == (1 if trusted else TRIES - 1)
