"""A warm worker: one interpreter imports the runtime once; every action is a fork of it that runs the stock ``a0``.

Runs in a sandbox with the image's Python (3.8 or later), standard library only, as ``worker.py serve SCRIPT CONFIG``
(see ``becoming``). ``CONFIG`` is JSON: ``control`` (an inherited socket), ``preload`` (modules), ``unshare`` (a fork's
namespaces but that of its PIDs), ``attached`` (its network is attached from outside), ``filter`` (the system calls that
it may not make, base64, or null).

Over ``control`` it says ``{"ready": …}`` or ``{"refused": why}`` once, and from then on every message is an action with
two descriptors, its log and its link. The first is begun at once; a rehearsal (``rehearsing``) is for the others, which
wait for it. Over the link goes what ``sandbox/init`` reads, of which ``box`` is what ``sandbox/enter`` takes; where the
rehearsal left what does not survive a fork, it is told ``{"refused": why}``. Two processes are an action: process 1 of
its new namespaces, a fork of this one, and the task, a fork of that one. A worker's actions share a user namespace, in
which only it and processes 1 that still build their mounts have capabilities. It is itself process 1 of a PID namespace
of that (``setns`` takes this to make the next from it), for which the process that it was waits. User code is imported
in the task, never here.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
CAPABILITIES_V3 = 0x20080522
SOON = 0.5
"""Seconds from the first action to the rehearsal, if no other action comes before: its own imports go first."""


def load(name: str) -> Any:
    """A file beside this one (in a sandbox) as a module that nobody else finds."""
    here = f"{HERE}/{name}.py"
    spec = importlib.util.spec_from_file_location(
        name, here if os.path.exists(here) else f"{HERE}/../sandbox/{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


init, enter, stillness, bundled, rehearsing = (
    load(name) for name in ("init", "enter", "stillness", "bundled", "rehearsing")
)


def close_others() -> None:
    """All but the standard three."""
    for number in stillness.open_files():
        if number > 2:
            os.close(number)


def run(script: str, arguments: list[str]) -> int:
    """The script as an interpreter would run it, and then what an interpreter does at its end."""
    code: Any = 0
    sys.argv = [script, *arguments]
    if hasattr(sys, "orig_argv"):
        sys.orig_argv = [sys.executable, script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as e:
        code = e.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code & 0xFF if isinstance(code, int) else int(code is not None)


class Worker:
    """``script`` is the image's ``a0``. Raises ``NotForkable``."""

    def __init__(self, script: str, config: Any, control: socket.socket) -> None:
        self._script, self._config, self._control = script, config, control
        self._links: dict[int, int] = {}
        self._filter = base64.b64decode(config["filter"]) if config["filter"] is not None else None
        # Of what the interpreter's own start brought: a thread keeps its namespaces.
        still = stillness.Still(stillness.open_files())
        try:
            self._own = enter.own_namespaces()
        except OSError as e:
            raise stillness.NotForkable(e.strerror or str(e)) from e
        still.stir()
        if not sys.flags.isolated and not getattr(sys.flags, "safe_path", False):
            sys.path[0] = os.path.dirname(os.path.realpath(script))
        self._prepared = rehearsing.Prepared(stillness, config["preload"], lambda arguments: run(script, arguments))
        self._begun, self._rehearsal, self._refused = False, 0, ""

    def serve(self) -> NoReturn:
        woken, wakes = os.pipe()
        for end in (woken, wakes):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes)
        self._control.send(json.dumps({"ready": self._prepared.imported}).encode())
        while True:
            lacking = self._begun and not self._prepared.whole and not self._refused and not self._rehearsal
            ready, _, _ = select.select([self._control.fileno(), woken], [], [], SOON if lacking else None)
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if self._control.fileno() in ready:
                data, handles, _, _ = socket.recv_fds(self._control, 64, 2)
                if not data:
                    os._exit(0)
                if self._begun:
                    self._prepare(wait=True)
                self._begin(*handles)
                self._begun = True
            elif not ready:
                self._prepare(wait=False)

    def _prepare(self, *, wait: bool) -> None:
        """Begin the rehearsal, if it is lacking; ``wait``: have all of it."""
        if self._prepared.whole or self._refused:
            return
        try:
            if not self._rehearsal:
                # No child of this process itself is in an action's namespace.
                enter.checked(enter.libc.setns(self._own, enter.NEWPID), "its own namespace")
                self._rehearsal = self._prepared.begin()
            if wait:
                os.waitpid(self._rehearsal, 0)
                self._learn()
        except OSError as e:
            self._refuse(e)

    def _learn(self) -> None:
        """The rehearsal has ended."""
        self._rehearsal = 0
        try:
            self._prepared.end(self._reap)
        except BaseException as e:
            self._refuse(e)

    def _refuse(self, why: BaseException) -> None:
        """Fork nothing more: the actions that there are go on."""
        sys.excepthook(type(why), why, why.__traceback__)
        self._rehearsal, self._refused = 0, str(why) or type(why).__name__

    def _begin(self, log: int, link: int) -> None:
        """Fork process 1 of an action. Where that cannot be, its link closes, without a word if none is known."""
        if self._refused:
            with contextlib.suppress(OSError):
                os.write(link, json.dumps({"refused": self._refused[:500]}).encode() + b"\n")
            os.close(log)
            os.close(link)
            return
        try:
            enter.checked(enter.libc.setns(self._own, enter.NEWPID), "its own namespace")
            enter.checked(enter.libc.unshare(enter.NEWPID), "a new namespace")
            pid = os.fork()
        except OSError:
            sys.excepthook(*sys.exc_info())
            os.close(link)
        else:
            if pid == 0:
                try:
                    self._action(log, link)
                finally:
                    os._exit(125)
            self._links[pid] = link
        os.close(log)

    def _reap(self) -> None:
        """Say how those that ended did. Their processor time counts as this one's children's."""
        while self._links or self._rehearsal:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == self._rehearsal:
                self._learn()
                continue
            link = self._links.pop(pid, None)
            if link is not None:  # else an orphan's, that came to process 1
                with contextlib.suppress(OSError):
                    os.write(link, json.dumps({"code": enter.exit_code(status)}).encode() + b"\n")
                os.close(link)

    # -- process 1 of an action -------------------------------------------------------------------------------------

    def _action(self, log: int, link: int) -> None:
        enter.libc.prctl(enter.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.write(link, b"s")
        # By now it is in its control group.
        if os.read(link, 1) != b"g":
            os._exit(137)
        self._control.detach()
        for source, target in ((link, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        close_others()
        try:
            enter.checked(
                enter.libc.unshare(self._config["unshare"] & ~(enter.NEWUSER | enter.NEWPID)), "new namespaces"
            )
            if self._config["attached"]:
                os.write(0, b"n")
            header, orders = init.read_header()
            enter.enter(header["box"])
            enter.checked(enter.libc.capset(struct.pack("Ii", CAPABILITIES_V3, 0), bytes(24)), "dropping capabilities")
            if self._filter is not None:
                enter.load(self._filter)
        except OSError as e:
            with contextlib.suppress(OSError):
                os.write(0, json.dumps({"refused": e.strerror or str(e)}).encode() + b"\n")
            os._exit(125)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(125)
        os.write(0, b'{"entered": true}\n')
        init.serve(header, orders, self._start)

    # -- the task ---------------------------------------------------------------------------------------------------

    def _start(self, header: Any) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 126
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            close_others()
            # The interpreter itself sets it where nothing tells it of a locale (PEP 538).
            kept = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ}
            os.environ.clear()
            os.environ.update({**kept, **header["env"]})
            time.tzset()
            os.chdir(header["cwd"])
            bundled.unpack(header["argv"])
            importlib.invalidate_caches()
            stillness.reseed()
            self._prepared.stir(header["env"])
            code = run(self._script, header["argv"][1:])
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)


def main() -> None:
    config = json.loads(sys.argv[-1])
    control = socket.socket(fileno=config["control"])
    try:
        control.set_inheritable(False)
        Worker(sys.argv[2], config, control).serve()
    except stillness.NotForkable as e:
        control.send(json.dumps({"refused": str(e)}).encode())
        os._exit(75)


if __name__ == "__main__":
    main()
