"""Pins: written once, kept, never overwritten where that would hide that one derivation became two images."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flyte_build.building.pins import check_pins, record_pins
from flyte_build.deriving.derivation import derive
from flyte_build.kernel.errors import PinError, StoreError
from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.locks.lockfile import read, write
from flyte_build.locks.nouns import Lock, Pin
from flyte_build.recipe import EnvVars
from flyte_build.store import ImageRealisation, Store
from tests.support.index import SimpleIndex
from tests.support.locking import FakeDebian, project, publish, recipe
from tests.support.recipes import lock_of, recipe_of, wheel

AMD64, ARM64 = "linux/amd64", "linux/arm64"


def sha(digit: str) -> str:
    return "sha256:" + digit * 64


@dataclass(frozen=True)
class Folder:
    lockfiles: Path


@dataclass(frozen=True)
class Image:
    environment: str = "env"
    platform: str = AMD64
    derivation: str = sha("d")
    manifest_digest: str = sha("a")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "lockfiles")
    write(made.lockfiles, lock_of(recipe_of("numpy"), [wheel("numpy")]))
    return made


def locked(folder: Folder, environment: str = "env") -> Lock:
    found = read(folder.lockfiles, environment)
    assert found is not None
    return found


def test_a_pin_is_written_once(folder: Folder) -> None:
    before = locked(folder)
    assert record_pins(folder, [Image()]) == ["env"]
    assert locked(folder) == replace(before, pins={AMD64: Pin(sha("d"), sha("a"))})
    path = folder.lockfiles / "env.json"
    written = path.stat()
    assert record_pins(folder, [Image()]) == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert sorted(os.listdir(folder.lockfiles)) == ["env.json"]


def test_the_same_derivation_with_other_bytes_is_refused_and_the_pin_stays(folder: Folder) -> None:
    record_pins(folder, [Image()])
    write(folder.lockfiles, lock_of(recipe_of("numpy"), [wheel("numpy")], environment="other"))
    text = (folder.lockfiles / "env.json").read_text()
    wrong = Image(manifest_digest=sha("b"))
    for strict in (False, True):
        with pytest.raises(PinError) as caught:
            check_pins(folder, [wrong], strict=strict)
        for said in ("env on linux/amd64", sha("a"), sha("b"), sha("d"), "env.json"):
            assert said in caught.value.message
        assert "flyte-build verify" in (caught.value.hint or "")
    with pytest.raises(PinError, match=r"expected sha256:a+\n  found    sha256:b+"):
        record_pins(folder, [Image(environment="other"), wrong])
    assert (folder.lockfiles / "env.json").read_text() == text
    assert locked(folder, "other").pins == {}, "nothing is written where one of them is refused"


def test_a_pin_of_another_derivation_is_replaced_but_not_with_locked(folder: Folder) -> None:
    record_pins(folder, [Image()])
    newer = Image(derivation=sha("e"), manifest_digest=sha("b"))
    check_pins(folder, [newer])
    with pytest.raises(PinError, match="of another derivation") as caught:
        check_pins(folder, [newer], strict=True)
    for said in (sha("d"), sha("a"), sha("e"), sha("b"), "changed: not known here"):
        assert said in caught.value.message
    assert str(caught.value.hint).startswith("`flyte-build build` without --locked writes the new pin")
    assert record_pins(folder, [newer]) == ["env"]
    assert locked(folder).pins == {AMD64: Pin(sha("e"), sha("b"))}
    check_pins(folder, [newer], strict=True)


def test_without_a_pin_only_locked_complains(folder: Folder) -> None:
    check_pins(folder, [Image(), Image("unknown")])
    for image in (Image(), Image("unknown"), Image(platform=ARM64)):
        with pytest.raises(PinError, match="has no pin for this platform"):
            check_pins(folder, [image], strict=True)


def test_what_changed_since_the_pin_is_told_where_the_store_remembers(folder: Folder, tmp_path: Path) -> None:
    asked = recipe_of("numpy")
    later = lock_of(asked, [wheel("numpy", "2.0")])
    images = [derive(lock, asked, AMD64) for lock in (lock_of(asked, [wheel("numpy")]), later)]
    store = Store(tmp_path / "store")
    with store.session() as session:
        for number, image in enumerate(images):
            session.put_image(image, ImageRealisation(sha(str(number)), 1))
    record_pins(folder, [Image(derivation=images[0].hash, manifest_digest=sha("0"))])
    with pytest.raises(PinError, match=r"changed: numpy 1\.0 → 2\.0$"):
        check_pins(folder, [Image(derivation=images[1].hash, manifest_digest=sha("1"))], strict=True, store=store)


def test_platforms_have_pins_of_their_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    both = replace(recipe_of(), platforms=(AMD64, ARM64))
    write(folder.lockfiles, lock_of(both))
    record_pins(folder, [Image()])
    record_pins(folder, [Image(platform=ARM64, derivation=sha("e"), manifest_digest=sha("b"))])
    assert locked(folder).pins == {AMD64: Pin(sha("d"), sha("a")), ARM64: Pin(sha("e"), sha("b"))}


def test_what_no_lock_is_for_is_passed_over(folder: Folder) -> None:
    assert record_pins(folder, [Image("unknown"), Image(platform="linux/riscv64")]) == []
    assert os.listdir(folder.lockfiles) == ["env.json"]
    assert record_pins(Folder(folder.lockfiles / "gone"), [Image()]) == []


def test_builds_at_one_time_do_not_lose_each_others_pins(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    names = [f"env{i}" for i in range(4)]
    both = replace(recipe_of(), platforms=(AMD64, ARM64))
    for name in names:
        write(folder.lockfiles, lock_of(both, environment=name))
    start = threading.Barrier(8)

    def build(name: str, platform: str) -> None:
        start.wait()
        record_pins(folder, [Image(name, platform)])

    threads = [threading.Thread(target=build, args=(n, p)) for n in names for p in (AMD64, ARM64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert set(locked(folder, name).pins) == {AMD64, ARM64}, name


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_written_to_is_a_warning(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    reporter = Recorder()
    assert record_pins(folder, [Image()], reporter) == []
    assert reporter.warnings == [f"{folder.lockfiles}: may not be written to: the digests of env are not pinned"]
    check_pins(folder, [Image()])


def test_a_full_disk_is_an_error(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(StoreError, match="cannot be written"):
        record_pins(folder, [Image()], Silent())


# -- locking again ---------------------------------------------------------------------------------


@pytest.fixture
def again(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "project" / "lockfiles")


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    publish(tmp_path / "wheels", "a 1.0", "b 1.0")
    return tmp_path / "wheels"


def test_locking_again_keeps_pins_where_the_image_stays(again: Folder, packages: Path) -> None:
    with SimpleIndex(packages) as index:
        wanted = {"one": recipe("a"), "two": recipe("a", "b")}
        project(wanted, again.lockfiles, index)
        record_pins(again, [Image("one"), Image("two")])
        pin = {AMD64: Pin(sha("d"), sha("a"))}
        assert project(wanted, again.lockfiles, index).written == ()

        # Another way to ask for the same wheels gives the same image.
        report = project({**wanted, "one": recipe("a>=1.0")}, again.lockfiles, index)
        assert report.written == ("one",)
        assert locked(again, "one").pins == report.locks["one"].pins == pin

        # Another environment variable gives another image, and so do other wheels; the neighbour keeps its pin.
        project({**wanted, "one": recipe("a>=1.0", EnvVars((("A", "1"),)))}, again.lockfiles, index)
        assert locked(again, "one").pins == {}
        assert locked(again, "two").pins == pin
        publish(packages, "b 2.0")
        project(wanted, again.lockfiles, index, upgrade=["b"])
        assert locked(again, "two").pins == {}


def test_a_platform_that_goes_takes_its_pin_along(again: Folder, packages: Path) -> None:
    with SimpleIndex(packages) as index:
        both = replace(recipe("a"), platforms=(AMD64, ARM64))
        project({"env": both}, again.lockfiles, index)
        record_pins(again, [Image(), Image(platform=ARM64)])
        project({"env": replace(both, platforms=(ARM64,))}, again.lockfiles, index)
        assert set(locked(again).pins) == {ARM64}


def test_a_pin_written_while_the_project_is_locked_stays(again: Folder, packages: Path) -> None:
    class Slow(FakeDebian):
        """A build pins the other environment while this is asked."""

        def __call__(self, cutoff: str | None, reporter: object):  # type: ignore[no-untyped-def]
            record_pins(again, [Image("one")])
            return super().__call__(cutoff, reporter)  # type: ignore[arg-type]

    with SimpleIndex(packages) as index:
        project({"one": recipe("a")}, again.lockfiles, index)
        more = {"one": recipe("a"), "two": replace(recipe("b"), python="3.13")}
        project(more, again.lockfiles, index, debian=Slow())
        assert set(locked(again, "one").pins) == {AMD64}
        assert locked(again, "two").pins == {}
