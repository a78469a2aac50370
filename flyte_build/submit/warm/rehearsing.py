"""What a worker imports before it forks, and what it learns from a whole action that is only a rehearsal.

Runs in a sandbox with the image's Python (3.8 or later), standard library only. The first action is a fork of an
interpreter that has imported the runtime, and no more: it finds for itself what a rehearsal would tell, and nobody
waited for one before it. The rehearsal is for those that follow: what an action imports late, its TLS contexts, HTTP
clients and regular expressions are made once then, before they are forked.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

REHEARSAL_SECONDS = 30
REHEARSAL = "import flyte\n@flyte.TaskEnvironment('rehearsal').task\ndef nothing() -> int:\n    return 1\n"
ARGUMENTS = """--inputs {0}/inputs.pb --outputs-path {0}/out --version 0 --run-base-dir {0} --run-name r --name r
 --org o --project p --domain d --raw-data-path {0} --checkpoint-path {0} --prev-checkpoint {0}
 --resolver flyte._internal.resolvers.default.DefaultTaskResolver mod rehearsal instance nothing"""


class Prepared:
    """``preload`` imported, and still. ``stillness`` is that module; ``run`` takes an action's arguments.

    ``imported`` are those that there were. Raises ``NotForkable``; after :meth:`begin` or :meth:`end` have raised
    anything, nothing is forked any more.
    """

    def __init__(self, stillness: Any, preload: Sequence[str], run: Callable[[Sequence[str]], int]) -> None:
        self._stillness, self._run = stillness, run
        self._contexts, self._transports, self._made = stillness.Contexts(), stillness.Transports(), 0
        self._told: Any = None
        had = stillness.open_files()
        with stillness.uncollected():
            self.imported = [name for name in preload if _imports(name)]
        self._still = stillness.Still(had, collect=not preload)
        self.whole = not self.imported
        """Whether nothing is left to be learnt."""

    def stir(self, env: Any) -> None:
        """In a fork that is to have the variables ``env``: start what was stopped, and give what was made."""
        self._contexts.hand_out()
        self._transports.lighten(self._made, env)
        self._still.stir()

    def begin(self) -> int:
        """Begin a whole action in a fork that is thrown away; its process, for whose end :meth:`end` has to wait."""
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 - until its end
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                self._rehearse()
            os._exit(0)
        return pid

    def _rehearse(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.alarm(REHEARSAL_SECONDS)
        told = self._told.fileno()
        for number in self._stillness.open_files():
            if number > 2 and number != told:
                os.close(number)  # among them the links of actions
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            for name, text in (("rehearsal.py", REHEARSAL), ("inputs.pb", "")):
                with open(name, "w") as f:
                    f.write(text)
            before, had = set(sys.modules), set(self._stillness.patterns())
            self._contexts.record()
            self._transports.record()
            self._still.stir()
            self._run(ARGUMENTS.format(folder).split())
            names = [n for n in sys.modules if n not in before and n != "rehearsal"]
            new = [pattern for pattern in self._stillness.patterns() if pattern not in had]
            os.write(told, json.dumps([names, self._contexts.calls, self._transports.count, new]).encode())

    def end(self, between: Callable[[], object]) -> None:
        """Have what the rehearsal, which has ended, found to be wanted. ``between`` is called now and then."""
        with self._told as told:
            told.seek(0)
            late, calls, self._made, patterns = json.loads(told.read() or b"[[], [], 0, []]")
        had = self._stillness.open_files()
        self._still.stir()
        for name in late:
            _imports(name)
            between()
        self._contexts.make(calls)
        self._stillness.compiled(patterns)
        between()
        self._stillness.recall(self.imported)
        self._still = self._stillness.Still(had)
        self.whole = True


def _imports(name: str) -> bool:
    """One that this version does not have only makes an action slower."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
