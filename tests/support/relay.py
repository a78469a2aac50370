"""A line to a server that breaks where it is told to: bytes are passed on, counted, and cut off."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Relay"]


@dataclass(frozen=True)
class Cut:
    """The next connection that sends (``up``) or gets (``down``) this many bytes ends there."""

    direction: str
    after: int


class Relay:
    """``host`` leads to ``target``; ``passed`` counts the bytes ``up`` and ``down`` since :meth:`zero`."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self._cuts: list[Cut] = []
        self._guard = threading.Lock()
        self._over = threading.Event()
        self.passed = {"up": 0, "down": 0}
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self, direction: str, after: int) -> None:
        with self._guard:
            self._cuts.append(Cut(direction, after))

    @property
    def uncut(self) -> int:
        """Cuts that have not happened."""
        with self._guard:
            return len(self._cuts)

    def zero(self) -> None:
        with self._guard:
            self.passed = {"up": 0, "down": 0}

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            near.settimeout(60)
            far = socket.create_connection(self._target, 10)
            far.settimeout(60)
            for direction, source, sink in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._pass, args=(direction, source, sink), daemon=True).start()

    def _pass(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                with self._guard:
                    cut = next(
                        (c for c in self._cuts if c.direction == direction and carried + len(data) > c.after), None
                    )
                    if cut is not None:
                        self._cuts.remove(cut)
                        data = data[: max(0, cut.after - carried)]
                    carried += len(data)
                    self.passed[direction] += len(data)
                sink.sendall(data)
                if cut is not None:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
