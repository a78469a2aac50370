"""Runs that are killed and resumed: what a run of several actions, calls in calls and retries leaves behind.

The launcher is the real one, and so are its sandboxes; the runtime in them is :mod:`.stub_runtime`, or the SDK's own.
Each launcher is a process of its own, so that it can be killed.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.common import identifier_pb2
from flyteidl2.core import execution_pb2, interface_pb2
from flyteidl2.task import common_pb2, task_definition_pb2
from google.protobuf import json_format

from flyte_build.kernel.errors import FlyteBuildError
from flyte_build.submit.action import ImageRoot, RootAction
from flyte_build.submit.observer import Collector
from flyte_build.submit.run import DOMAIN, ORG, PROJECT, RunRequest, execute
from flyte_build.submit.sandbox.entrance import choose

from ..support.flyte_files import dry_run, host_image
from . import torture_forks

__all__ = ["Broken", "Runs", "processes"]

HERE = Path(__file__).parents[2]
DIGEST = f"sha256:{7:064x}"
WORKFLOWS = HERE / "tests" / "submit" / "workflows"


def _launch(fields: dict[str, Any], images: Mapping[str, ImageRoot], temporary: Path, said: Path) -> None:
    """A launcher: runs, and writes down how that ended."""
    tempfile.tempdir = str(temporary)
    os.setsid()
    try:
        result = execute(RunRequest(image_roots=images.__getitem__, **fields), Collector())
        found = result.phase.value, result.outputs, str(result.error)
    except FlyteBuildError as e:
        found = "refused", None, e.message
    said.write_bytes(pickle.dumps(found))


class Broken(Exception):
    """Something that has to hold does not."""


# -- what is run -------------------------------------------------------------------------------------


def _work(value: int, *calls: dict[str, Any], fails: int = 0) -> dict[str, Any]:
    kinds = execution_pb2.ContainerError
    failed = kinds(code="Oops", message="on purpose", kind=kinds.RECOVERABLE)
    document = execution_pb2.ErrorDocument(error=failed).SerializeToString(deterministic=True)
    return {"value": value, "calls": list(calls), "fails": fails, "error": document.hex()}


def _spec(name: str, work: Mapping[str, Any], retries: int = 0) -> task_definition_pb2.TaskSpec:
    spec = task_definition_pb2.TaskSpec()
    spec.environment.name = "env"
    template = spec.task_template
    template.id.name = f"env.{name}"
    template.metadata.retries.retries = retries
    template.interface.outputs.CopyFrom(interface_pb2.VariableMap(variables=[{"key": "o0"}]))
    template.container.image = f"flyte-build.local/env@{DIGEST}"
    template.container.args.extend(["a0", "--outputs-path", "{{.outputPrefix}}"])
    template.container.env.add(key="WORK", value=json.dumps(work))
    return spec


def _call(name: str, work: Mapping[str, Any], retries: int = 0) -> dict[str, Any]:
    run = identifier_pb2.RunIdentifier(org=ORG, project=PROJECT, domain=DOMAIN, name="-")
    action = pb.Action(action_id=identifier_pb2.ActionIdentifier(run=run, name=name))
    action.task.spec.CopyFrom(_spec(name, work, retries))
    found: dict[str, Any] = json_format.MessageToDict(action)
    return found


def _workflow() -> tuple[dict[str, Any], int]:
    """A map of three, and a call of one that fails at first; and what it gives."""
    mapped = [_call(f"m{i}", _work(i)) for i in range(3)]
    nested = _call("nested", _work(1000, _call("flaky", _work(100, fails=1), retries=2)))
    return _work(7, *mapped, nested), 7 + 3 + 1100


@dataclass
class Runs:
    """Runs below ``home``."""

    home: Path
    chance: random.Random
    count: int = 0
    launchers: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    images: dict[str, ImageRoot] = field(default_factory=dict)
    roots: dict[str, tuple[RootAction, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs.mkdir(parents=True)
        self.temporary.mkdir()
        image = host_image(self.home / "images", DIGEST)
        place = image.root / "opt" / "stub"
        place.mkdir(parents=True)
        script = Path(__file__).with_name("stub_runtime.py").read_text()
        (place / "a0").write_text(f"#!{sys.executable} -ISB\n{script}")
        (place / "a0").chmod(0o755)
        env = (f"PATH=/opt/stub:{os.path.dirname(sys.executable)}:/usr/bin:/bin", "LANG=C.UTF-8")
        self.images[DIGEST] = ImageRoot(image.digest, image.root, image.python, env, binds=image.binds)
        for number in (8, 9):
            made = host_image(self.home / "images", f"sha256:{number:064x}")
            self.images[made.digest] = made
        self.engine = choose()
        work, value = _workflow()
        with tarfile.open(self.home / "code.tgz", "w:gz"):
            pass
        spec = _spec("main", work).SerializeToString(deterministic=True)
        empty = common_pb2.Inputs().SerializeToString()
        self.roots["stub"] = RootAction(spec, empty, self.home / "code.tgz", "env", "env.main"), value

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def temporary(self) -> Path:
        return self.home / "run-tmp"

    def of_the_sdk(self) -> None:
        """Let there be a root action that the SDK's own runtime executes."""
        if "sdk" not in self.roots:
            self.roots["sdk"] = dry_run(WORKFLOWS, "pipeline", "nested", self.home / "sdk", x=3), 18

    def start(self, kind: str, name: str, resume: str | None) -> BaseProcess:
        environments = ("env",) if kind == "stub" else ("leaf", "middle")
        digests = [DIGEST] if kind == "stub" else [d for d in self.images if d != DIGEST]
        fields = {
            "name": name, "runs_dir": self.runs, "root": self.roots[kind][0], "resume": resume, "cpu": 4,
            "images": dict(zip(environments, digests, strict=True)), "cache": self.home / "task-cache" / name,
            "engine": self.engine,
        }  # fmt: skip
        launcher = torture_forks.start(_launch, fields, self.images, self.temporary, self.home / "said")
        self.launchers.add(str(launcher.pid))
        return launcher

    def finish(self, kind: str, name: str, resume: str | None) -> None:
        """Run to the end, which has to be the right one."""
        began = time.monotonic()
        (launcher := self.start(kind, name, resume)).join(300)
        if launcher.exitcode != 0:
            launcher.kill()
            raise Broken(f"the run {name} ended with {launcher.exitcode}")
        phase, outputs, error = pickle.loads((self.home / "said").read_bytes())
        if phase != "succeeded" or outputs is None:
            raise Broken(f"the run {name} {phase}: {error}")
        (named,) = common_pb2.Outputs.FromString(outputs).literals
        found = named.value.scalar.primitive.integer
        if found != self.roots[kind][1]:
            raise Broken(f"the run {name} gave {found}, expected {self.roots[kind][1]}")
        if resume is None:
            self.seconds[kind] = time.monotonic() - began

    def kill(self, kind: str, name: str, resume: str | None) -> bool:
        """Start a launcher and kill it: anywhere, somewhere after its first action, or after its last; whether it
        still ran."""
        launcher = self.start(kind, name, resume)
        usual, where = self.seconds[kind], self.chance.random()
        if where < 0.7:
            journal = self.runs / name / "journal.jsonl"
            before = _size(journal)
            while launcher.is_alive() and _size(journal) == before:
                time.sleep(0.002)
        if where < 0.15:
            while launcher.is_alive() and "a0" not in self._succeeded(name, 0):
                time.sleep(0.002)
        else:
            launcher.join(self.chance.uniform(0, usual))
        alive = launcher.is_alive()
        launcher.kill()
        launcher.join()
        # A machine gets busier and idler: one that had ended already says that its successor is to be killed sooner.
        self.seconds[kind] *= 1.05 if alive else 0.8
        return alive

    def killed_and_resumed(self, kind: str) -> list[bool]:
        """One round: killed, maybe again while it is resumed, and resumed to its end. For each kill, whether it hit."""
        if kind not in self.seconds:
            self.finish(kind, "whole", None)
        try:
            return self._round(kind)
        finally:
            shutil.rmtree(self.runs)
            self.runs.mkdir()
            self.launchers.clear()

    def _round(self, kind: str) -> list[bool]:
        self.count += 1
        name, hits = f"r{self.count}", [self.kill(kind, f"r{self.count}", None)]
        self.gone(name)
        succeeded = self._succeeded(name, 0)
        for again in range(1, 1 + self.chance.choice((0, 0, 1, 1, 2))):
            name, resume = self._next(name, again)
            before = self._before(name)
            hits.append(self.kill(kind, name, resume))
            self.gone(name)
            self._not_again(name, before, succeeded)
            succeeded |= self._succeeded(name, before[0])
        name, resume = self._next(name, len(hits))
        before = self._before(name)
        self.finish(kind, name, resume)
        self._not_again(name, before, succeeded)
        self.nothing_left()
        return hits

    def _next(self, name: str, number: int) -> tuple[str, str | None]:
        """The name of the run that resumes ``name``, and what it resumes: nothing, where that had not begun."""
        fresh = f"r{self.count}-{number}"
        if not (self.runs / name / "run.json").exists():
            earlier = sorted(p.parent.name for p in self.runs.glob("*/run.json"))
            return fresh, earlier[-1] if earlier else None
        return (name if self.chance.random() < 0.5 else fresh), name

    def _entries(self, name: str) -> list[dict[str, Any]]:
        try:
            lines = (self.runs / name / "journal.jsonl").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith(b"}")]

    def _succeeded(self, name: str, first: int) -> set[str]:
        records = [e["action"] for e in self._entries(name)[first:] if "action" in e]
        return {r["name"] for r in records if r["phase"] == "succeeded"}

    def _before(self, name: str) -> tuple[int, Counter[str]]:
        return len(self._entries(name)), self._executed(name)

    def _executed(self, name: str) -> Counter[str]:
        meta = self.runs / name / "meta"
        return Counter({p.name.removeprefix("executed-"): p.stat().st_size for p in meta.glob("executed-*")})

    def _not_again(self, name: str, before: tuple[int, Counter[str]], succeeded: set[str]) -> None:
        """No action that had succeeded ran once more: neither the journal says so, nor what tasks wrote."""
        first, executed = before
        for entry in self._entries(name)[first:]:
            record = entry.get("action", {})
            if record.get("name") in succeeded and record["phase"] == "running":
                raise Broken(f"{record['name']} had succeeded, and ran again in {name}")
        if again := {a: n for a, n in (self._executed(name) - executed).items() if a in succeeded}:
            raise Broken(f"had succeeded, and executed again in {name}: {again}")

    def gone(self, name: str) -> None:
        """No process of a killed launcher lives on; none may need another start for that."""
        deadline = time.monotonic() + 20
        while left := list(processes(str(self.runs))):
            if time.monotonic() > deadline:
                raise Broken(f"still there after {name} was killed: {left}")
            time.sleep(0.02)

    def nothing_left(self) -> None:
        """After the next start: no mount, control group, temporary file, socket, or scratch of any run."""
        lines = Path("/proc/self/mounts").read_text().splitlines()
        left = [line.split()[1] for line in lines if line.split()[1].startswith(str(self.home))]
        left += [str(p) for p in self.temporary.iterdir()]
        wrong = ("*/scratch/*", "*/actions.sock", "**/.*.part", "**/*.tmp")
        left += [str(p.relative_to(self.runs)) for pattern in wrong for p in self.runs.glob(pattern)]
        groups = Path("/sys/fs/cgroup").glob("**/flyte-build-*")
        left += [str(p) for p in groups if p.name.split("-")[2] in self.launchers]
        if left:
            raise Broken(f"left behind: {left}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def processes(marker: str) -> Iterator[str]:
    """Processes of this machine with ``marker`` in their command line or variables, or in the mounts that they see,
    where those are their own: process 1 of a sandbox has nothing else of ours."""
    own = os.readlink("/proc/self/ns/mnt")
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name != str(os.getpid()):
            try:
                texts = [(folder / name).read_bytes() for name in ("cmdline", "environ")]
                if os.readlink(folder / "ns" / "mnt") != own:
                    texts.append((folder / "mountinfo").read_bytes())
            except OSError:
                continue
            if any(marker.encode() in text for text in texts):
                yield f"{folder.name} {texts[0][:200].replace(bytes(1), b' ').decode(errors='replace')}"
