"""The PEX of a lock: what is decided before pex runs, and synthetic wheels through the real tool."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.exporting.pex import Entry, left_out, write_pex
from flyte_build.kernel.errors import ArtifactError, InputError, RefusedError
from flyte_build.kernel.reporting import Silent
from flyte_build.locking.targets import target_of
from flyte_build.locks.base import BaseFacts, LockedBase, LockedBlob
from flyte_build.locks.nouns import Lock, LockedPlatform, LockedWheel
from flyte_build.recipe import AptInstall, CopyFiles, EnvVars
from tests.support.recipes import deb, lock_of, recipe_of
from tests.support.wheels import build_wheel

AMD64, ARM64 = "linux/amd64", "linux/arm64"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

Wheels = dict[LockedWheel, Path]


def locked(path: Path) -> LockedWheel:
    data = path.read_bytes()
    name, version = path.name.split("-")[:2]
    return LockedWheel(name, version, path.name, len(data), hashlib.sha256(data).hexdigest(), 1)


def lock_with(wheels: Wheels, *platforms: str, python: str = HERE) -> Lock:
    """A lock of these wheels on each platform that their tags are for."""
    names = platforms or (AMD64,)
    made = lock_of(replace(recipe_of(python=python), platforms=names))  # type: ignore[arg-type]
    machines = {AMD64: "x86_64", ARM64: "aarch64"}
    held = {
        p: LockedPlatform(
            "bookworm",
            "20261101T000000Z",
            (),
            tuple(w for w in wheels if w.file.endswith(("any.whl", f"{machines[p]}.whl"))),
        )
        for p in names
    }
    return replace(made, platforms=held)


@pytest.fixture
def wheels(tmp_path: Path) -> Wheels:
    """``hello``, with a script and a dependency."""
    folder = tmp_path / "dist"
    folder.mkdir()
    main = "import sys\nimport other\n\n\ndef main():\n    print('hello', other.NAME, *sys.argv[1:])\n"
    paths = [
        build_wheel(
            folder,
            "hello",
            files={"hello/__init__.py": main},
            entry_points="[console_scripts]\nhello = hello:main\n",
            requires=["other"],
        ),
        build_wheel(folder, "other", "2.0", files={"other.py": "NAME = 'world'\n"}),
    ]
    return {locked(p): p for p in paths}


def write(lock: Lock, wheels: Wheels, folder: Path, *platforms: str, entry: Entry | None = None) -> Path:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    names = list(platforms or lock.platforms)
    return write_pex(
        lock, names, wheels, folder / "out.pex", entry=entry or Entry(), scratch=scratch, reporter=Silent()
    )


def ran(pex: Path, *arguments: str, root: Path) -> str:
    """What the file prints under this Python, which is the only one it can find."""
    done = subprocess.run(
        [sys.executable, str(pex), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PEX_ROOT": str(root), "PATH": os.path.dirname(sys.executable), "HOME": str(root)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def info(pex: Path) -> dict[str, object]:
    with zipfile.ZipFile(pex) as archive:
        found = json.loads(archive.read("PEX-INFO"))
    assert isinstance(found, dict)
    return found


# -- the real tool ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_runs_its_script_with_the_wheels_as_they_are(wheels: Wheels, tmp_path: Path) -> None:
    pex = write(lock_with(wheels), wheels, tmp_path / "a", entry=Entry(script="hello"))
    assert ran(pex, "there", root=tmp_path / "root") == "hello world there\n"
    assert os.access(pex, os.X_OK)
    assert pex.read_bytes().startswith(f"#!/usr/bin/env python{HERE}\n".encode())
    with zipfile.ZipFile(pex) as archive:
        assert archive.testzip() is None
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        for wheel, path in wheels.items():
            assert archive.read(f".deps/{wheel.file}") == path.read_bytes()
    assert info(pex)["interpreter_constraints"] == [f"CPython=={HERE}.*"]


@pytest.mark.integration
def test_it_runs_a_function_and_is_a_python_without_any(wheels: Wheels, tmp_path: Path) -> None:
    lock = lock_with(wheels)
    function = write(lock, wheels, tmp_path / "a", entry=Entry(module="hello:main"))
    assert ran(function, root=tmp_path / "root") == "hello world\n"
    plain = write(lock, wheels, tmp_path / "b")
    assert ran(plain, "-c", "import other; print(other.NAME)", root=tmp_path / "root") == "world\n"


@pytest.mark.slow
def test_the_same_lock_gives_the_same_bytes_anywhere(
    wheels: Wheels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = lock_with(wheels)
    one = write(lock, wheels, tmp_path / "one")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("PEX_VERBOSE", "9")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("LC_ALL", "C")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".pexrc").write_text("PEX_INHERIT_PATH=prefer\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    reverse = dict(reversed(wheels.items()))
    old = os.umask(0o077)
    try:
        two = write(lock, reverse, tmp_path / "deep" / "er" / "two")
    finally:
        os.umask(old)
    assert one.read_bytes() == two.read_bytes()
    assert str(tmp_path).encode() not in one.read_bytes()
    assert os.path.dirname(sys.executable).encode() not in one.read_bytes()


@pytest.mark.integration
def test_another_platform_takes_its_own_wheels(wheels: Wheels, tmp_path: Path) -> None:
    """Made for a machine, and a Python, that this is not."""
    folder = tmp_path / "dist"
    for machine in ("x86_64", "aarch64"):
        path = build_wheel(
            folder, "fast", files={"fast.py": f"MACHINE = {machine!r}\n"}, tag=f"cp39-cp39-manylinux_2_17_{machine}"
        )
        wheels[locked(path)] = path
    lock = lock_with(wheels, AMD64, ARM64, python="3.9")
    pex = write(lock, {w: p for w, p in wheels.items() if "x86_64" not in w.file}, tmp_path / "arm", ARM64)
    held = info(pex)["distributions"]
    assert isinstance(held, dict)
    assert sorted(name.split("-")[0] for name in held) == ["fast", "hello", "other"]
    assert any("aarch64" in name for name in held)
    both = info(write(lock, wheels, tmp_path / "both"))["distributions"]
    assert isinstance(both, dict)
    assert sorted(name.split("-")[0] for name in both) == ["fast", "fast", "hello", "other"]


@pytest.mark.integration
def test_what_pex_refuses_is_said_in_short(wheels: Wheels, tmp_path: Path) -> None:
    path = build_wheel(tmp_path / "dist", "old", tag="cp27-cp27m-manylinux_2_17_x86_64")
    wheels[locked(path)] = path
    with pytest.raises(ArtifactError, match="pex ended with exit code 1") as caught:
        write(lock_with(wheels), wheels, tmp_path / "a")
    assert "old" in (caught.value.detail or "")
    assert len((caught.value.detail or "").splitlines()) < 20
    assert str(tmp_path) not in (caught.value.detail or "")
    assert not (tmp_path / "a" / "out.pex").exists()


def test_a_script_that_no_wheel_has(wheels: Wheels, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the wheels has the script `helo`; there are: hello"):
        write(lock_with(wheels), wheels, tmp_path / "a", entry=Entry(script="helo"))


def test_what_was_there_is_replaced_whole(wheels: Wheels, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    out = tmp_path / "a" / "out.pex"
    out.write_text("old")
    write(lock_with(wheels), wheels, tmp_path / "a")
    assert zipfile.is_zipfile(out)
    assert sorted(p.name for p in out.parent.iterdir()) == ["out.pex", "scratch"]


# -- what is decided before ------------------------------------------------------------------------


def test_the_target_is_the_images_python_and_c_library() -> None:
    lock = lock_of(recipe_of(), debs=[deb("python3.11-minimal", "3.11.2-6+deb12u9"), deb("libc6", "2.36-9")])
    target = target_of(lock, AMD64)
    assert (target.python, target.python_full, target.glibc) == ("3.11", "3.11.2", (2, 36))


def test_the_target_of_a_registry_base_is_what_was_found_in_it() -> None:
    blob = LockedBlob("application/vnd.oci.image.manifest.v1+json", "sha256:" + "0" * 64, 1)
    base = LockedBase("registry.example/python:3.12@" + blob.digest, None, blob, blob, (), {})
    lock = lock_of(recipe_of(python="3.12"), debs=[])

    def with_facts(facts: BaseFacts | None) -> Lock:
        platform = replace(lock.platforms[AMD64], base=replace(base, facts=facts))
        return replace(lock, platforms={AMD64: platform})

    target = target_of(with_facts(BaseFacts(python_full="3.12.4", glibc="2.41")), AMD64)
    assert (target.python_full, target.glibc) == ("3.12.4", (2, 41))
    for facts in (None, BaseFacts(glibc="2.41"), BaseFacts(python_full="3.12.4")):
        with pytest.raises(RefusedError, match="are not known"):
            target_of(with_facts(facts), AMD64)


def test_what_is_no_python_package_is_left_out_and_said() -> None:
    steps = (AptInstall(("git",)), EnvVars((("A", "1"),)), CopyFiles("src", "/app", True))
    lock = lock_of(recipe_of(*steps), debs=[deb("libc6"), deb("git", base=False)])
    assert left_out(lock, AMD64) == ["Debian packages", "copied files", "environment variables"]
    assert left_out(lock_of(recipe_of("numpy")), AMD64) == []
