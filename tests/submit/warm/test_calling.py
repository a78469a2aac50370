"""A replica's way to its driver: over connections that break, to a driver that may be gone."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from flyte_build.submit.warm import calling


class Driver:
    """Answers as ``answer`` says: a status and a body, or ``None``, which breaks the connection."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.answer: Callable[[str, Any], tuple[int, Any] | None] = lambda what, message: (200, {})
        self.url = ""


@contextmanager
def serving() -> Iterator[Driver]:
    driver = Driver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            driver.asked.append((self.path, message))
            found = driver.answer(self.path, message)
            if found is None:
                self.close_connection = True
                return
            data = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        driver.url = f"http://127.0.0.1:{server.server_address[1]}/token"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield driver
        finally:
            server.shutdown()
            thread.join()


class Left(BaseException):
    """In the place of the process's end."""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    def leave(why: str) -> None:
        raise Left(why)

    monkeypatch.setattr(calling, "leave", leave)
    with serving() as found:
        yield found


def test_a_question_is_asked_again_until_it_is_answered(driver: Driver) -> None:
    answers = iter([None, (503, {}), (200, {"orders": [1]})])
    driver.answer = lambda what, message: next(answers)
    assert calling.Line(driver.url).ask("orders", {"after": 0}) == {"orders": [1]}
    assert driver.asked == [("/token/replicas/orders", {"after": 0})] * 3


@pytest.mark.parametrize("status", [401, 404, 410])
def test_a_driver_that_does_not_know_it_ends_it(driver: Driver, status: int) -> None:
    driver.answer = lambda what, message: (status, {})
    with pytest.raises(Left, match=f"no use for it any more \\({status}\\)"):
        calling.Line(driver.url).ask("said", {})
    assert len(driver.asked) == 1


def test_no_driver_at_all_ends_it(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "PATIENCE", 0.0)
    driver.answer = lambda what, message: None
    with pytest.raises(Left, match="does not answer"):
        calling.Line(driver.url).ask("said", {})


def test_an_action_from_its_order_to_its_log(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words come before its end, in pieces, each numbered; and a cancellation has none."""
    monkeypatch.setattr(calling, "CHUNK", 4)
    orders = iter([[{"number": 1, "id": 5, "argv": ["a0"]}], [{"number": 2, "cancel": 5}]])
    done, asks_on = threading.Event(), threading.Event()

    def answer(what: str, message: Any) -> tuple[int, Any]:
        if not what.endswith("orders"):
            return 200, {}
        given = next(orders, None)
        if given is None:
            asks_on.set()
            done.wait(60)
            return 200, {"orders": []}
        return 200, {"orders": given}

    driver.answer = answer
    found: list[Any] = []

    async def go() -> None:
        link = calling.Calling("replica1", driver.url)
        heard = asyncio.Event()

        def hear(order: Any, log: int) -> None:
            found.append({k: order[k] for k in order if k != "number"})
            if "cancel" in order:
                heard.set()
            else:
                os.write(log, b"six...")
                os.close(log)

        serve = asyncio.create_task(link.serve(hear))
        await asyncio.wait_for(heard.wait(), 60)
        link.say({"id": 5, "code": 143, "changed": None})
        assert await asyncio.to_thread(asks_on.wait, 60), "from its close on it asks for no orders"
        await asyncio.to_thread(link.close)
        serve.cancel()
        done.set()

    monkeypatch.setattr(calling, "TIMEOUT", 60.0)
    asyncio.run(go())
    assert found == [{"id": 5, "argv": ["a0"]}, {"cancel": 5}]
    said = [message for what, message in driver.asked if what.endswith("said")]
    assert [message["number"] for message in said] == [1, 2, 3, 4]
    assert [message["message"] for message in said] == [
        {"ready": True}, {"id": 5, "log": base64.b64encode(b"six.").decode()},
        {"id": 5, "log": base64.b64encode(b"..").decode()}, {"id": 5, "code": 143, "changed": None},
    ]  # fmt: skip
    asked = [message["after"] for what, message in driver.asked if what.endswith("orders")]
    assert asked[:3] == [0, 1, 2]
    assert len({message["process"] for _, message in driver.asked}) == 1
