"""A replica of a reusable environment: one process that runs many actions, one after the other or several at once.

Runs in a sandbox with the image's Python (3.10 or later) and its ``flyte``, as ``replica.py serve SCRIPT CONFIG`` (see
``becoming``). What runs actions is the runtime's own for reused containers,
``flyte._internal.runtime.rusty``: a private name, so a version that lacks it, or has another, is refused and
the launcher does without. Modules are imported once and shared by all of its actions: that is what was asked for.

Over ``control``, an inherited socket: it says ``{"ready": …}`` or ``{"refused": why}``; an action is ``{"id", "argv"}``
with its log, ``{"cancel": id}`` ends one; it answers ``{"id", "code", "changed"}``: what of the process an action left
otherwise than it was, or null. In a pod, where no socket is inherited, the same is said by ``calling``.
"""

from __future__ import annotations

import asyncio
import contextvars
import faulthandler
import gc
import importlib
import inspect
import io
import json
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

UTC = timezone.utc  # noqa: UP017 - Python 3.10 has no other
_LOG: contextvars.ContextVar[int] = contextvars.ContextVar("log")
RUNTIME = "flyte._internal.runtime.rusty"
NEEDED = ("create_controller", "download_tgz", "load_task_from_code_bundle", "run_task")
LARGEST = 1 << 18


class Routed(io.RawIOBase):
    """A standard stream whose words go to the log of the action that says them, else to the replica's own."""

    copied = False

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, data: Any) -> int:
        log = _LOG.get(self._number)
        count = os.write(log, data)
        if self.copied and log != self._number:
            os.write(self._number, data[:count])
        return count


class Refused(Exception):
    """This runtime has not what a replica needs."""


def hush() -> None:
    """The runtime writes out what each action gives for a line of its log that only level DEBUG has: a fifth of all
    that an action costs here. Where nobody hears that line, outputs have no text but their type's name."""
    outputs = getattr(sys.modules.get("flyte._internal.runtime.convert"), "Outputs", None)
    if isinstance(outputs, type) and not logging.getLogger("flyte").isEnabledFor(logging.DEBUG):
        outputs.__repr__ = object.__repr__  # type: ignore[assignment]


class Reading:
    """Reads an action's arguments as the runtime's ``command`` (click's) does, which takes a third of all that an
    action costs here. So of a task that was read before only the texts of its options are new: by their places."""

    def __init__(self, command: Any) -> None:
        self._command = command
        self._known: list[tuple[list[str], dict[str, int], dict[str, Any]]] = []

    def __call__(self, argv: list[str]) -> dict[str, Any]:
        for known, places, params in self._known:
            own = set(places.values())
            same = len(known) == len(argv) and all(known[i] == argv[i] for i in range(len(argv)) if i not in own)
            if same and not any(argv[i].startswith("-") for i in own):
                return {**params, **{name: argv[i] for name, i in places.items()}}
        params = dict(self._command.make_context(argv[0], argv[1:]).params)
        self._known = [*self._known[-15:], (argv, self._places(argv, params), params)]
        return dict(params)

    def _places(self, argv: list[str], params: dict[str, Any]) -> dict[str, int]:
        """The options that are texts, each once and taken as they are: where in ``argv`` their texts are."""
        found = {}
        for option in self._command.params:
            at = [i for i, word in enumerate(argv[:-1]) if word in option.opts and word.startswith("--")]
            plain = option.type.name == "text" and option.callback is None and option.nargs == 1
            if plain and len(at) == 1 and params.get(option.name) == argv[at[0] + 1]:
                found[option.name] = at[0] + 1
        return found


