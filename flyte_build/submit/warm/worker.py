"""A warm worker: one interpreter imports the runtime once; every action is a fork of it that runs the stock ``a0``.

Runs in a sandbox with the image's Python (3.8 or later), standard library only, first as ``worker.py become CONFIG``
(isolated; it finds ``a0`` and becomes what its first line names), then as ``serve SCRIPT CONFIG``. ``CONFIG`` is JSON:
``program`` (what it becomes: ``worker`` or ``replica``), ``control`` (an inherited socket, none in a pod), ``preload``
(modules), ``unshare`` (a fork's namespaces but that of its PIDs), ``attached`` (its network is attached from outside),
``filter`` (the system calls that it may not make, base64, or null).

Over ``control`` it says ``{"ready": …}`` or ``{"refused": why}`` once, and from then on every message is an action with
two descriptors, its log and its link. Over the link goes what ``sandbox/init`` reads, of which ``box`` is what
``sandbox/enter`` takes. Two processes are an action: process 1 of its new namespaces, a fork of this one, and the task,
a fork of that one. A worker's actions share a user namespace, in which only it and processes 1 that still build their
mounts have capabilities. It is itself process 1 of a PID namespace of that (``setns`` takes this to make the next from
it), for which the process that it was waits. User code is imported in the task, never here.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import importlib
import importlib.util
import json
import os
import re
import runpy
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from typing import Any, NoReturn

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = "a0"
CAPABILITIES_V3 = 0x20080522
REHEARSAL_SECONDS = 30
REHEARSAL = "import flyte\n@flyte.TaskEnvironment('rehearsal').task\ndef nothing() -> int:\n    return 1\n"
ARGUMENTS = """--inputs {0}/inputs.pb --outputs-path {0}/out --version 0 --run-base-dir {0} --run-name r --name r
 --org o --project p --domain d --raw-data-path {0} --checkpoint-path {0} --prev-checkpoint {0}
 --resolver flyte._internal.resolvers.default.DefaultTaskResolver mod rehearsal instance nothing"""


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


init, enter, stillness, bundled = (load(name) for name in ("init", "enter", "stillness", "bundled"))


def interpreter(script: str) -> list[str]:
    """The command that a script's first line names, or, where that is too long for one, its second (as pip has it)."""
    with open(script, "rb") as f:
        first, second = f.readline(1024), f.readline(1024)
    words = os.fsdecode(first[2:]).strip().split(None, 1) if first.startswith(b"#!") else []
    if words[:1] == ["/bin/sh"]:
        found = re.match(r"""'''exec' ("?)(/.+)\1 "\$0" "\$@"$""", os.fsdecode(second.strip()))
        words = [found[2]] if found else []
    if words and "python" in " ".join(words):
        return words
    raise stillness.NotForkable(f"expected a Python script, found {script} with the first line {first[:100]!r}")


def become(config: str) -> NoReturn:
    """Be run anew, or what ``program`` of the configuration is, by the interpreter of the image's ``a0``."""
    program = json.loads(config)["program"]
    script = init.which(SCRIPT, os.environ.get("PATH", os.defpath))
    if script is None:
        raise stillness.NotForkable(f"{SCRIPT} is not in the image's PATH ({os.environ.get('PATH', '')})")
    words = interpreter(script)
    # Not `os.environ`: this interpreter may have told itself of a locale.
    with open("/proc/self/environ", "rb") as f:
        env = dict(item.partition(b"=")[::2] for item in f.read().split(b"\0") if b"=" in item)
    os.execve(words[0], [*words, f"{HERE}/{program}.py", "serve", script, config], env)


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
        had = stillness.open_files()
        self._contexts, self._transports, self._made = stillness.Contexts(), stillness.Transports(), 0
        with stillness.uncollected():
            self._imported = [name for name in config["preload"] if self._import(name)]
        self._still = stillness.Still(had)
        if self._imported:
            late, calls, self._made, patterns = self._rehearse()
            self._still.stir()
            for name in late:
                self._import(name)
            self._contexts.make(calls)
            stillness.compiled(patterns)
            stillness.recall(self._imported)
            self._still = stillness.Still(had)

    def _import(self, name: str) -> bool:
        """One that this version does not have only makes an action slower."""
        with contextlib.suppress(ImportError):
            return bool(importlib.import_module(name))
        return False

    def _rehearse(self) -> Any:
        """A whole action in a fork that is thrown away: modules that it imports, its TLS contexts, HTTP clients and
        regular expressions."""
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as told:
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(BaseException):
                    signal.alarm(REHEARSAL_SECONDS)
                    null = os.open(os.devnull, os.O_RDWR)
                    for number in (0, 1, 2):
                        os.dup2(null, number)
                    os.chdir(folder)
                    for name, text in (("rehearsal.py", REHEARSAL), ("inputs.pb", "")):
                        with open(name, "w") as f:
                            f.write(text)
                    before, had = set(sys.modules), set(stillness.patterns())
                    self._contexts.record()
                    self._transports.record()
                    self._still.stir()
                    run(self._script, ARGUMENTS.format(folder).split())
                    names = [n for n in sys.modules if n not in before and n != "rehearsal"]
                    new = [pattern for pattern in stillness.patterns() if pattern not in had]
                    found = [names, self._contexts.calls, self._transports.count, new]
                    os.write(told.fileno(), json.dumps(found).encode())
                os._exit(0)
            os.waitpid(pid, 0)
            told.seek(0)
            return json.loads(told.read() or b"[[], [], 0, []]")

    def serve(self) -> NoReturn:
        woken, wakes = os.pipe()
        for end in (woken, wakes):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes)
        self._control.send(json.dumps({"ready": self._imported}).encode())
        while True:
            ready, _, _ = select.select([self._control.fileno(), woken], [], [])
            if woken in ready:
                os.read(woken, 4096)
                self._reap()
            if self._control.fileno() in ready:
                data, handles, _, _ = socket.recv_fds(self._control, 64, 2)
                if not data:
                    os._exit(0)
                self._begin(*handles)

    def _begin(self, log: int, link: int) -> None:
        """Fork process 1 of an action. Where that cannot be, its link closes without a word."""
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
        while self._links:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
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
            self._contexts.hand_out()
            self._transports.lighten(self._made, header["env"])
            self._still.stir()
            code = run(self._script, header["argv"][1:])
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)


def main() -> None:
    what, config = sys.argv[1], json.loads(sys.argv[-1])
    if "control" not in config:  # a replica in a pod, to which an exit code is an answer
        become(sys.argv[-1])
    control = socket.socket(fileno=config["control"])
    try:
        if what == "become":
            become(sys.argv[-1])
        control.set_inheritable(False)
        Worker(sys.argv[2], config, control).serve()
    except stillness.NotForkable as e:
        control.send(json.dumps({"refused": str(e)}).encode())
        os._exit(75)


if __name__ == "__main__":
    main()
