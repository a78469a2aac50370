"""Shapes as projects: wheels, packages and files on disk, locks that name them, and the file that a user would write.

Everything is made here, byte by byte; nothing is resolved, fetched or run.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import flyte

from flyte_build.deriving.derivation import LARGE_WHEEL, Artifact, ImageDerivation, derive
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.deriving.local_files import snapshot, sources
from flyte_build.exporting.nixstore import artifacts_of
from flyte_build.locks.nouns import Lock, LockedDeb, LockedPlatform, LockedWheel
from flyte_build.project.bases import SUITES
from flyte_build.recipe import AptInstall, CopyFiles, DebianBase, EnvVars, PipInstall, Platform, Recipe, Step, WorkDir
from tests.support.debs import Directory, File, Hardlink, Symlink, build_deb, shared_library
from tests.support.wheels import DEFLATED, STORED, Member, build_wheel, deflate_with_zlib, stored

from .shapes import DebShape, Shape, WheelShape

__all__ = ["FLYTE", "Project", "make"]

FLYTE = flyte.__version__
_TRIPLETS = {"amd64": ("x86_64-linux-gnu", 62), "arm64": ("aarch64-linux-gnu", 183)}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_POSTINST = "#!/bin/sh\nset -e\nupdate-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5\n"
_PEM = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


@dataclass(frozen=True)
class Project:
    """What a user has: ``root`` with ``main.py``, the files and ``lockfiles``; and ``paths``: SHA-256 → artifact."""

    root: Path
    locks: Sequence[Lock]
    paths: Mapping[str, Path]

    @property
    def main(self) -> Path:
        return self.root / "main.py"

    @property
    def lockfiles(self) -> Path:
        return self.root / "lockfiles"

    @property
    def artifacts(self) -> list[Artifact]:
        return artifacts_of(self.locks)

    def images(self) -> Iterator[tuple[Lock, Platform]]:
        for lock in self.locks:
            for platform in recorded_recipe(lock).platforms:
                yield lock, platform

    def derivation(self, lock: Lock, platform: Platform) -> ImageDerivation:
        recipe = recorded_recipe(lock)
        return derive(lock, recipe, platform, snapshot(recipe, self.root))

    def known(self, lock: Lock) -> dict[str, Path]:
        """Every file that the images of ``lock`` are made of, by its SHA-256: artifacts and local files."""
        return {**self.paths, **sources(recorded_recipe(lock), self.root)}


def make(folder: Path, shapes: Sequence[Shape]) -> Project:
    """The project of these environments in ``folder``, new; artifacts lie beside it."""
    root, wheels, debs = folder / "project", folder / "wheels", folder / "debs"
    for path in (root / "lockfiles", wheels, debs):
        path.mkdir(parents=True)
    paths: dict[str, Path] = {}
    locks = []
    for shape in shapes:
        _write_files(shape, root)
        recipe = Recipe(
            DebianBase(SUITES[shape.python]),
            shape.platforms,
            shape.python,
            FLYTE if shape.flyte else None,
            shape.steps,
            shape.ceiling,
        )
        made = wheels / shape.environment
        made.mkdir()
        platforms: dict[str, LockedPlatform] = {
            p: _platform(shape, p.partition("/")[2], made, debs, root, paths) for p in shape.platforms
        }
        lock = Lock(shape.environment, recipe.to_json(), "uv", "0.1", None, platforms)
        (root / "lockfiles" / f"{shape.environment}.json").write_text(lock.text(), encoding="utf-8")
        locks.append(lock)
    (root / "main.py").write_text(_program(shapes, root), encoding="utf-8")
    return Project(root, locks, paths)


def _platform(
    shape: Shape, architecture: str, wheels: Path, debs: Path, root: Path, paths: dict[str, Path]
) -> LockedPlatform:
    rows = []
    for wheel in shape.wheels:
        folder = root / shape.environment / "vendor" if wheel.local else wheels
        folder.mkdir(exist_ok=True)
        path = _wheel(wheel, shape.python, architecture, folder)
        sha256 = _keep(path, paths)
        name = wheel.name.replace(".", "-")
        rows.append(LockedWheel(name, "1.0", path.name, path.stat().st_size, sha256, wheel.step))
    held = []
    for name, version, base, own, path in _debs(shape, architecture, debs):
        sha256 = _keep(path, paths)
        size = path.stat().st_size
        held.append(LockedDeb(name, version, own, path.name, size, sha256, name, "debian", "main", base))
    return LockedPlatform(SUITES[shape.python], "20261101T000000Z", tuple(held), tuple(rows))


def _keep(path: Path, paths: dict[str, Path]) -> str:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    paths[sha256] = path
    return sha256


# -- wheels ------------------------------------------------------------------------------------------


def _wheel(shape: WheelShape, python: str, architecture: str, folder: Path) -> Path:
    module = shape.name.replace("-", "_").replace(".", "_")
    has = set(shape.traits)
    files: dict[str, bytes | str] = {f"{module}/__init__.py": f"NAME = {shape.name!r}\n" * 9}
    modes = {}
    if "namespace" in has:
        files[f"shared/{module}/part.py"] = "x = 1\n"
    if "executable" in has:
        files[f"{module}/tool.so"] = bytes(range(256)) * 3
        modes[f"{module}/tool.so"] = 0o755
    if "nonascii" in has:
        files[f"{module}/ü ß.txt"] = "ü\n"
    if "empty" in has:
        files[f"{module}/empty"] = b""
    if "typed" in has:
        files[f"{module}/py.typed"] = b""
        files[f"{module}/deep/er/data.bin"] = b"\0" * 5000
    data: dict[str, bytes | str] = {}
    if "scripts" in has:
        data[f"scripts/{module}-tool"] = "#!python\nprint(1)\n"
        data[f"scripts/{module}.sh"] = "#!/bin/sh\ntrue\n"
    if "data" in has:
        data |= {f"data/share/{module}/x": "x", f"headers/{module}.h": "#define X\n", f"platlib/{module}/p.py": "\n"}
    entries = f"[console_scripts]\n{module}-run = {module}:main\n[gui_scripts]\n{module}-w = {module}:main\n"
    tag = "py3-none-any"
    if "native" in has:
        minor = python.replace(".", "")
        tag = f"cp{minor}-cp{minor}-manylinux_2_17_{_MACHINES[architecture]}.manylinux2014_{_MACHINES[architecture]}"
        files[f"{module}/built.txt"] = architecture

    def built(payload: int) -> Path:
        # All else is stored, whose size depends on nothing but its own; the payload's stream is taken as it is.
        return build_wheel(
            folder,
            shape.name,
            files=files | ({f"{module}/payload.bin": _noise(payload)} if payload else {}),
            entry_points=entries if "commands" in has else None,
            data=data,
            modes=modes,
            tag=tag,
            method=STORED if payload or "stored" in has else DEFLATED,
            compress=stored if payload else deflate_with_zlib,
            zip64="zip64" in has,
            mutate=_stream if payload else None,
        )

    if shape.size == "small":
        return built(0)
    wanted = LARGE_WHEEL - (shape.size == "under")
    payload = 4_000_000
    while (missing := wanted - (path := built(payload)).stat().st_size) != 0:
        payload += missing
    return path


@cache
def _noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def _stream(members: list[Member]) -> list[Member]:
    return [replace(m, method=DEFLATED) if m.name.endswith("/payload.bin") else m for m in members]


# -- packages ----------------------------------------------------------------------------------------


def _debs(shape: Shape, architecture: str, folder: Path) -> Iterator[tuple[str, str, bool, str, Path]]:
    """Name, version, whether it is the base's, architecture and file of every package."""
    triplet, machine = _TRIPLETS[architecture]
    python = f"python{shape.python}"
    base: dict[str, dict[str, File]] = {
        "base-files": {
            "usr/share/base-files/profile": b"# profile\n",
            "tmp": Directory(0o1777),
            "var/run": Directory(),
        },
        "base-passwd": {
            "usr/share/base-passwd/passwd.master": b"root:*:0:0:root:/root:/bin/bash\n",
            "usr/share/base-passwd/group.master": b"root:*:0:\n",
        },
        "libc6": {
            f"lib/{triplet}/libc.so.6": shared_library("libc.so.6", machine=machine),
            "etc/ld.so.conf": f"/usr/lib/{triplet}\n".encode(),
        },
        f"{python}-minimal": {f"usr/bin/{python}": (0o755, b"stands where an interpreter would")},
    }
    for name, files in base.items():
        version = f"{shape.python}.2-6" if name.startswith("python") else "1:1.0-1"
        below = folder / f"{shape.environment}-{architecture}"
        below.mkdir(exist_ok=True)
        conffiles = ["/etc/ld.so.conf"] if name == "libc6" else []
        path = build_deb(below, name, version, files, architecture=architecture, conffiles=conffiles)
        yield name, version, True, architecture, path
    for deb in shape.debs:
        version = "1:1.0~rc1+b1-2" if "epoch" in deb.traits else "1.0-1"
        own = "all" if "all" in deb.traits else architecture
        below = folder / f"{shape.environment}-{architecture}"
        yield deb.name, version, deb.base, own, _deb(deb, version, own, triplet, machine, below)


