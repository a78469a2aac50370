"""The caller's end of a stage: starts it, maps its ids, asks it, hears what programs say, ends it. Linux only.

Whatever ends the ``with`` block, an interrupt included, ends every program of the step, and then removes the folder.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
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
    """One stage in ``folder``, which is made where it is missing. ``blobs`` are open files that it inherits; ``heard``
    gets what the programs say, ``attach`` the number of a process whose network needs a way out. ``limit``: seconds
    for each answer.
    """

    def __init__(
        self,
        folder: Path,
        blobs: Sequence[IO[bytes]],
        heard: Callable[[bytes], None],
        attach: Callable[[int], None],
        limit: float,
    ) -> None:
        self.folder, self._heard, self._attach, self._limit = folder, heard, attach, limit
        folder.mkdir(exist_ok=True)
        owner = ids.owner()
        if owner is not None:
            os.chown(folder, owner, owner)
        folder.chmod(0o700)
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_PACKAGE_ROOT), *filter(None, sys.path)])}
        environment.pop("PYTHONSTARTUP", None)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-P", "-m", f"{__package__}.stage", str(output)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(output, *(blob.fileno() for blob in blobs)),
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(output)
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
        if kind is None:
            with suppress(SealError, SandboxError, OSError):
                self.ask("remove", names=_leftovers(self.folder))
        self.close()

    def close(self) -> None:
        """End it all, and remove the folder: through a stage of its own where its files are others'."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        with suppress(OSError):
            os.close(self._output)
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.geteuid() != 0 and self.folder.exists() and _leftovers(self.folder):
            with suppress(SealError, SandboxError, OSError):
                again = StageProcess(self.folder, (), lambda _: None, lambda _: None, self._limit)
                with again:
                    pass

    # -- speaking ----------------------------------------------------------------------------------

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """What the stage answers. Raises :class:`SealError` where it has no answer, and where time runs out."""
        self._send({"do": do, **more})
        while True:
            found = self._answer()
            if "attach" not in found:
                break
            self._attach(found["attach"])
            self._send({})
        if "broken" in found:
            raise SandboxError(f"a step's sandbox: {found['broken']}", hint=_HINT)
        return found

    def _send(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer that does not come says so
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answers, end = self._process.stdout.fileno(), time.monotonic() + self._limit
        while b"\n" not in self._left:
            left = end - time.monotonic()
            ready, _, _ = select.select([answers, self._output], [], [], max(left, 0))
            if not ready:
                raise SealError(f"the step did not end within {self._limit / 60:.0f} minutes")
            self._hear()
            if answers in ready:
                data = os.read(answers, _BLOCK)
                if not data:
                    raise SandboxError("a step's sandbox was killed", hint="is the machine out of memory?")
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


_HINT = (
    "steps that run programs need user namespaces, and a store ($FLYTE_BUILD_CACHE) on ext4, xfs, btrfs or tmpfs: lock "
    "on a machine that has them"
)


def _leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir())
