"""The caller's end of a stage: starts it, maps its ids, asks it, hears what programs say, ends it. Linux only.

Requests, and the open files that go with them, are sent over a socket, as a stage may serve one step after the other.
Whatever ends the ``with`` block, an interrupt included, ends every program of the step, and then removes the folder.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from ..kernel.errors import SandboxError, SealError
from . import ids

__all__ = ["StageProcess"]

_BLOCK = 1 << 16
_PACKAGE_ROOT = Path(__file__).parents[2]


class StageProcess:
    """One stage in ``folder``, which is made where it is missing. ``lost``: whether an answer did not come, be it for
    an interrupt; nothing more can be asked then."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lost = folder, False
        self.serve(lambda _: None, lambda _: None, _ENDING)
        folder.mkdir(exist_ok=True)
        owner = ids.owner()
        if owner is not None:
            os.chown(folder, owner, owner)
        folder.chmod(0o700)
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, sys.path)])}
        environment.pop("PYTHONSTARTUP", None)
        self._asking, asked = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-P", "-m", f"{__package__}.stage", str(output)],
                stdin=asked.fileno(),
                stdout=subprocess.PIPE,
                pass_fds=(output,),
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._output)
            self._asking.close()
            raise
        finally:
            os.close(output)
            asked.close()
        self._left = b""

    def __enter__(self) -> StageProcess:
        try:
            if self._answer().get("unshared"):
                ids.map_ids(self._process.pid)
                self._send({})
                found = self._answer()
                if found.get("entered"):
                    return self
                raise SandboxError(f"a step's sandbox cannot be made: {found.get('broken')}", hint=_HINT)
            raise SandboxError("this machine gives no user namespace", hint=_HINT)
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if not self.lost:
            with suppress(SealError, SandboxError, OSError):
                self.ask("remove", names=_leftovers(self.folder))
        self.close()

    def close(self) -> None:
        """End it all, and remove the folder: through a stage of its own where its files are others'."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        for stream in (self._asking, self._process.stdout):
            with suppress(OSError):
                stream.close()
        with suppress(OSError):
            os.close(self._output)
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.geteuid() != 0 and self.folder.exists() and _leftovers(self.folder):
            with suppress(SealError, SandboxError, OSError):
                with StageProcess(self.folder):
                    pass

    # -- speaking ----------------------------------------------------------------------------------

    def serve(self, heard: Callable[[bytes], None], attach: Callable[[int], None], limit: float) -> None:
        """From now on ``heard`` gets what the programs say, and ``attach`` the number of a step's first process before
        it does anything; ``limit``: seconds for each answer."""
        self._heard, self._attach, self._limit = heard, attach, limit

    def ask(self, do: str, handed: Sequence[IO[bytes]] = (), **more: Any) -> dict[str, Any]:
        """What the stage answers; ``handed`` go with the question. Raises :class:`SandboxError` where it has no answer,
        and :class:`SealError` where time runs out."""
        self.lost = True
        self._send({"do": do, **more}, [f.fileno() for f in handed])
        while True:
            found = self._answer()
            if "attach" not in found:
                break
            self._attach(found["attach"])
            self._send({})
        self.lost = False
        if "broken" in found:
            raise SandboxError(f"a step's sandbox: {found['broken']}", hint=_HINT)
        return found

    def _send(self, what: dict[str, Any], files: Sequence[int] = ()) -> None:
        data = json.dumps(what).encode() + b"\n"
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer that does not come says so
            sent = socket.send_fds(self._asking, [data], files)
            self._asking.sendall(data[sent:])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answers, end = self._process.stdout.fileno(), time.monotonic() + self._limit
        while b"\n" not in self._left:
            left = end - time.monotonic()
            ready, _, _ = select.select([answers, self._output], [], [], max(left, 0))
            if not ready:
                raise SealError(
                    f"the step did not end within {self._limit / 60:.0f} minutes",
                    hint="`seal-minutes` of [tool.flyte-build] says how long a step may take",
                )
            self._hear()
            if answers in ready:
                data = os.read(answers, _BLOCK)
                if not data:
                    raise SandboxError(
                        "a step's sandbox was killed",
                        hint="perhaps for want of memory, which `dmesg` says: free some, and run again",
                    )
                self._left += data
        # Whoever could still have said something has ended by now.
        self._hear()
        line, _, self._left = self._left.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while data := os.read(self._output, _BLOCK):
                self._heard(data)


_ENDING = 600.0
_HINT = (
    "steps that run programs need user namespaces, and a store ($FLYTE_BUILD_CACHE) on ext4, xfs, btrfs or tmpfs: lock "
    "on a machine that has them"
)


def _leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir())