class Replica:
    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        self._say = say
        self._actions: dict[int, asyncio.Task[None]] = {}
        self._tasks: dict[Any, Any] = {}
        self._bundles: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._controller: Any = None
        self._set_up = self._state()
        collected = gc.isenabled()
        gc.disable()  # imports leave next to nothing
        try:
            self._runtime = importlib.import_module(RUNTIME)
            self._command = importlib.import_module("flyte._bin.runtime").main
        except (ImportError, AttributeError) as e:
            raise Refused(f"this flyte has no runtime for reused containers: {e}") from e
        missing = [name for name in NEEDED if not hasattr(self._runtime, name)]
        if missing:
            raise Refused(f"this flyte's {RUNTIME} has no {', '.join(missing)}")
        self._taken = frozenset(inspect.signature(self._runtime.run_task).parameters)
        hush()
        gc.freeze()
        if collected:
            gc.enable()
        self._read = Reading(self._command)

    def _state(self) -> dict[str, Any]:
        return {"folder": os.getcwd(), "environment": dict(os.environb)}

    def hear(self, said: Any, log: int = -1) -> None:
        """An order; ``log`` takes the words of an action, and is closed at its end."""
        if "cancel" in said:
            if said["cancel"] in self._actions:
                self._actions[said["cancel"]].cancel()
        else:
            self._actions[said["id"]] = asyncio.get_running_loop().create_task(self._act(said, log))

    async def _act(self, said: Any, log: int) -> None:
        _LOG.set(log)
        code = 0
        try:
            await self._run(said["argv"])
        except asyncio.CancelledError:
            code = 143
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            _LOG.set(2)
            os.close(log)
            del self._actions[said["id"]]
        changed = None
        if not self._actions:
            now = self._state()
            changed = next((name for name in now if now[name] != self._set_up[name]), None)
        self._say({"id": said["id"], "code": code, "changed": changed})

    async def _run(self, argv: list[str]) -> None:
        given = self._read(argv)
        resolver = (given["resolver"], *given["resolver_args"])
        async with self._lock:
            if self._controller is None:
                endpoint = os.environ["_U_EP_OVERRIDE"]
                self._controller = await self._runtime.create_controller(
                    endpoint=endpoint, insecure=endpoint.startswith("http:")
                )
            if given["tgz"] and given["tgz"] not in self._bundles:
                sys.path.insert(0, ".")
                self._bundles[given["tgz"]] = await self._runtime.download_tgz(
                    given["dest"], given["version"], given["tgz"]
                )
                self._set_up = self._state()
            if resolver not in self._tasks:
                self._tasks[resolver] = self._runtime.load_task_from_code_bundle(resolver[0], list(resolver[1:]))
                self._set_up = self._state()
        known = {
            "task": self._tasks[resolver],
            "controller": self._controller,
            "code_bundle": self._bundles.get(given["tgz"]),
            "output_path": given["outputs_path"],
            "input_path": given["inputs"],
            "run_start_time": when(given.get("run_start_time")),
            **{name: given[name] for name in given if name not in ("inputs", "outputs_path", "run_start_time")},
        }
        await self._runtime.run_task(**{name: value for name, value in known.items() if name in self._taken})


def when(text: str | None) -> datetime:
    """As the runtime reads a run's start: what is none is the epoch, so that the names of children do not change."""
    try:
        found = datetime.fromisoformat((text or "").rstrip().replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Inherited:
    """The way to a launcher on the same machine: a socket."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        self._socket.set_inheritable(False)

    def say(self, message: dict[str, Any]) -> None:
        self._socket.send(json.dumps(message).encode())

    def close(self) -> None:
        pass  # what was said is on its way

    async def serve(self, hear: Callable[[Any, int], None]) -> None:
        def receive() -> None:
            data, handles, _, _ = socket.recv_fds(self._socket, LARGEST, 1)
            if not data:
                os._exit(0)  # the launcher is gone, or has lost patience
            hear(json.loads(data), *handles)

        asyncio.get_running_loop().add_reader(self._socket.fileno(), receive)
        self.say({"ready": True})
        await asyncio.Event().wait()


def calling(name: str) -> Any:
    """The way to a run's driver, from a pod, whose log has what its actions print, too."""
    Routed.copied = True
    # Process 1 is asked to end by nothing that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    try:
        return importlib.import_module("calling").Calling(name, os.environ["_U_EP_OVERRIDE"])
    finally:
        del sys.path[0]


async def main() -> None:
    script, config = sys.argv[2], json.loads(sys.argv[3])
    faulthandler.register(signal.SIGUSR1)
    link = Inherited(config["control"]) if "control" in config else calling(config["name"])
    for name, number in (("stdout", 1), ("stderr", 2)):
        routed = io.BufferedWriter(Routed(number), 1)
        setattr(sys, name, io.TextIOWrapper(routed, "utf-8", "backslashreplace", line_buffering=True))
    if not sys.flags.isolated and not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    try:
        replica = Replica(link.say)
    except Refused as e:
        link.say({"refused": str(e)})
        link.close()
    else:
        await link.serve(replica.hear)


if __name__ == "__main__":
    asyncio.run(main())
