"""Process 1 of a sandbox: starts the task, forwards the service's socket, reaps, and dies with its launcher.

It runs with the *image's* Python (3.8 or later), isolated (``-I -S``), so it uses the standard library
only and imports nothing of ours; and of that what costs nothing to import, for ``socket``, ``threading`` and ``json``
would be half of all that this process takes. It talks to the launcher through standard input: one line of JSON
(``argv``, ``env``, ``cwd``, ``socket``, ``files``, ``serves``, ``reaches``, ``awaits``), then single bytes: ``t`` asks
every process to terminate. When standard input ends, the launcher is gone or has lost patience, and this process exits
at once; the kernel then kills whatever is left in the PID namespace. That holds for ``kill -9`` of the launcher too.

The stock runtime speaks HTTP over TCP only, so a port on the sandbox's loopback is forwarded to the Unix
socket of the service. ``:0/`` in ``_U_EP_OVERRIDE`` is replaced by that port, and the action's name put behind it.
Ports of other sandboxes are reached the same way: ``serves`` are listening sockets that it inherited, each with the
port in here that answers on it, ``reaches`` addresses and ports that are opened in here, each with the Unix socket it
leads to. ``awaits`` is a port and an open file that gets a byte once something listens on the port; only then
connections are taken. It keeps nothing on a disk.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    import _signal as signal

CHUNK = 1 << 16


class suppress:
    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


class _Plain:
    """What ``json`` tells the scanner that it is made of."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float
    memo: dict[str, str] = {}  # noqa: RUF012


def parsed(text: str) -> Any:
    """One line of JSON, as the launcher writes it."""
    try:
        from _json import make_scanner

        return make_scanner(_Plain)(text, 0)[0]  # type: ignore[arg-type]
    except Exception:  # an interpreter of another make, or one that asks for more
        import json

        return json.loads(text)


def begin(function: Callable[..., object], *arguments: object) -> None:
    """Run it beside the rest."""
    _thread.start_new_thread(function, arguments)


def stream(family: int) -> _socket.socket:
    return _socket.socket(family, _socket.SOCK_STREAM)


def read_header() -> tuple[Any, bytes]:
    """The header, and the orders that came with it."""
    data = b""
    while b"\n" not in data:
        more = os.read(0, CHUNK)
        if not more:
            os._exit(137)
        data += more
    line, _, orders = data.partition(b"\n")
    return parsed(line.decode()), orders


def pump(source: _socket.socket, sink: _socket.socket) -> None:
    try:
        while True:
            data = source.recv(CHUNK)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    for end, how in ((source, _socket.SHUT_RD), (sink, _socket.SHUT_WR)):
        with suppress(OSError):
            end.shutdown(how)


def relay(client: _socket.socket, path: str | tuple[str, int]) -> None:
    server = stream(_socket.AF_UNIX if isinstance(path, str) else _socket.AF_INET)
    done = _thread.allocate_lock()

    def back() -> None:
        try:
            pump(server, client)
        finally:
            done.release()

    try:
        server.connect(path)
        done.acquire()
        begin(back)
        pump(client, server)
        done.acquire()
    except OSError:
        pass
    finally:
        server.close()
        client.close()


def forward(listener: _socket.socket, path: str | tuple[str, int]) -> None:
    while True:
        try:
            accepted, _ = listener._accept()  # type: ignore[attr-defined]
            client = _socket.socket(fileno=accepted)
        except OSError as e:
            if e.errno in (errno.ECONNABORTED, errno.EMFILE, errno.EINTR):
                continue
            return
        if isinstance(path, str):
            client.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        begin(relay, client, path)


def which(name: str, path: str) -> str | None:
    if "/" in name:
        return name
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", name)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return None


def start(spec: Any) -> int:
    env = spec["env"]
    program = which(spec["argv"][0], env.get("PATH", os.defpath))
    if program is None:
        sys.stderr.write(f"{spec['argv'][0]}: not found in the image's PATH ({env.get('PATH', '')})\n")
        sys.stderr.flush()
        os._exit(127)
    try:
        os.chdir(spec["cwd"])
        return os.posix_spawn(
            program,
            spec["argv"],
            env,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
        )
    except OSError as e:
        sys.stderr.write(f"{program}: {e}\n")
        sys.stderr.flush()
        os._exit(126)


def reap(child: int) -> int | None:
    """The exit code of ``child`` once it is dead, else None; every other dead process is collected."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def terminate() -> None:
    with suppress(OSError):
        os.kill(-1, signal.SIGTERM)


def write_files(files: dict[str, str]) -> None:
    """Secrets: on the sandbox's tmpfs, for the task alone."""
    for path, text in files.items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w", encoding="utf-8") as f:
            f.write(text)


def reached(ports: list[tuple[str, int, str]]) -> list[tuple[_socket.socket, str]]:
    """A listener for each port that leads out."""
    found = []
    for host, port, path in ports:
        listener = stream(_socket.AF_INET)
        listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as e:
            sys.stderr.write(f"{host}:{port} is taken: {e.strerror}\n")
            sys.stderr.flush()
            os._exit(126)
        listener.listen(64)
        found.append((listener, path))
    return found


def lead_in(serves: list[tuple[int, int]], awaits: tuple[int, int] | None) -> None:
    """Take the connections of other sandboxes, from when the port that is awaited answers."""
    if awaits is not None:
        port, ready = awaits
        while True:
            trying = stream(_socket.AF_INET)
            trying.settimeout(1.0)
            try:
                trying.connect(("127.0.0.1", port))
                break
            except OSError:
                time.sleep(0.05)
            finally:
                trying.close()
        with suppress(OSError):
            os.write(ready, b"1")
        os.close(ready)
    for file, port in serves:
        begin(forward, _socket.socket(fileno=file), ("127.0.0.1", port))


def serve(spec: Any, orders: bytes, start: Callable[[Any], int]) -> NoReturn:
    """Be process 1 of the task that ``start`` begins, which gives its process."""
    os.umask(0o022)
    with suppress(PermissionError):  # it is, where whoever started it saw to that
        os.setsid()  # as in a container: what a task sends to its group reaches nobody outside
    write_files(spec.get("files") or {})
    listener = None
    leads = reached(spec.get("reaches") or [])
    if spec.get("socket"):
        listener = stream(_socket.AF_INET)
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        endpoint = spec["env"].get("_U_EP_OVERRIDE", "")
        # Who asks: a process that several actions share has no action's name.
        action = spec["env"].get("ACTION_NAME")
        endpoint = endpoint.replace(":0/", f":{listener.getsockname()[1]}/", 1)
        spec["env"]["_U_EP_OVERRIDE"] = f"{endpoint}/as/{action}" if action else endpoint
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: terminate())
    child = start(spec)
    # After it: where the task is a fork, a thread would not be in it.
    if listener is not None:
        begin(forward, listener, spec["socket"])
    for lead in leads:
        begin(forward, *lead)
    if spec.get("serves") or spec.get("awaits"):
        begin(lead_in, spec.get("serves") or [], spec.get("awaits"))
    if b"t" in orders:
        terminate()
    while True:
        code = reap(child)
        if code is not None:
            os._exit(code)
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            with suppress(BlockingIOError):
                os.read(wake_read, 4096)
        if 0 in ready:
            order = os.read(0, 64)
            if not order:
                os._exit(137)
            if b"t" in order:
                terminate()


if __name__ == "__main__":
    serve(*read_header(), start)
