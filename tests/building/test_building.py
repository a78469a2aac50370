"""Building: what is missing is made once, what is there is reused, and what goes wrong leaves a store to go on from."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.building.building import build
from flyte_build.deriving.derivation import LayerDerivation
from flyte_build.kernel.errors import ArtifactError, FetchError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.store import Store
from tests.support.http import Fault, ServerLocator, serving
from tests.support.images import FolderLocator, files_layer, image_of, wheel_layer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def names_in(store: Store, digest: str) -> list[str]:
    with tarfile.open(fileobj=gzip.GzipFile(store.blob_path(digest))) as tar:
        return tar.getnames()


def test_an_image_is_fetched_assembled_stored_and_named(store: Store, wheels: Path) -> None:
    image = image_of(
        "fold_env", [wheel_layer(wheels, "alpha"), files_layer(wheels, {"home/flyte/main.py": b"x = 1\n"})]
    )
    [built] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    assert (built.environment, built.platform, built.reused) == ("fold_env", "linux/amd64", False)
    assert store.tags() == {"fold_env-linux-amd64": built.manifest_digest}
    manifest = store.manifest(built.manifest_digest)
    assert manifest is not None
    assert [x["digest"] for x in manifest["layers"]] == [x.digest for x in built.layers]
    assert built.size == sum(p.stat().st_size for p in store.blobs.iterdir())
    assert "opt/venv/lib/python3.11/site-packages/alpha/data.bin" in names_in(store, built.layers[0].digest)
    assert names_in(store, built.layers[1].digest) == ["home/flyte/main.py"]
    config = json.loads(store.blob_path(manifest["config"]["digest"]).read_bytes())
    for layer, diff_id in zip(built.layers, config["rootfs"]["diff_ids"], strict=True):
        data = gzip.decompress(store.blob_path(layer.digest).read_bytes())
        assert "sha256:" + hashlib.sha256(data).hexdigest() == diff_id == layer.diff_id
    assert store.verify().ok


def test_a_second_build_makes_asks_and_writes_nothing(store: Store, wheels: Path) -> None:
    image = image_of("env", [wheel_layer(wheels, "alpha")])
    [first] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file() and p.parent != store.used}
    locator = FolderLocator(wheels / "gone")
    [second] = build([image], store, locator=locator, reporter=Silent())
    assert locator.asked == []
    assert second.reused
    assert all(layer.reused for layer in second.layers)
    assert (second.manifest_digest, second.size) == (first.manifest_digest, first.size)
    assert [x.digest for x in second.layers] == [x.digest for x in first.layers]
    after = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file() and p.parent != store.used}
    assert after == before


def test_a_layer_of_two_images_is_made_once_and_is_one_blob(store: Store, wheels: Path) -> None:
    shared, own = wheel_layer(wheels, "alpha"), wheel_layer(wheels, "beta")
    locator, reporter = FolderLocator(wheels), Recorder()
    one, two = build([image_of("a", [shared]), image_of("b", [shared, own])], store, locator=locator, reporter=reporter)
    assert sorted(locator.asked) == ["alpha-1.0-py3-none-any.whl", "beta-1.0-py3-none-any.whl"]
    assert one.layers[0].digest == two.layers[0].digest
    [three] = build([image_of("c", [own])], store, locator=FolderLocator(wheels / "gone"), reporter=Silent())
    assert three.layers[0].reused
    assert not three.reused


def test_equal_images_of_two_environments_each_have_their_name(store: Store, wheels: Path) -> None:
    layer = wheel_layer(wheels, "alpha")
    built = build(
        [image_of("a", [layer]), image_of("b", [layer])], store, locator=FolderLocator(wheels), reporter=Silent()
    )
    assert [b.environment for b in built] == ["a", "b"]
    assert store.tags() == dict.fromkeys(["a-linux-amd64", "b-linux-amd64"], built[0].manifest_digest)


@pytest.mark.parametrize("what", ["layer", "manifest", "listing"])
def test_what_vanished_is_made_again_the_same(store: Store, wheels: Path, what: str) -> None:
    image = image_of("env", [wheel_layer(wheels, "alpha"), wheel_layer(wheels, "beta")])
    [first] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    if what == "layer":
        path = store.blob_path(first.layers[0].digest)
    elif what == "manifest":
        path = store.blob_path(first.manifest_digest)
    else:
        path = store.listings / image.layers[0].hash[7:]
        store.blob_path(first.manifest_digest).unlink()
    path.unlink()
    [second] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    assert second.manifest_digest == first.manifest_digest
    assert [x.reused for x in second.layers] == ([True, True] if what == "manifest" else [False, True])
    assert store.verify().ok


def test_a_blob_of_the_wrong_size_counts_as_absent(store: Store, wheels: Path) -> None:
    image = image_of("env", [wheel_layer(wheels, "alpha")])
    [first] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    blob = store.blob_path(first.layers[0].digest)
    blob.chmod(0o644)
    with open(blob, "ab") as f:
        f.write(b"!")
    assert store.image(image.hash) is None
    build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    assert store.verify().ok


@pytest.mark.parametrize("what", ["config", "manifest"])
def test_a_damaged_configuration_is_written_again(store: Store, wheels: Path, what: str) -> None:
    image = image_of("env", [wheel_layer(wheels, "alpha")])
    [first] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    manifest = store.manifest(first.manifest_digest)
    assert manifest is not None
    blob = store.blob_path(first.manifest_digest if what == "manifest" else manifest["config"]["digest"])
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    [second] = build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    assert second.manifest_digest == first.manifest_digest
    assert store.verify().ok


def test_a_corrupt_wheel_is_an_error_that_names_it_and_leaves_nothing(store: Store, wheels: Path) -> None:
    good, bad = wheel_layer(wheels, "alpha"), wheel_layer(wheels, "beta", mutate="truncated")
    with pytest.raises(ArtifactError, match=r"beta-1\.0-py3-none-any\.whl"):
        build([image_of("env", [good, bad])], store, locator=FolderLocator(wheels), reporter=Silent())
    assert store.tags() == {}
    assert list(store.tmp.glob("session-*")) == []
    assert store.verify().ok


def test_of_wheels_that_share_a_path_the_upper_layers_is_there_and_said_to_be(store: Store, wheels: Path) -> None:
    first = wheel_layer(wheels, "alpha")
    (wheels / "other").mkdir()
    second = wheel_layer(wheels / "other", "alpha", 5000)
    for path in (wheels / "other").iterdir():
        path.rename(wheels / "alpha-2.0-py3-none-any.whl")
    renamed = replace(second.artifacts[0], file="alpha-2.0-py3-none-any.whl")
    second = replace(second, artifacts=(renamed,), spec={**second.spec, "title": "alpha again"})
    said = Recorder()
    build([image_of("env", [first, second])], store, locator=FolderLocator(wheels), reporter=said)
    (warning,) = said.warnings
    assert warning.startswith("env: `opt/venv/lib/python3.11/site-packages/alpha")
    assert warning.endswith(" are not the same; those of alpha again are in the image")


def test_what_was_finished_before_a_failure_is_not_made_again(store: Store, wheels: Path) -> None:
    good, missing = wheel_layer(wheels, "alpha"), wheel_layer(wheels, "beta")
    (wheels / "beta-1.0-py3-none-any.whl").rename(wheels / "hidden")
    build([image_of("only", [good])], store, locator=FolderLocator(wheels), reporter=Silent())
    with pytest.raises(FetchError, match="beta"):
        build([image_of("env", [good, missing])], store, locator=FolderLocator(wheels), reporter=Silent())
    (wheels / "hidden").rename(wheels / "beta-1.0-py3-none-any.whl")
    locator = FolderLocator(wheels)
    [built] = build([image_of("env", [good, missing])], store, locator=locator, reporter=Silent())
    assert locator.asked == ["beta-1.0-py3-none-any.whl"]
    assert [x.reused for x in built.layers] == [True, False]


def test_a_layer_is_assembled_while_another_is_still_fetched(store: Store, wheels: Path) -> None:
    quick, slow = wheel_layer(wheels, "quick"), wheel_layer(wheels, "slow", 400_000)
    with serving() as server:
        for path in wheels.iterdir():
            server.put(path.name, path.read_bytes(), Fault(delay=0.15 if path.name.startswith("slow") else 0))

        class Watching(Recorder):
            def warn(self, message: str) -> None:
                raise AssertionError(message)

        build([image_of("env", [slow, quick])], store, locator=ServerLocator(server.url), reporter=Watching())
    made = {h: (store.realisations / f"{h[7:]}.json").stat().st_mtime for h in (quick.hash, slow.hash)}
    arrived = store.artifact_path(slow.artifacts[0].sha256).stat().st_mtime
    assert made[quick.hash] < arrived <= made[slow.hash]


_BUILD = """
import sys
from pathlib import Path
from flyte_build.building.building import build
from flyte_build.deriving.nouns import LayerDerivation
from flyte_build.kernel.reporting import Recorder
from flyte_build.store import Store
from tests.support.http import ServerLocator
from tests.support.images import image_of, wheel_layer