def _deb(deb: DebShape, version: str, architecture: str, triplet: str, machine: int, folder: Path) -> Path:
    has, name = set(deb.traits), deb.name
    files: dict[str, File] = {f"usr/bin/{name}": (0o755, f"{name}\n".encode())}
    if "conffile" in has:
        files[f"etc/{name}/{name}.conf"] = b"x = 1\n"
    if "links" in has:
        files |= {f"bin/{name}-l": Symlink(name), f"usr/share/{name}/up": Symlink("../../bin")}
    if "hardlink" in has:
        files[f"usr/bin/{name}-h"] = Hardlink(f"usr/bin/{name}")
    if "folder" in has:
        files[f"var/lib/{name}"] = Directory(0o2750)
    if "library" in has:
        files[f"usr/lib/{triplet}/lib{name}.so.1.2"] = shared_library(f"lib{name}.so.1", machine=machine)
    if "setuid" in has:
        files[f"usr/sbin/{name}d"] = (0o4755, b"setuid")
    if "certificate" in has:
        files[f"usr/share/ca-certificates/{name}.crt"] = _PEM
    if "nonascii" in has:
        files[f"usr/share/doc/{name}/ü"] = "ü".encode()
    return build_deb(
        folder,
        name,
        version,
        files,
        architecture=architecture,
        conffiles=[f"/etc/{name}/{name}.conf"] if "conffile" in has else [],
        compression="gz" if "gz" in has else "none" if "plain" in has else "xz",
        scripts={"postinst": _POSTINST if name == "mawk" else "#!/bin/sh\necho more\n"} if "postinst" in has else {},
        triggers="activate-noawait ldconfig\n" if "library" in has else "",
        control={"Multi-Arch": "same"} if "library" in has and architecture != "all" else {},
    )


