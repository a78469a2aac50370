"""Law 5: nothing is trusted without its hash, and a crash at any instant leaves a valid store."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.building.building import build
from flyte_build.kernel.errors import FetchError, FlyteBuildError, StoreError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.http import Fault, ServerLocator, serving
from tests.support.images import FolderLocator, image_of, wheel_layer

ROOT = Path(__file__).parent.parent.parent
NAMES = ("alpha", "beta", "gamma", "delta")

_BUILD = """
import os, random, resource, signal, sys, threading, time
from pathlib import Path
from flyte_build.building.building import build
from flyte_build.errors import FlyteBuildError
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.images import FolderLocator, image_of, wheel_layer

wheels, store, scratch = Path(sys.argv[1]), Store(Path(sys.argv[2])), Path(sys.argv[3])
limit, last, moment = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])
layers = [wheel_layer(scratch, name, 400_000) for name in ("alpha", "beta", "gamma", "delta")]
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
steps = 0
EVENTS = {'open', 'os.rename', 'os.remove', 'os.mkdir', 'os.chmod'}

def step(event, arguments):
    # What is about to happen to a file of the store: opened, renamed, removed, made.
    global steps
    if event in EVENTS and str(arguments[0]).startswith(sys.argv[2]):
        steps += 1
        if steps == last:
            threading.Thread(target=die).start() if moment else die()

def die():
    time.sleep(moment)
    os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
try:
    images = [image_of("env", layers), image_of("other", layers[:2])]
    built = build(images, store, locator=FolderLocator(wheels), reporter=Silent())
except FlyteBuildError as e:
    print(e.exit_code, e.message, e.hint)
else:
    print(steps, built[0].manifest_digest)
"""


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in NAMES:
        wheel_layer(folder, name, 400_000)
    return folder


def start(wheels: Path, store: Store, limit: int = 0, last: int = 0, moment: float = 0) -> subprocess.Popen[str]:
    """A build in a process of its own. ``limit``: no file may be longer. It is killed before its ``last`` step on a
    file of the store, or ``moment`` seconds after that; says how many there were, and what was built.
    """
    scratch = tempfile.mkdtemp(dir=wheels.parent)
    command = [sys.executable, "-c", _BUILD, str(wheels), str(store.root), scratch, *map(str, (limit, last, moment))]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def hashes_hold(store: Store) -> None:
    """Every file under a name that is a hash has that hash. Nothing is asked of the store's own code."""
    for folder in (store.blobs, store.artifacts):
        for path in folder.iterdir() if folder.is_dir() else ():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.mark.slow
def test_a_kill_at_any_instant_leaves_a_valid_store(wheels: Path, tmp_path: Path) -> None:
    """Instants are counted in steps and not in seconds, which differ with all else that the machine does."""
    said, _ = start(wheels, Store(tmp_path / "reference")).communicate(timeout=60)
    steps, expected = said.split()
    assert expected.startswith("sha256:")

    chance = random.Random(5)
    store = Store(tmp_path / "store")
    killed = finished = 0
    for number in range(20):
        # In the middle of a step, which may be a long write, every other time.
        moment = chance.uniform(0.0001, 0.01) if number % 2 else 0
        running = start(wheels, store, last=chance.randint(1, int(steps)), moment=moment)
        said, _ = running.communicate(timeout=60)
        killed += running.returncode == -signal.SIGKILL
        hashes_hold(store)
        assert store.verify().findings == ()
        # One that was killed while it told may have come no further than the number of its steps.
        if len(said.split()) == 2:
            assert said.split()[-1] == expected
            finished += 1
            store = Store(tmp_path / f"store{finished}")
    assert killed >= 5
    assert start(wheels, store).communicate(timeout=60)[0].split()[-1] == expected
    assert store.verify().ok
    assert [p for p in store.tmp.rglob("*") if p.is_file()] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount; the limit on file sizes covers the rest")
