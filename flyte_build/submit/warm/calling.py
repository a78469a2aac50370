"""A replica's way to its run's driver, from a pod: it asks for orders, and says what became of them.

Runs with the image's Python (3.10 or later), standard library only, beside ``replica``. Calls are of the actions
service that every pod of the run calls, under ``/replicas``: ``orders`` is answered as soon as there is one, ``said``
takes what ``replica`` says, with what an action printed before its end, and every ``EVERY`` seconds what those that go
on printed since. An order is given again until the next question
says that it came, and what was said twice is heard once, so a connection may break at any time. A driver that does not
know this process, or none for ``PATIENCE`` seconds, ends it: the driver begins anew elsewhere what ran in here.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import queue
import secrets
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0
# Longer than a driver holds back an answer.
TIMEOUT = 45.0
CHUNK, MOST = 256 << 10, 64 << 20
EVERY = 2.0
# The exit code of a process that its driver left.
LEFT = 75
_GONE = (401, 404, 410, 501)


class Line:
    """One connection, made again when it breaks."""

    def __init__(self, address: str) -> None:
        found = urlsplit(address)
        self._where, self._path = (found.hostname or "", found.port), found.path.rstrip("/")
        # Whom to trust is told to the runtime by this variable of its own.
        cafile = os.environ.get("FLYTE_ADMIN_CACERTFILEPATH")
        self._trusted = ssl.create_default_context(cafile=cafile) if found.scheme == "https" else None
        self._held: Any = None

    def ask(self, what: str, message: Mapping[str, Any]) -> Any:
        """The answer. Where nobody can give one, the process ends."""
        body, pause, until = json.dumps(message).encode(), 0.05, time.monotonic() + PATIENCE
        while True:
            try:
                status, answer = self._once(what, body)
                if status == 200:
                    return json.loads(answer)
                if status in _GONE:
                    leave(f"its driver has no use for it any more ({status})")
            except (OSError, ValueError, http.client.HTTPException):
                self._held = None
            if time.monotonic() > until:
                leave("its driver does not answer")
            time.sleep(pause)
            pause = min(pause * 2, 2.0)

    def _once(self, what: str, body: bytes) -> Any:
        if self._held is None:
            self._held = self._connection()
        self._held.request("POST", f"{self._path}/replicas/{what}", body, {"Content-Type": "application/json"})
        found = self._held.getresponse()
        return found.status, found.read()

    def _connection(self) -> http.client.HTTPConnection:
        if self._trusted is None:
            return http.client.HTTPConnection(*self._where, timeout=TIMEOUT)
        return http.client.HTTPSConnection(*self._where, timeout=TIMEOUT, context=self._trusted)


def leave(why: str) -> None:
    os.write(2, f"replica: {why}\n".encode())
    os._exit(LEFT)


class Calling:
    """``name`` is what the driver calls this replica; the process has a name of its own."""

    def __init__(self, name: str, address: str) -> None:
        self._address = address
        self._me = {"replica": name, "process": secrets.token_hex(8)}
        self._says: queue.Queue[dict[str, Any]] = queue.Queue()
        self._logs: dict[int, Any] = {}
        self._sent: dict[int, int] = {}
        self._number = 0
        self._closed = False
        self._speaking = threading.Thread(target=self._speak, daemon=True)
        self._speaking.start()

    def say(self, message: dict[str, Any]) -> None:
        self._says.put(message)

    def close(self) -> None:
        """Return when all is said. From then on no order is asked for."""
        self._closed = True
        self._says.put({})
        self._speaking.join()

    async def serve(self, hear: Callable[[Any, int], None]) -> None:
        loop = asyncio.get_running_loop()
        self.say({"ready": True})
        threading.Thread(target=self._listen, args=(loop, hear), daemon=True).start()
        await asyncio.Event().wait()

    def _listen(self, loop: asyncio.AbstractEventLoop, hear: Callable[[Any, int], None]) -> None:
        line, after = Line(self._address), 0
        while not self._closed:
            for order in line.ask("orders", {**self._me, "after": after})["orders"]:
                after = order["number"]
                loop.call_soon_threadsafe(self._take, order, hear)

    def _take(self, order: Any, hear: Callable[[Any, int], None]) -> None:
        log = -1
        if "cancel" not in order:
            self._logs[order["id"]] = file = tempfile.TemporaryFile()  # noqa: SIM115 - until it is sent
            log = os.dup(file.fileno())
        hear(order, log)

    def _speak(self) -> None:
        line, due = Line(self._address), time.monotonic() + EVERY
        while True:
            try:
                message = self._says.get(timeout=max(due - time.monotonic(), 0.0))
            except queue.Empty:
                self._show(line)
                due = time.monotonic() + EVERY
                continue
            if not message:
                return
            file = self._logs.pop(message.get("id", 0), None)
            if file is not None:
                with file:
                    self._send_log(line, message["id"], file)
                self._sent.pop(message["id"], None)
            self._send(line, message)

    def _show(self, line: Line) -> None:
        """Say what the actions that go on have printed."""
        for number, file in list(self._logs.items()):
            self._send_log(line, number, file, goes_on=True)

    def _send_log(self, line: Line, number: int, file: Any, **more: bool) -> None:
        """What was not sent yet. It is read by its place: the one at which the action writes is its own."""
        at = self._sent.get(number, 0)
        while at < MOST and (data := os.pread(file.fileno(), min(CHUNK, MOST - at), at)):
            at += len(data)
            self._send(line, {"id": number, "log": base64.b64encode(data).decode(), **more})
        self._sent[number] = at

    def _send(self, line: Line, message: Mapping[str, Any]) -> None:
        self._number += 1
        line.ask("said", {**self._me, "number": self._number, "message": message})
