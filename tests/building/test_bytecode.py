"""Modules are compiled by the image's own interpreter, and come out the same however that is run."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.assemble import compiling
from flyte_build.assemble.layer_directory import make_layer
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.building import bytecode
from flyte_build.building.building import build
from flyte_build.building.bytecode import hosts_of, wanted_of
from flyte_build.deriving.bytecode import bytecode_layer
from flyte_build.deriving.derivation import derive
from flyte_build.deriving.nouns import Artifact, ImageDerivation, LayerDerivation
from flyte_build.kernel.errors import RefusedError
from flyte_build.kernel.reporting import Recorder
from flyte_build.store import Store
from tests.support.debs import File, Symlink, build_deb
from tests.support.images import FolderLocator, image_of, wheel_artifact, wheels_layer
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, wheel
from tests.support.tools import lacking, need
from tests.support.wheels import build_wheel

ARM64 = "linux/arm64"
DEBS = [deb("base-files"), deb("python3.11", "3.11.2-6+deb12u9")]


def of_two_platforms(other: str) -> tuple[ImageDerivation, dict[str, object]]:
    """An arm64 image with bytecode, and its lock, whose amd64 part has the interpreter ``other``."""
    recipe = replace(recipe_of("a"), platforms=(AMD64, ARM64), bytecode=True)
    lock = lock_of(recipe, [wheel("flyte", "2.12.1", step=0), wheel("a")], DEBS)
    here = replace(lock.platforms[AMD64], debs=(deb("base-files"), deb("python3.11", other)))
    lock = replace(lock, platforms={**lock.platforms, AMD64: here})
    return derive(lock, recipe, ARM64), {"env": lock}


@pytest.fixture
def on_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bytecode, "foreign", lambda platform: None if platform == AMD64 else AMD64)
    monkeypatch.setattr(bytecode, "host_platform", lambda: AMD64)


@pytest.mark.usefixtures("on_amd64")
def test_the_same_interpreter_of_this_machine_does_it_for_another() -> None:
    image, locks = of_two_platforms("3.11.2-6+deb12u9")
    wanted = wanted_of(image.layers[-1], image, hosts_of(locks))  # type: ignore[arg-type]
    assert wanted.of == image.layers[-2]
    assert [layer.kind for layer in wanted.over] == ["debian", "system"]
    assert {row.file for layer in wanted.over for row in layer.artifacts} == {
        "base-files_1.0-1_amd64.deb", "python3.11_3.11.2-6+deb12u9_amd64.deb",
    }  # fmt: skip


@pytest.mark.usefixtures("on_amd64")
def test_another_version_does_not() -> None:
    image, locks = of_two_platforms("3.11.2-6+deb12u10")
    for hosts in (hosts_of(locks), None):  # type: ignore[arg-type]
        with pytest.raises(RefusedError, match=r"env on linux/arm64: .* this machine \(linux/amd64\) runs none") as e:
            wanted_of(image.layers[-1], image, hosts)
        assert e.value.hint is not None
        assert "lock for linux/amd64, too" in e.value.hint


# -- with a real interpreter ---------------------------------------------------------------------------


def _interpreter() -> tuple[str, str]:
    """The minor and the whole version of the machine's own Debian Python."""
    if not Path("/usr/bin/python3").exists():
        lacking("the test takes Debian's own Python, /usr/bin/python3")
    if os.geteuid() != 0:
        need("newuidmap", "uidmap")
    told = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"Python ((3\.\d+)\.\d+)", told)
    assert found is not None
    return found[2], found[1]