def test_a_full_disk_is_an_error_with_the_way_out_and_half_writes_nothing(wheels: Path, small_disk: Path) -> None:
    store = Store(small_disk / "store")
    running = start(wheels, store)
    said = running.communicate(timeout=60)[0]
    assert "9 " in said
    assert str(store.root) in said
    assert "no space left" in said
    assert "store gc" in said
    hashes_hold(store)
    assert store.tags() == {}
    assert store.verify().ok
    assert list(store.tmp.glob("session-*")) == []
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    assert start(wheels, store).communicate(timeout=60)[0].split()[-1].startswith("sha256:")
    assert store.verify().ok


@pytest.mark.parametrize("limit", [100, 3000, 200_000, 401_300])
def test_a_write_that_fails_half_way_leaves_nothing_behind(wheels: Path, tmp_path: Path, limit: int) -> None:
    store = Store(tmp_path / "store")
    said = start(wheels, store, limit).communicate(timeout=60)[0]
    assert "no space left" in said, said
    hashes_hold(store)
    assert store.verify().ok
    assert list(store.tmp.glob("session-*")) == []
    assert start(wheels, store).communicate(timeout=60)[0].split()[-1].startswith("sha256:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount; permissions are tested elsewhere")
def test_a_read_only_store_serves_what_it_has_and_refuses_the_rest(wheels: Path, tmp_path: Path) -> None:
    disk, scratch = tmp_path / "disk", tmp_path / "scratch"
    disk.mkdir()
    scratch.mkdir()
    alpha, beta = (wheel_layer(scratch, name, 400_000) for name in ("alpha", "beta"))
    store = Store(disk / "store")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=True)
    try:
        [built] = build([image_of("env", [alpha])], store, locator=FolderLocator(wheels), reporter=Silent())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        [again] = build([image_of("env", [alpha])], store, locator=FolderLocator(wheels), reporter=Silent())
        assert again.manifest_digest == built.manifest_digest
        assert again.reused
        assert store.verify().ok
        with pytest.raises(StoreError, match="cannot be written") as e:
            build([image_of("env", [alpha, beta])], store, locator=FolderLocator(wheels), reporter=Silent())
        assert "FLYTE_BUILD_CACHE" in str(e.value.hint)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("lie", [b"", b"<html>not found</html>", b"PK\3\4"])
def test_bytes_that_are_not_those_locked_never_get_in(tmp_path: Path, lie: bytes) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    layer = wheel_layer(scratch, "alpha", 400_000)
    wanted = layer.artifacts[0]
    padded = lie.ljust(wanted.size, b"\0")
    store = Store(tmp_path / "store")
    with serving() as server:
        server.put(wanted.file, b"", Fault(body=padded), forever=True)
        with pytest.raises(FetchError, match=f"expected SHA-256 {wanted.sha256}"):
            build([image_of("env", [layer])], store, locator=ServerLocator(server.url), reporter=Silent())
    assert list(store.artifacts.iterdir()) == []
    assert list(store.blobs.iterdir()) == []
    assert sum(p.stat().st_size for p in store.partial.iterdir()) == 0


def test_a_power_cut_cannot_leave_a_claim_without_its_bytes(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of what reaches the disk: a file's bytes before its name, and all names before a claim on them."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    synced: set[tuple[int, int]] = set()
    directories: set[Path] = set()
    real_fsync, real_replace = os.fsync, os.replace
    events: list[str] = []

    def fsync(handle: int) -> None:
        found = os.fstat(handle)
        synced.add((found.st_dev, found.st_ino))
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        directories.add(path) if path.is_dir() else None
        real_fsync(handle)

    def replace(source: Path, target: Path) -> None:
        found = os.stat(source)
        assert (found.st_dev, found.st_ino) in synced, f"{target} was named before its bytes were on the disk"
        target = Path(target)
        if target.parent == store.realisations and target.suffix == ".json":
            assert store.blobs in directories, f"{target} was made before its blobs were durable"
            assert store.listings in directories
        events.append(target.name)
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    store = Store(tmp_path / "store")
    layers = [wheel_layer(scratch, name, 400_000) for name in NAMES[:2]]
    build([image_of("env", layers)], store, locator=FolderLocator(wheels), reporter=Silent())
    assert events[-1] == "index.json"
    assert store.oci in directories


def test_errors_of_the_store_are_errors_for_people() -> None:
    assert issubclass(StoreError, FlyteBuildError)
    assert (StoreError.exit_code, FetchError.exit_code) == (9, 6)