work, url = Path(sys.argv[1]), sys.argv[2]
(work / sys.argv[3]).mkdir()
layers = [wheel_layer(work / sys.argv[3], name, 300_000) for name in ("alpha", "beta", "gamma")]
reporter = Recorder()
[built] = build([image_of("env", layers)], Store(work / "store"), locator=ServerLocator(url), reporter=reporter)
print(built.manifest_digest, sum(layer.reused for layer in built.layers))
"""


def start(work: Path, url: str, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _BUILD, str(work), url, name]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_builds_at_once_share_the_work(tmp_path: Path, wheels: Path) -> None:
    for name in ("alpha", "beta", "gamma"):
        wheel_layer(wheels, name, 300_000)
    with serving() as server:
        for path in wheels.iterdir():
            server.put(path.name, path.read_bytes(), Fault(delay=0.05))
        running = [start(tmp_path, server.url, name) for name in ("one", "two")]
        said = [p.communicate(timeout=120) for p in running]
        assert [p.returncode for p in running] == [0, 0], said
        assert len(server.seen) == 3
    assert len({out.split()[0] for out, _ in said}) == 1
    store = Store(tmp_path / "store")
    assert store.verify().ok
    assert len(list(store.blobs.iterdir())) == 5
    assert [p for p in store.tmp.rglob("*") if p.is_file()] == []


def test_an_interrupt_stops_at_once_and_keeps_what_has_arrived(tmp_path: Path, wheels: Path) -> None:
    for name in ("alpha", "beta", "gamma"):
        wheel_layer(wheels, name, 300_000)
    store = Store(tmp_path / "store")
    with serving() as server:
        for path in wheels.iterdir():
            server.put(path.name, path.read_bytes(), Fault(delay=0.5))
        running = start(tmp_path, server.url, "one")
        for _ in range(200):
            if store.partial.is_dir() and sum(p.stat().st_size for p in store.partial.iterdir()) > 100_000:
                break
            time.sleep(0.05)
        before = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
        assert time.monotonic() - before < 20
        assert "KeyboardInterrupt" in err
        assert list(store.tmp.glob("session-*")) == []
        kept = sum(p.stat().st_size for p in store.partial.iterdir())
        assert kept > 100_000
    # Another server, as the first one may still be sending to whoever hung up.
    with serving() as server:
        for path in wheels.iterdir():
            server.put(path.name, path.read_bytes())
        again = start(tmp_path, server.url, "two")
        assert again.communicate(timeout=60)[1] == ""
        assert sum(s.sent for s in server.seen) == sum(p.stat().st_size for p in wheels.iterdir()) - kept
    assert store.verify().ok


def test_without_a_cache_a_build_that_may_stay_elsewhere_is_a_build(store: Store, wheels: Path) -> None:
    image = image_of("env", [wheel_layer(wheels, "alpha")])
    [built] = build([image], store, locator=FolderLocator(wheels), reporter=Silent(), local=False)
    assert built.local
    assert [(x.source, x.pulled, x.reused) for x in built.layers] == [(None, False, False)]
    assert store.tags() == {"env-linux-amd64": built.manifest_digest}
    [again] = build([image], store, locator=FolderLocator(wheels / "gone"), reporter=Silent(), local=False)
    assert again.reused


def test_a_bases_layer_that_is_here_is_taken_as_it_is(store: Store, wheels: Path) -> None:
    tar = bytes(10240)
    blob = gzip.compress(tar, mtime=0)
    digest, diff_id = ("sha256:" + hashlib.sha256(data).hexdigest() for data in (blob, tar))
    spec = {
        "kind": "base",
        "assembler": 1,
        "title": "python",
        "media_type": "application/vnd.oci.image.layer.v1.tar+gzip",
    }
    base = LayerDerivation({**spec, "digest": digest, "size": len(blob), "diff_id": diff_id}, ())
    image = image_of("env", [base, wheel_layer(wheels, "alpha")])
    with pytest.raises(FetchError, match=f"the base's layer {digest} is not here"):
        build([image], store, locator=FolderLocator(wheels), reporter=Silent())
    with store.session() as session:
        session.put_blob(blob)
    for local in (True, False):
        [built] = build([image], store, locator=FolderLocator(wheels), reporter=Silent(), local=local)
        assert built.local
        assert built.layers[0].digest == digest
    assert store.verify().ok
    place = "registry.example/hub/python"
    [away] = build(
        [image], Store(store.root.parent / "other"), locator=FolderLocator(wheels), reporter=Silent(),
        bases={base.hash: place}, local=False,
    )  # fmt: skip
    assert (away.local, away.manifest_digest) == (False, built.manifest_digest)
    assert [x.source for x in away.layers] == [place, None]
