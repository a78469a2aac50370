"""What the torture stands on: a project, its index, archive and registry, and commands that can be killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.archive import Signer, serve
from tests.support.index import SimpleIndex
from tests.support.offline import FLYTE, Offline, publish_base, workflow
from tests.support.registries import real_registry
from tests.support.registry import RegistryServer

from . import torture_forks
from .torture_runs import Broken, Runs

__all__ = ["MARK", "Command", "Rig", "rigged"]

HERE = Path(__file__).parents[2]
MARK = "FLYTE_BUILD_TORTURE"
BIG = {"alpha/data.bin": random.Random(1).randbytes(3_000_000), "alpha/__init__.py": b""}


@dataclass(frozen=True)
class Command:
    """A command that was started; ``said``: where its output goes."""

    process: BaseProcess
    said: Path

    def ended(self) -> tuple[int, str, str]:
        """Exit code, output and errors; kills one that has not ended yet."""
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise Broken("a command did not end")
        texts = []
        for suffix in (".out", ".err"):
            path = self.said.with_suffix(suffix)
            texts.append(path.read_text() if path.exists() else "")
            path.unlink(missing_ok=True)
        code = self.process.exitcode or 0
        self.process.close()
        return code, texts[0], texts[1]


@dataclass
class Rig:
    """A project, its index, archive and registry, and what its commands give when nobody kills them."""

    home: Path
    project: Path
    registry: str
    chance: random.Random
    reference: dict[str, str] = field(default_factory=dict)
    locks: dict[str, bytes] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pushes: int = 0
    commands: int = 0
    runs: Runs | None = None

    @property
    def store(self) -> Path:
        return self.home / "cache"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    def command(self, *words: str) -> Command:
        self.commands += 1
        said = self.home / "said" / str(self.commands)
        environ = {**os.environ, "TMPDIR": str(self.temporary)}
        return Command(torture_forks.start(torture_forks.cli, words, self.project, environ, said), said)

    def ok(self, *words: str) -> str:
        started = time.monotonic()
        command = self.command(*words)
        command.process.join(300)
        code, out, err = command.ended()
        if code:
            raise Broken(f"`{' '.join(words)}` ended with {code}: {err.strip()[-2000:]}")
        self.seconds[words[0]] = time.monotonic() - started
        return out

    def kill(self, *words: str, beside: Command | None = None) -> bool:
        """Start a command and kill it, or first the one ``beside`` it; whether what was killed first still ran."""
        command = self.command(*words)
        command.process.join(self.chance.uniform(0, 1.05 * self.seconds.get(words[0], 2.0)))
        victims = [command.process, *([beside.process] if beside else [])]
        self.chance.shuffle(victims)
        alive = victims[0].is_alive()
        victims[0].kill()
        if beside is None or self.chance.random() < 0.3:
            for victim in victims:
                victim.kill()
        for one in (command, *([beside] if beside else [])):
            one.process.join(300)
            code, _, err = one.ended()
            # One that was not killed has to end well beside one that was.
            if code not in (0, -signal.SIGKILL):
                raise Broken(f"beside a killed one a command ended with {code}: {err.strip()[-2000:]}")
        return alive

    def fresh(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)

    def digests(self, *words: str) -> None:
        """Build or push, and compare."""
        images = json.loads(self.ok(*words, "--json"))["images"]
        found = {f"{i['environment']} {i['platform']}": str(i["digest"]) for i in images}
        if self.reference and found != self.reference:
            raise Broken(f"expected {self.reference}, found {found}")
        self.reference = found


@contextmanager
def rigged(seed: int) -> Iterator[Rig]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        signer = Signer(home / "key")
        stack.callback(signer.close)
        publish_base(home / "www", signer)
        (home / "wheels").mkdir()
        archive = stack.enter_context(serve(home / "www"))
        index = stack.enter_context(SimpleIndex(home / "wheels"))
        offline = Offline(home, index, archive, patch, cast("Any", None))
        offline.configure(signer.keyring)
        offline.publish("flyte", FLYTE)
        offline.publish("alpha", files=BIG, method=0)
        offline.publish("beta", requires=["alpha"])
        offline.write(workflow("low: alpha", "top(low): alpha beta"))
        (home / "tmp").mkdir()
        (home / "said").mkdir()
        if shutil.which("docker-registry"):
            host = stack.enter_context(real_registry("docker-registry", home / "registry")).host
        else:
            print("docker-registry is not installed: a registry of the tests takes its place")
            host = stack.enter_context(RegistryServer()).host
        # Not before: what the rig stands on lives on.
        patch.setenv(MARK, str(home))
        patch.setenv("PYTHONPATH", str(HERE))
        rig = Rig(home, offline.project, host, random.Random(seed))
        rig.ok("lock", "flow.py")
        rig.locks = {p.name: p.read_bytes() for p in (rig.project / "lockfiles").iterdir()}
        rig.digests("build", "flow.py")
        # Locks with pins: what a build adds to them is not what a killed `lock` is asked for.
        rig.ok("bundle", "flow.py", "--output", str(home / "bundle"))
        rig.digests("push", "flow.py", "--registry", f"{host}/t0")
        rig.ok("unbundle", str(home / "bundle"), "--lockfiles", str(home / "there"))
        yield rig