def _debian(folder: Path, minor: str, version: str) -> list[Artifact]:
    """Packages with that interpreter, its libraries, and as much of the standard library as it takes."""
    program = Path("/usr/bin/python3").resolve()
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    files: dict[str, File] = {f"usr/bin/python{minor}": (0o755, program.read_bytes())}
    for word in told.split():
        if word.startswith("/"):
            files[f"usr{word.removeprefix('/usr')}"] = (0o755, Path(word).read_bytes())
    standard = Path(f"/usr/lib/python{minor}")
    left_out = {
        "__pycache__",
        "test",
        "idlelib",
        "lib2to3",
        "asyncio",
        "email",
        "unittest",
        "distutils",
        "dist-packages",
    }
    for at, names, found in os.walk(standard):
        names[:] = sorted(set(names) - left_out)
        for path in (Path(at, name) for name in sorted(found)):
            if not path.is_symlink():
                files[str(path)[1:]] = path.read_bytes()
    files["bin/sh"] = Symlink("dash")
    files["usr/bin/dash"] = (0o755, Path("/bin/dash").read_bytes())
    made = build_deb(folder, f"python{minor}-minimal", f"{version}-1", files, compression="none")
    return [Artifact(hashlib.sha256(made.read_bytes()).hexdigest(), made.stat().st_size, made.name)]


def _image(folder: Path, minor: str, version: str) -> ImageDerivation:
    debs = _debian(folder, minor, version)
    rows = [{"file": a.file, "sha256": a.sha256} for a in debs]
    fields = {"assembler": ASSEMBLER, "debs": rows}
    user = {"name": "flyte", "uid": 1000, "gid": 1000, "home": "/home/flyte"}
    debian = LayerDerivation({"kind": "debian", "title": "debian", **fields}, tuple(debs))  # type: ignore[dict-item]
    system = {"kind": "system", "title": "system", **fields, "suite": "bookworm", "python": minor, "venv": "/opt/venv"}
    sources = {"pkg/__init__.py": "x = {'a', 'b', 'c'}\n", "pkg/old.py": "print 1\n", "pkg/tests/test_x.py": "x = 1\n"}
    wheels = wheels_layer("pkg 1.0", [wheel_artifact(build_wheel(folder, "pkg", files=sources))])
    wheels = LayerDerivation({**wheels.spec, "python": minor}, wheels.artifacts)
    by = f"{version}-1"
    layers: Sequence[LayerDerivation] = (
        debian,
        bytecode_layer(debian, minor, by, f"/usr/lib/python{minor}"),
        LayerDerivation({**system, "user": user}, tuple(debs)),  # type: ignore[dict-item]
        wheels,
        bytecode_layer(wheels, minor, by, f"/opt/venv/lib/python{minor}/site-packages"),
    )
    return image_of("env", layers)


@pytest.mark.integration
def test_the_images_own_interpreter_compiles(tmp_path: Path) -> None:
    minor, version = _interpreter()
    image, store, reporter = _image(tmp_path, minor, version), Store(tmp_path / "store"), Recorder()
    (built,) = build([image], store, locator=FolderLocator(tmp_path), reporter=reporter)
    site, tag = f"opt/venv/lib/python{minor}/site-packages/pkg/__pycache__", f"cpython-{minor.replace('.', '')}"
    listing = store.listing(image.layers[-1].hash)
    assert f"{site}/__init__.{tag}.pyc" in listing
    assert f"{site}/.wh.old.{tag}.pyc" in listing
    assert not any("test_x" in path for path in listing)
    assert f"usr/lib/python{minor}/__pycache__/os.{tag}.pyc" in store.listing(image.layers[1].hash)
    assert any("`old.py` left out, being no Python" in note for note in reporter.notes)
    # Built again nothing is compiled; what the lower layers become is not asked.
    again = Recorder()
    assert (
        build([image], store, locator=FolderLocator(tmp_path), reporter=again)[0].manifest_digest
        == built.manifest_digest
    )
    assert again.notes == []
    # As Nix and Bazel have it: the script by the interpreter itself, on the finished layer, outside of any sandbox.
    of, layer = image.layers[-2:]
    command = ["/usr/bin/python3", "-I", "-S", "-B", compiling.__file__]
    blob = store.blob_path(built.layers[-2].digest)
    subprocess.run([*command, blob, tmp_path / "compiled", *layer.spec["folders"]], check=True)  # type: ignore[misc]
    made = make_layer(dict(layer.spec), str, str(tmp_path / "layer"), str(tmp_path / "compiled"))
    assert made.derivation == layer.hash
    assert made.result.digest == built.layers[-1].digest
    assert of.kind == "wheels"
