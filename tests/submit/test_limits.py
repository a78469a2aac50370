"""Tasks that fill the disk, make files without end, or fill memory-backed folders, in real sandboxes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.submit.action import ImageRoot, LaunchRequest, Outcome, Resources
from flyte_build.submit.limits import TaskLimits
from flyte_build.submit.local import LocalLauncher
from flyte_build.submit.observer import Collector
from flyte_build.submit.sandbox.bubblewrap import Bubblewrap
from flyte_build.submit.sandbox.entrance import Entrance
from flyte_build.submit.sandbox.spec import Engine
from flyte_build.submit.storage import RunFolder, Storage
from flyte_build.submit.verdict import judge
from tests.support.flyte_files import host_image

pytestmark = pytest.mark.integration

MIB = 1 << 20
FILL = "import os\nwith open({path!r}, 'wb', 0) as f:\n{more}    while True:\n        f.write(os.urandom(1 << 20))\n"


class Tasks:
    """Code that runs as one attempt of a run, as the launcher does it."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.run: RunFolder = Storage(folder / "runs").run("r")
        self.engine = engine
        self.image: ImageRoot = host_image(folder, f"sha256:{1:064x}")
        self.observer = Collector()
        for path in (self.run.meta, self.run.raw, self.run.kept, self.run.seen, self.run.bundles, self.run.scratch):
            path.mkdir(parents=True)
        for name in ("r/kept", "r/meta", "r/raw"):
            (self.run.seen / name).mkdir(parents=True)
        self.run.socket.touch()

    def __call__(self, code: str, resources: Resources | None = None, **limits: int) -> Outcome:
        for path in (self.run.attempt("a0", 1), self.run.data("a0", 1), self.run.outcome("a0", 1)):
            path.mkdir(parents=True)
        launcher = LocalLauncher(
            folder=self.run,
            engine=self.engine,
            images=lambda digest: self.image,
            token="t",
            observer=self.observer,
            limits=TaskLimits(**limits),
            cgroups=Cgroups(None, None, unified=False),
            environment={},
        )
        args = (sys.executable, "-c", code)
        request = LaunchRequest(
            "r", "a0", 1, "t", self.image.digest, args, {}, self.log, resources or Resources(), timeout=120
        )
        return asyncio.run(launcher.launch(request))

    @property
    def log(self) -> Path:
        return self.run.path / "log"

    @property
    def scratch_is_gone(self) -> bool:
        return list(self.run.scratch.iterdir()) == []


@pytest.fixture
def tasks(tmp_path: Path, engine: Engine) -> Tasks:
    return Tasks(tmp_path, engine)


@pytest.mark.parametrize("path", ["/tmp/x", "/home/flyte/x", "/mnt/flyte/runs/r/raw/a0/1/x", "/mnt/flyte/runs/r/raw/x"])
def test_a_task_that_writes_without_end(tasks: Tasks, path: str) -> None:
    outcome = tasks(FILL.format(path=path, more=""), Resources(disk=40 * MIB))
    assert outcome.reason == "disk"
    assert outcome.message.startswith("it asked for 41.9 MB on disk, and had ")
    assert outcome.message.endswith(f"most of it in {path.partition('/a0')[0].removesuffix('/x')}")
    verdict = judge(outcome, None, outputs=True, wanted=True, timeout=None)
    assert verdict.error is not None
    assert (verdict.error.code, verdict.error.kind) == ("DiskLimitExceeded", "user")
    assert tasks.scratch_is_gone


def test_a_file_that_is_deleted_while_it_is_written(tasks: Tasks) -> None:
    outcome = tasks(FILL.format(path="/tmp/x", more="    os.unlink('/tmp/x')\n"), disk=40 * MIB)
    assert outcome.reason == "disk"
    assert outcome.message.endswith("most of it in deleted files that were open")


def test_a_task_that_makes_files_without_end(tasks: Tasks) -> None:
    code = """
import itertools, os
for number in itertools.count():
    if number % 1000 == 0:
        os.mkdir(f"/tmp/{number}")
        os.chdir(f"/tmp/{number}")
    os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))
"""
    outcome = tasks(code, files=3000)
    assert outcome.reason == "files"
    assert outcome.message.startswith("it may have 3,000 files, and had 3,0")
    assert outcome.message.endswith(", most of them in /tmp")
    verdict = judge(outcome, None, outputs=True, wanted=True, timeout=None)
    assert verdict.error is not None
    assert (verdict.error.code, verdict.error.kind) == ("TooManyFiles", "user")
    assert tasks.scratch_is_gone


def test_files_without_end_in_memory(tasks: Tasks) -> None:
    """``unshare`` gives each folder a number of files; ``bwrap`` cannot, so that they are counted."""
    code = """
import itertools, os
for number in itertools.count():
    os.close(os.open(f"/dev/shm/{number}", os.O_CREAT | os.O_WRONLY))
"""
    outcome = tasks(code, files=2000)
    assert outcome.reason == "files"
    assert outcome.message.startswith("it may have 2,000 files, and had ")
    assert outcome.message.endswith("most of them in memory-backed folders")


def test_a_task_that_has_ended_before_anybody_looked(tasks: Tasks) -> None:
    outcome = tasks("open('/tmp/x', 'wb').write(b'x' * 10_000_000)", disk=8 * MIB)
    assert outcome.reason == "disk"
    outcome = Tasks(tasks.run.path / "2", tasks.engine)("open('/tmp/x', 'wb').write(b'x' * 1_000_000)", disk=8 * MIB)
    assert outcome == Outcome(0)


def test_folders_in_each_other_without_end_are_refused_and_removed(tasks: Tasks) -> None:
    code = """
import os
for _ in range(5000):
    os.mkdir("d")
    os.chdir("d")
"""
    outcome = tasks(f"import os; os.chdir('/tmp')\n{code}")
    assert outcome.reason == "files"
    assert outcome.message == "it may have folders 200 deep in each other, and had deeper ones"
    assert tasks.scratch_is_gone


def test_memory_backed_folders_are_bounded(tasks: Tasks) -> None:
    """Each by its size; and by its files, where the engine can say so."""
    code = """
import json, os
def fill(path):
    size = 0
    try:
        with open(path, "wb", 0) as f:
            while size < 64 << 20:
                size += f.write(b"x" * (1 << 20))
    except OSError as e:
        return e.strerror
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return size
found = {p: fill(f"{p}/x") for p in ("/dev/shm", "/run", "/mnt/flyte", "/etc/flyte/secrets", "/dev")}
found["files"] = os.statvfs("/run").f_files
print(json.dumps(found))
"""
    assert tasks(code, Resources(shm=8 * MIB)).exit_code == 0
    found = json.loads(tasks.log.read_text())
    full = "No space left on device"
    files = found.pop("files")
    engine = tasks.engine.engine if isinstance(tasks.engine, Entrance) else tasks.engine
    if isinstance(engine, Bubblewrap):
        assert found.pop("/dev") == "Read-only file system"
        if engine.version < (0, 7):
            return
    else:
        assert files == 65_536
    assert set(found.values()) == {full}, found


def test_a_task_has_shared_memory_without_asking(tasks: Tasks) -> None:
    code = """
import os
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=20_000_000)
memory.buf[:] = bytes(20_000_000)
memory.close()
memory.unlink()
print(os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize)
"""
    assert tasks(code, Resources(memory=300 * MIB)).exit_code == 0
    assert int(tasks.log.read_text()) == 300 * MIB
