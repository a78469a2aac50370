"""Files that are hashed beside a layer: whatever their sizes, the layer is as ever, and so are they."""

from __future__ import annotations

import ctypes
import hashlib
import random
import time
from pathlib import Path

import pytest

from flyte_build.native import wheels
from flyte_build.native.feeding import Unfit
from flyte_build.native.library import Core
from tests.support.layers import sha256, wheel_layer
from tests.support.wheels import build_wheel

SIZES = (0, 1, 63, 64, 65, 127, 128, 3071, 3072, 3073, 262_143, 262_144, 262_145, 700_001)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files of all sizes, by their SHA-256."""
    r, found = random.Random(5), {}
    for size in SIZES:
        path = tmp_path / f"{size}"
        path.write_bytes(r.randbytes(size))
        found[sha256(path)] = str(path)
    return found


@pytest.fixture(params=["that is large", "of little", "of what is not compressed"])
def wheel(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One with room for other hashes, and two with hardly any."""
    if request.param == "that is large":
        data = {"large/a.so": b"".join(b"%d bytes, " % n for n in range(400_000)), "large/b.py": b"x = 1\n" * 40_000}
    elif request.param == "of little":
        data = {"large/a.py": b"x = 1\n"}
    else:
        data = {f"large/{n}": random.Random(n).randbytes(200_000) for n in range(5)}
    return build_wheel(tmp_path, "large", files=data, method=0 if "not" in request.param else 8)


@pytest.mark.parametrize("early", [False, True])
def test_files_are_hashed_beside(
    native: ctypes.CDLL, tmp_path: Path, files: dict[str, str], wheel: Path, early: bool
) -> None:
    known = {**files, sha256(wheel): str(wheel)}
    spec, asked = wheel_layer([wheel]), [*files, sha256(wheel)]
    with (tmp_path / "expected").open("wb", buffering=0) as out:
        expected = wheels.write_layer(spec, known.__getitem__, out, scratch=str(tmp_path))
    by_core = wheels.making(spec, known.__getitem__)
    assert by_core is not None
    steps: list[int] = []
    try:
        with (tmp_path / "found").open("wb", buffering=0) as out:
            if early:
                by_core.open(out, asked)
                # Nothing is there to be made: what is to be hashed is.
                time.sleep(0.01)
            by_core.arrange()
            if not early:
                by_core.open(out, asked)
            by_core.feed()
            assert by_core.listing == expected.listing
            assert by_core.finish(steps.append) == expected
    finally:
        by_core.close()
    assert by_core.hashes == {name: name for name in asked}
    assert sum(steps) == expected.diff_size
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("other", ["small", "narrow"])
def test_files_are_hashed_by_other_cores(
    request: pytest.FixtureRequest,
    other: str,
    native: ctypes.CDLL,
    tmp_path: Path,
    files: dict[str, str],
    wheel: Path,
    early: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core: Core = request.getfixturevalue(other)
    assert core.library is not None
    monkeypatch.setattr(wheels, "core", lambda: core)
    test_files_are_hashed_beside(native, tmp_path, files, wheel, early)


def test_whatever_is_called_off_ends(native: ctypes.CDLL, tmp_path: Path, files: dict[str, str], wheel: Path) -> None:
    """Before it was opened, arranged, fed, or finished; and a file that cannot be read."""
    known = {**files, sha256(wheel): str(wheel), "folder": str(tmp_path)}
    for number in range(5):
        by_core = wheels.making(wheel_layer([wheel]), known.__getitem__)
        assert by_core is not None
        with (tmp_path / f"out-{number}").open("wb", buffering=0) as out:
            if number >= 1:
                by_core.open(out, list(files) if number < 4 else ["folder"])
            if number >= 2:
                by_core.arrange()
            if number >= 3:
                by_core.feed()
            if number == 4:
                with pytest.raises(Unfit):
                    by_core.finish(None)
            by_core.close()
            by_core.close()


def test_a_file_that_is_another_is_told(native: ctypes.CDLL, tmp_path: Path, wheel: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"other")
    known = {sha256(wheel): str(wheel), "name": str(other)}
    by_core = wheels.making(wheel_layer([wheel]), known.__getitem__)
    assert by_core is not None
    with (tmp_path / "out").open("wb", buffering=0) as out:
        by_core.open(out, ["name"])
        by_core.arrange()
        by_core.feed()
        by_core.finish(None)
        by_core.close()
    assert by_core.hashes == {"name": hashlib.sha256(b"other").hexdigest()}