# -- the project's own files -------------------------------------------------------------------------


def _write_files(shape: Shape, root: Path) -> None:
    data = root / shape.environment / "data"
    data.mkdir(parents=True)
    (data.parent / "one.txt").write_text(f"one of {shape.environment}\n")
    for name in shape.files:
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("link"):
            path.symlink_to("../a.txt")
        else:
            path.write_text("" if name == "empty" else f"{name}\n", encoding="utf-8")
        if name.endswith("run"):
            path.chmod(0o755)
    ignored = [step.ignore for step in shape.steps if isinstance(step, CopyFiles) and step.folder]
    if ignored:
        (data.parent / ".dockerignore").write_text("".join(f"{pattern}\n" for pattern in ignored[-1]))


def _program(shapes: Sequence[Shape], root: Path) -> str:
    """The user's file whose images have these recipes."""
    lines = ["from pathlib import Path", "", "import flyte", "from flyte._image import PythonWheels", ""]
    lines += ["HERE = Path(__file__).parent"]
    for shape in shapes:
        name = shape.environment
        version = tuple(int(part) for part in shape.python.split("."))
        made = f"python_version={version}, platform={shape.platforms!r}, install_flyte={shape.flyte}"
        lines.append(f"image = flyte.Image.from_debian_base({made})")
        lines += [f"image = {_call(step)}" for step in shape.steps]
        if (root / name / ".dockerignore").exists():
            lines.append(f"image = image.with_dockerignore(HERE / {f'{name}/.dockerignore'!r})")
        lines.append(f"{name} = flyte.TaskEnvironment(name={name!r}, image=image)")
    return "\n".join([*lines, ""])


def _call(step: Step) -> str:
    match step:
        case PipInstall(wheels=(wheel,), requirements=(name,)):
            folder = wheel.rpartition("/")[0]
            return f"image.clone(addl_layer=PythonWheels(wheel_dir=HERE / {folder!r}, package_name={name!r}))"
        case PipInstall(requirements=names):
            return f"image.with_pip_packages({', '.join(map(repr, names))})"
        case AptInstall(packages=names):
            return f"image.with_apt_packages({', '.join(map(repr, names))})"
        case EnvVars(variables=variables):
            return f"image.with_env_vars({dict(variables)!r})"
        case WorkDir(path=path):
            return f"image.with_workdir({path!r})"
        case CopyFiles(source=source, destination=to, folder=True):
            return f"image.with_source_folder(HERE / {source!r}, {to!r}, copy_contents_only=True)"
        case CopyFiles(source=source, destination=to):
            return f"image.with_source_file(HERE / {source!r}, {to!r})"
    raise AssertionError(step)
