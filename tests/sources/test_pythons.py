"""Pythons that uv installs: which there are, an archive by its hash, mirrors that have others. uv itself is asked."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from flyte_build.deriving.nouns import Artifact
from flyte_build.kernel.errors import FetchError, InputError
from flyte_build.locks.nouns import LockedPython
from flyte_build.sources.pythons import Build, PythonLocator, bring, builds
from tests.support.pythons import SYSCONFIG, file_name, files, listing, pack

SOME = {name: content for name, content in files().items() if not name.endswith(".pc")}


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three archives that a list names; the folder that uv's settings are read of is empty."""
    for name in [name for name in os.environ if name.startswith("UV_PYTHON")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "mirror"
    names = [file_name("3.12.7", "20260101"), file_name("3.12.10"), file_name("3.12.10", machine="aarch64")]
    paths = [pack(folder / name.split("+")[1][:8] / name, SOME) for name in names]
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(listing(folder / "list.json", *paths)))
    return folder


def artifact(python: LockedPython) -> Artifact:
    return Artifact(python.sha256, python.size, python.file, python)


def test_which_there_are(mirror: Path, tmp_path: Path) -> None:
    found = builds("3.12", "linux/amd64", tmp_path)
    assert [(b.version, b.date, b.key) for b in found] == [
        ("3.12.10", "20260102", "cpython-3.12.10-linux-x86_64-gnu"),
        ("3.12.7", "20260101", "cpython-3.12.7-linux-x86_64-gnu"),
    ]
    assert [b.version for b in builds("3.12", "linux/arm64", tmp_path)] == ["3.12.10"]
    assert builds("3.10", "linux/amd64", tmp_path) == []


def test_free_threaded_builds_by_their_name(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = file_name("3.14.2", threaded=True)
    archive = pack(mirror / "20260102" / name, files("3.14t"))
    other = pack(mirror / "20260102" / file_name("3.14.2"), files("3.14"))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(listing(mirror / "more.json", archive, other)))
    (found,) = builds("3.14t", "linux/amd64", tmp_path)
    assert (found.version, found.file) == ("3.14.2", name)
    assert [b.file for b in builds("3.14", "linux/amd64", tmp_path)] == [other.name]
    python = bring(found, tmp_path, tmp_path / "held")
    assert (python.minor, python.version, python.file) == ("3.14t", "3.14.2", name)
    (tmp_path / "held" / python.sha256).unlink()
    (place,) = [place.url for place in PythonLocator(tmp_path, tmp_path / "held").places(artifact(python))]
    assert place.endswith(python.sha256)


def test_what_uv_knows_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own table, the project's mirror before it: no network is needed for that."""
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL", raising=False)
    monkeypatch.delenv("UV_PYTHON_INSTALL_MIRROR", raising=False)
    (tmp_path / "uv.toml").write_text('python-install-mirror = "https://mirror.example/pythons"\n')
    for minor, platform in (("3.10", "linux/arm64"), ("3.14", "linux/amd64"), ("3.14t", "linux/arm64")):
        first = builds(minor, platform, tmp_path)[0]  # type: ignore[arg-type]
        assert first.url.startswith("https://mirror.example/pythons/")
        assert first.file.startswith(f"cpython-{first.version}+{first.date}-")


def test_an_archive_and_the_same_again_by_its_hash(mirror: Path, tmp_path: Path) -> None:
    archive = mirror / "20260102" / file_name("3.12.10", machine="aarch64")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    held = tmp_path / "held"
    python = bring(builds("3.12", "linux/arm64", tmp_path)[0], tmp_path, held)
    assert python == LockedPython("3.12.10", archive.name, archive.stat().st_size, sha256)
    assert [path.name for path in held.iterdir()] == [sha256]
    locator = PythonLocator(tmp_path, held)
    for _ in range(2):  # the one that is there, then one that uv fetches
        for place in locator.places(artifact(python)):
            assert Path(place.url.removeprefix("file://")).read_bytes() == archive.read_bytes()
        assert list(held.iterdir()) == []


def test_a_build_that_this_uv_no_longer_lists(mirror: Path, tmp_path: Path) -> None:
    """A newer uv has another build of the version: the locked one lies beside it."""
    old = pack(mirror / "20251224" / file_name("3.12.9", "20251224"), {**SOME, "lib/python3.12/os.py": b"older"})
    sha256 = hashlib.sha256(old.read_bytes()).hexdigest()
    python = LockedPython("3.12.9", old.name, old.stat().st_size, sha256)
    (place,) = [place.url for place in PythonLocator(tmp_path, tmp_path / "held").places(artifact(python))]
    assert place.endswith(sha256)


def test_other_bytes_are_not_taken(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = mirror / "20260102" / file_name("3.12.10")
    python = LockedPython("3.12.10", archive.name, archive.stat().st_size, "0" * 64)
    with pytest.raises(FetchError, match=r"not the archive that is expected: .*Hash mismatch") as caught:
        list(PythonLocator(tmp_path, tmp_path / "held").places(artifact(python)))
    assert caught.value.exit_code == 6
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(listing(mirror / "bad.json", archive, wrong=True)))
    with pytest.raises(FetchError, match="Hash mismatch"):
        bring(builds("3.12", "linux/amd64", tmp_path)[0], tmp_path, tmp_path / "held")
    assert list((tmp_path / "held").iterdir()) == []


def test_what_cannot_be_had(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Build("cpython-3.12.10-linux-x86_64-gnu", "3.12.10", (mirror / "20200101" / file_name("3.12.10")).as_uri())
    with pytest.raises(FetchError, match=r"uv could not fetch it: ") as caught:
        bring(gone, tmp_path, tmp_path / "held", "1" * 64)
    assert "UV_PYTHON_INSTALL_MIRROR" in (caught.value.hint or "")
    python = LockedPython("3.10.1", file_name("3.10.1"), 1, "1" * 64)
    with pytest.raises(FetchError, match=r"uv knows no place that has CPython 3\.10\.1"):
        list(PythonLocator(tmp_path, tmp_path / "held").places(artifact(python)))
    (tmp_path / "broken.json").write_text(json.dumps([SYSCONFIG.decode()]))
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(tmp_path / "broken.json"))
    with pytest.raises(InputError, match="uv does not say which Pythons there are"):
        builds("3.12", "linux/amd64", tmp_path)
