"""Which core is used, and what is said where it is none; its hashes against Python's."""

from __future__ import annotations

import ctypes
import hashlib
import os
import random
import re
import shutil
import zlib
from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.native import __main__ as building
from flyte_build.native import blob, hashing, library, linking, naming

_NAME = re.compile(rb"\0([A-Za-z_][\w.]{3,})(?=\0)")


@pytest.fixture
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place for the library where none is."""
    path = tmp_path / "core.so"
    monkeypatch.delenv(library.VARIABLE, raising=False)
    monkeypatch.setattr(library, "library_path", lambda: path)
    monkeypatch.setattr(library, "_found", library._found.__wrapped__)
    return path


def test_pure_turns_it_off(native: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(library.core()) == "native core"
    monkeypatch.setenv(library.VARIABLE, "pure")
    assert str(library.core()) == "pure Python: FLYTE_BUILD_CORE=pure"


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.VARIABLE, "fast")
    with pytest.raises(InputError, match="expected auto, pure or native, found `fast`"):
        library.core()


def test_without_it_python_does_the_work(nothing_found: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert str(library.core()) == "pure Python: the core was not built here"
    with (tmp_path / "out").open("wb") as out:
        assert blob.write_blob([], out).diff_size == 1024
    monkeypatch.setenv(library.VARIABLE, "native")
    with pytest.raises(InputError, match="there is no native core: the core was not built here") as caught:
        library.core()
    assert "docs/core.md" in str(caught.value.hint)


def test_what_is_no_core_is_not_used(nothing_found: Path) -> None:
    nothing_found.write_bytes(b"no library")
    assert str(library.core()).startswith("pure Python: the core cannot be loaded: ")


def test_one_that_answers_wrong_is_not_used(native: ctypes.CDLL, nothing_found: Path) -> None:
    """A library whose SHA-256 has another first constant."""
    data = Path(str(native._name)).read_bytes()
    first = (0x428A2F98).to_bytes(4, "little")
    assert data.count(first) == 1
    nothing_found.write_bytes(data.replace(first, bytes(4)))
    assert str(library.core()) == "pure Python: the core is broken: its SHA-256 of `abc` is not the standard's"


def test_other_sources_are_another_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = naming.library("x86_64").name
    copy = tmp_path / "c"
    shutil.copytree(naming.HERE / "c", copy)
    monkeypatch.setattr(naming, "sources", lambda: sorted(copy.iterdir()))
    assert naming.library("x86_64").name == before
    (copy / "core.h").write_text((copy / "core.h").read_text() + "\n")
    assert naming.library("x86_64").name != before


def test_what_cannot_be_built_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(building, "library", lambda _: tmp_path / "core.so")
    monkeypatch.setitem(building.MACHINES, os.uname().machine, "any")
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda _: None)
    assert building.main(["build"]) == 1
    assert "pip install ziglang" in capsys.readouterr().err
    assert building.main(["nonsense"]) == 2


@pytest.mark.slow
def test_the_same_sources_make_the_same_library(native: ctypes.CDLL, tmp_path: Path) -> None:
    path = Path(str(native._name))
    building.build(tmp_path / "core.so", path.name.split("-")[1])
    assert (tmp_path / "core.so").read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("machine", sorted(naming.MACHINES))
def test_it_is_linked_without_a_c_library_of_all_names(machine: str, native: ctypes.CDLL, tmp_path: Path) -> None:
    """As it would be otherwise: the same names, versions and libraries, and (on this machine) the same answers."""
    linked = []
    with pytest.MonkeyPatch.context() as watched:
        watched.setattr(building, "link", lambda *asked: linked.append(linking.link(*asked)) or linked[-1])
        building.build(tmp_path / "core.so", machine)
    assert linked == [True], "it calls what `linking.NEEDED` does not have: add it there"
    with pytest.MonkeyPatch.context() as other:
        other.setattr(building, "link", lambda *_: False)
        building.build(tmp_path / "other.so", machine)
    # All names in a library are texts in it: symbols, versions, libraries.
    found, expected = (set(_NAME.findall((tmp_path / name).read_bytes())) for name in ("core.so", "other.so"))
    assert found == expected
    assert {b"libc.so.6", b"GLIBC_2.17" if machine == "aarch64" else b"GLIBC_2.2.5", b"core_unpack"} < found
    if machine == os.uname().machine:
        assert library.load(tmp_path / "core.so").library is not None


def test_hashes(native: ctypes.CDLL) -> None:
    """Of every size around the blocks of both, at any address, and in pieces."""
    r = random.Random(1)
    for size in [*range(300), *(r.randrange(70_000) for _ in range(60))]:
        data, first = r.randbytes(size), r.randrange(size + 1)
        out = ctypes.create_string_buffer(64)
        native.core_sha256(data, size, first, out)
        assert out.raw == hashlib.sha256(data).digest() + hashlib.sha256(data[:first]).digest()
        assert native.core_crc32(zlib.crc32(data[:first]), data[first:], size - first) == zlib.crc32(data)


@pytest.mark.slow
def test_hashes_without_avx512(narrow: library.Core) -> None:
    assert narrow.library is not None
    test_hashes(narrow.library)


def test_a_whole_file_is_hashed(native: ctypes.CDLL, tmp_path: Path) -> None:
    whole = hashing.whole_file()
    assert whole is not None
    path, r = tmp_path / "file", random.Random(2)
    for size in (0, 1, 63, 64, 65, 65_535, 65_536, 65_537, 300_001):
        path.write_bytes(data := r.randbytes(size))
        assert whole(path) == hashlib.sha256(data).hexdigest()
    with pytest.raises(IsADirectoryError):
        whole(tmp_path)
    with pytest.raises(FileNotFoundError):
        whole(tmp_path / "none")


def test_where_there_is_no_core_files_are_hashed_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.VARIABLE, "pure")
    assert hashing.whole_file() is None
