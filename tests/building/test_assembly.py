"""Layers of one build work together: what one unpacked, the next one does not unpack again."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_build.assemble import deb as debian_package
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.building.building import build
from flyte_build.deriving.derivation import Artifact, LayerDerivation
from flyte_build.kernel.reporting import Silent
from flyte_build.sources.locators import FileLocator
from flyte_build.store import Store
from tests.support.debs import build_deb
from tests.support.images import FolderLocator, image_of, wheel_layer

USER = {"name": "flyte", "uid": 1000, "gid": 1000, "home": "/home/flyte"}


def packages(folder: Path, *names: str) -> list[Artifact]:
    made = []
    for name in names:
        program = {f"usr/bin/{name.removesuffix('-minimal')}": (0o755, name.encode())}
        path = build_deb(folder, name, "3.11.2-6" if name.startswith("python") else "1.0-1", program)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        made.append(Artifact(sha256, path.stat().st_size, path.name))
    return made


def layer(kind: str, debs: list[Artifact], **fields: object) -> LayerDerivation:
    rows = [{"file": a.file, "sha256": a.sha256} for a in debs]
    spec = {"kind": kind, "assembler": ASSEMBLER, "title": kind, "debs": rows, **fields}
    return LayerDerivation(spec, tuple(debs))  # type: ignore[arg-type]


def system(debs: list[Artifact]) -> LayerDerivation:
    return layer("system", debs, suite="bookworm", python="3.11", venv="/opt/venv", user=USER)


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages whose data was unpacked, in order."""
    seen: list[str] = []
    original = debian_package._decompress

    def spy(stream, part, artifact, out, limit=None):  # type: ignore[no-untyped-def]
        if part.name.startswith("data.tar"):
            seen.append(artifact)
        return original(stream, part, artifact, out, limit)

    monkeypatch.setattr(debian_package, "_decompress", spy)
    return seen


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_package_is_unpacked_once_a_build(tmp_path: Path, unpacked: list[str], jobs: int) -> None:
    base = packages(tmp_path, "bash", "python3.11-minimal")
    asked = packages(tmp_path, "git")
    store = Store(tmp_path / "store")
    images = [
        image_of("plain", [layer("debian", base), system(base)]),
        image_of("with_git", [layer("debian", base), layer("debian", asked), system([*base, *asked])]),
    ]
    built = build(images, store, locator=FolderLocator(tmp_path), reporter=Silent(), jobs=jobs)
    assert [len(image.layers) for image in built] == [2, 3]
    assert sorted(unpacked) == sorted(a.file for a in [*base, *asked])
    assert os.listdir(store.tmp) == ["partial"]


def test_a_system_layer_alone_unpacks_for_itself(tmp_path: Path, unpacked: list[str]) -> None:
    base = packages(tmp_path, "bash", "python3.11-minimal")
    store = Store(tmp_path / "store")
    build([image_of("base", [layer("debian", base)])], store, locator=FolderLocator(tmp_path), reporter=Silent())
    unpacked.clear()
    image = image_of("full", [layer("debian", base), system(base)])
    [built] = build([image], store, locator=FileLocator([]), reporter=Silent())
    assert [made.reused for made in built.layers] == [True, False]
    assert sorted(unpacked) == sorted(a.file for a in base)


def test_the_bytes_do_not_depend_on_what_was_unpacked_before(tmp_path: Path) -> None:
    base = packages(tmp_path, "bash", "python3.11-minimal")
    image = image_of("full", [layer("debian", base), system(base)])
    digests = set()
    for number, first in enumerate(([], [image_of("base", [layer("debian", base)])])):
        store = Store(tmp_path / str(number))
        for images in (first, [image]):
            built = build(images, store, locator=FolderLocator(tmp_path), reporter=Silent())
        digests.add(built[0].manifest_digest)
    assert len(digests) == 1


WARM = """
import sys
from pathlib import Path
from flyte_build.building.building import build
from flyte_build.sources.locators import FileLocator
from flyte_build.kernel.reporting import Silent
from flyte_build.store import Store
from tests.support.images import image_of, wheel_layer

image = image_of("fold_env", [wheel_layer(Path(sys.argv[1]), name) for name in ("alpha", "beta")])
[built] = build([image], Store(Path(sys.argv[2])), locator=FileLocator([]), reporter=Silent())
print([layer.reused for layer in built.layers], "httpx" in sys.modules)
"""


def test_a_build_that_fetches_nothing_loads_no_http_client(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    alpha, beta = wheel_layer(tmp_path, "alpha"), wheel_layer(tmp_path, "beta")
    build([image_of("env", [alpha, beta])], store, locator=FolderLocator(tmp_path), reporter=Silent())
    for found in store.realisations.iterdir():
        found.unlink()
    arguments = [sys.executable, "-c", WARM, str(tmp_path), str(store.root)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "[False, False] False\n")
