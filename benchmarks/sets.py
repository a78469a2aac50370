"""What is built in the benchmarks: sets of wheels, as locks, artifacts and stores made for measuring.

Versions are pinned, wheels come through pip's own configuration, the Debian base from the lock of the AF2 example.
Everything is kept in one folder outside the repository, so that only the first run needs a network. Never measures.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flyte_build.locks import lockfile
from flyte_build.locks.lockfile import Lock, LockedDeb, LockedPlatform, LockedWheel
from flyte_build.recipe import DebianBase, PipInstall, Recipe
from flyte_build.store import Store, layout

from .derived import AMD64

__all__ = ["SETS", "WheelSet", "clone", "fill", "layout_of", "locked", "locked_wheel", "wheels_of"]

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "af2" / "main.py"


@dataclass(frozen=True, slots=True)
class WheelSet:
    """Exact pins (``name==version``) of an image's wheels.

    ``alone`` are those whose transcoding is measured; ``changed`` maps the title of a change to the pins that differ.
    """

    name: str
    pins: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    alone: tuple[str, ...] = ()

    def after(self, change: str) -> tuple[str, ...]:
        """The pins once ``change`` is made."""
        new = {pin.partition("==")[0]: pin for pin in self.changed[change]}
        return tuple(new.get(pin.partition("==")[0], pin) for pin in self.pins)


_PYTEST = ("iniconfig==2.3.1", "packaging==26.3", "pluggy==1.7.0", "pygments==2.21.0", "pytest==9.2.0")
_SCIENCE = (
    "cloudpickle==3.1.2",
    "joblib==1.6.0",
    "narwhals==2.28.0",
    "numpy==2.4.6",
    "pandas==3.1.1",
    "python-dateutil==4.0.0",
    "scikit-learn==1.9.1",
    "scipy==1.17.1",
    "threadpoolctl==3.8.0",
    "tzdata==2026.6",
)
_LARGE = "nvidia-cublas-cu12==12.9.3.13"

SETS = {
    s.name: s
    for s in (
        WheelSet("pytest", _PYTEST, {"a small wheel": ("iniconfig==2.3.0",)}),
        WheelSet("science", _SCIENCE, {"a small wheel": ("joblib==1.5.3",), "a large wheel": ("scipy==1.17.0",)}),
        WheelSet("large", (_LARGE, *_PYTEST), {"a small wheel": ("iniconfig==2.3.0",)}, alone=(_LARGE,)),
    )
}
"""The sets that are measured: small, many files, and one wheel of more than 300 MB with a few small ones."""


def wheels_of(pins: Iterable[str], folder: Path) -> list[Path]:
    """The wheels of ``pins`` in ``folder``, downloaded by pip where they are not there yet."""
    pins = list(pins)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [pin for pin in pins if _find(pin, folder) is None]
    if missing:
        platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(36, 16, -1)] + ["manylinux2014_x86_64"]
        target = [word for tag in platforms for word in ("--platform", tag)]
        target += ["--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3"]
        target += ["--abi", "none", "--only-binary", ":all:", "--no-deps"]
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        done = subprocess.run([*pip, *target, "-d", str(folder), *missing], check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"pip: the wheels of {', '.join(missing)} cannot be fetched\n{done.stderr[-2000:]}")
    found = {pin: _find(pin, folder) for pin in pins}
    return [path for path in found.values() if path is not None]


def _find(pin: str, folder: Path) -> Path | None:
    name, _, version = pin.partition("==")
    stem = re.sub(r"[-_.]+", "_", name).lower()
    for path in folder.glob("*.whl"):
        parts = path.name.split("-")
        if re.sub(r"[-_.]+", "_", parts[0]).lower() == stem and parts[1] == version:
            return path
    return None


@cache
def locked_wheel(path: Path) -> LockedWheel:
    """A wheel's row in a lock, of the first pip step."""
    name, version, *_ = path.name.split("-")
    with open(path, "rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    return LockedWheel(name.replace("_", "-").lower(), version, path.name, path.stat().st_size, sha256, 1)


def base_debs() -> tuple[LockedDeb, ...]:
    """The Debian base that the example's lock has."""
    lock = lockfile.read(ROOT / "lockfiles", "fold_env")
    assert lock is not None
    return tuple(deb for deb in lock.platforms[AMD64].debs if deb.base)


def locked(environment: str, wheels: Sequence[Path], debs: Sequence[LockedDeb]) -> Lock:
    """A lock of an image with these wheels, in one pip step, on a Debian base of ``debs`` (none: no base)."""
    made = sorted((locked_wheel(path) for path in wheels), key=lambda w: w.name)
    recipe = _recipe(tuple(f"{w.name}=={w.version}" for w in made))
    platform = LockedPlatform("bookworm", "20261101T000000Z", tuple(debs), tuple(made))
    return Lock(environment, recipe.to_json(), "pins", "1", None, {AMD64: platform})


def _recipe(pins: tuple[str, ...]) -> Recipe:
    steps = (PipInstall(pins),) if pins else ()
    return Recipe(DebianBase("bookworm"), (AMD64,), "3.11", None, steps)


def fill(store: Store, wheels: Iterable[Path]) -> None:
    """Put ``wheels`` among the store's artifacts, as if they had been fetched."""
    with store.session() as session:
        for path in wheels:
            wheel = locked_wheel(path)
            if store.artifact(wheel.sha256, wheel.size) is None:
                temporary = session.temporary()
                shutil.copyfile(path, temporary)
                session.put_artifact(temporary, wheel.sha256)


def clone(template: Path, target: Path, *, only_artifacts: bool = False) -> Store:
    """A store with the template's bytes, which are shared: a store never writes into a file that it has published."""
    for folder, _, files in os.walk(template):
        below = Path(folder).relative_to(template)
        if below.parts[:1] in (("tmp",), ("locks",)) or (
            only_artifacts and below.parts[:1] not in ((), ("artifacts",))
        ):
            continue
        (target / below).mkdir(parents=True, exist_ok=True)
        for name in files:
            if below.parts[:1] in (("artifacts",), ("oci",)) and name != "index.json":
                os.link(Path(folder, name), target / below / name)
            else:
                shutil.copy2(Path(folder, name), target / below / name)
    return Store(target)


def layout_of(store: Path, out: Path) -> str:
    """The one image of a store as an OCI layout ``out``, whose bytes are shared; returns its name there."""
    held = Store(store)
    (entry,) = layout.manifests(held.index())
    needed = [entry["digest"], *(digest for digest, _ in layout.references(held.manifest(entry["digest"]) or {}))]
    (out / "blobs" / "sha256").mkdir(parents=True)
    for digest in needed:
        (out / "blobs" / "sha256" / digest.removeprefix("sha256:")).hardlink_to(held.blob_path(digest))
    (out / "oci-layout").write_bytes(layout.LAYOUT)
    (out / "index.json").write_bytes(layout.dump(layout.put(layout.empty_index(), entry)))
    return str(layout.annotation(entry, layout.REF_NAME))
