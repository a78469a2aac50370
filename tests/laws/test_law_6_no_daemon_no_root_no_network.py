"""Law 6: no daemon, no root, no network at build time. Network only to fetch by hash, and to push."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flyte_build.building.building import build
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.images import FolderLocator, files_layer, image_of, wheel_layer

ROOT = Path(__file__).parent.parent.parent

_BUILD = """
import os, sys
from pathlib import Path
from flyte_build.building.building import build
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.images import FolderLocator, files_layer, image_of, wheel_layer

def make(work):
    layers = [wheel_layer(work, "alpha"), files_layer(work, {"home/flyte/main.py": b"x"})]
    return build([image_of("env", layers)], Store(work / "cache"), locator=FolderLocator(work), reporter=Silent())[0]

def watch(event, args):
    if watching and (event.startswith("socket.") or event in _PROCESSES):
        raise AssertionError(f"a build asked for {event} {args}")

_PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}
watching = False
uid = int(sys.argv[3])
# This tree and its interpreter may lie where another user may not look, so everything is imported beforehand.
make(Path(sys.argv[2]))
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
sys.addaudithook(watch)
watching = True
print(os.geteuid(), make(Path(sys.argv[1])).manifest_digest)
"""


def build_in_a_process(uid: int) -> tuple[int, str]:
    """A build by that user, of which the interpreter itself reports every socket and process."""
    with tempfile.TemporaryDirectory() as folder:
        work, warm = Path(folder, "work"), Path(folder, "warm")
        work.mkdir()
        warm.mkdir()
        if uid:
            os.chmod(folder, 0o711)
            os.chown(work, uid, uid)
        command = [sys.executable, "-c", _BUILD, str(work), str(warm), str(uid)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
    found, digest = done.stdout.split()
    return int(found), digest


def test_a_build_opens_no_socket_and_starts_no_process() -> None:
    assert build_in_a_process(0)[1].startswith("sha256:")


@pytest.mark.skipif(os.geteuid() != 0, reason="not root already: every other test is this one")
def test_a_build_needs_no_root_and_gives_the_same_image() -> None:
    uid, digest = build_in_a_process(65534)
    assert (uid, digest) == (65534, build_in_a_process(0)[1])


def test_what_is_in_the_store_needs_no_place_at_all(tmp_path: Path) -> None:
    class Nowhere:
        def places(self, artifact: object) -> object:
            raise AssertionError(f"asked for {artifact}")

        def close(self) -> None:
            return None

    layers = [wheel_layer(tmp_path, "alpha"), files_layer(tmp_path, {"home/flyte/main.py": b"x"})]
    store = Store(tmp_path / "store")
    [first] = build([image_of("env", layers)], store, locator=FolderLocator(tmp_path), reporter=Silent())
    for folder in (store.blobs, store.realisations, store.listings):
        for path in folder.iterdir():
            path.unlink()
    [second] = build([image_of("env", layers)], store, locator=Nowhere(), reporter=Silent())  # type: ignore[arg-type]
    assert second.manifest_digest == first.manifest_digest
    assert not second.reused
