"""Bytecode that our own Python has, lent to images: of the same sources, as our Python would take it, and no other."""

from __future__ import annotations

import hashlib
import importlib.util
import marshal
import os
import py_compile
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest

from flyte_build.store.sealed import Examiner
from flyte_build.submit import lending
from flyte_build.submit.lending import MARK
from flyte_build.submit.roots import Roots

from .oci import Made, image

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"opt/venv/lib/{VERSION}/site-packages"
SOURCE = b"def outer():\n    def inner():\n        return __file__\n    return inner\n"
TAG = sys.implementation.cache_tag
CHECKED, UNCHECKED = py_compile.PycInvalidationMode.CHECKED_HASH, py_compile.PycInvalidationMode.UNCHECKED_HASH


class Ours:
    """Folders of a Python that stands for ours."""

    def __init__(self, top: Path) -> None:
        self.schemes = {name: top / name for name in ("purelib", "stdlib")}

    def add(self, name: str, source: bytes = SOURCE, scheme: str = "purelib", *, compiled: bool = True) -> Path:
        path = self.schemes[scheme] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source)
        if compiled:
            py_compile.compile(str(path), doraise=True)
        return path


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ours:
    found = Ours(tmp_path / "the-host")
    monkeypatch.setattr(lending.sysconfig, "get_path", lambda scheme: str(found.schemes[scheme]))
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(lending, "_our_modules", lambda: lending.Ours(STARTS))
    return found


def _sealed(path: str, source: bytes = SOURCE) -> dict[str, str]:
    return {path: f"100644 {len(source)} {hashlib.sha256(source).hexdigest()}"}


STARTS = ["package.module", "module", "one", "two", "a", "a.b", "json.a", "json.decoder"]


def lent(sealed: dict[str, str]) -> list[tuple[str, bytes]]:
    """What is lent to an image that imports these modules."""
    return list(lending.lent(sealed, lending.Ours(STARTS)))


def _cached(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(path), optimization=""))


def test_it_is_of_the_image_in_every_word(ours: Ours) -> None:
    ours.add("package/module.py")
    ((module, data),) = lent(_sealed(f"{SITE}/package/module.py"))
    assert module == f"{SITE}/package/module.py"
    assert data[:16] == importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(SOURCE)
    assert b"the-host" not in data
    code = marshal.loads(data[16:])
    names = set()
    while code is not None:
        names.add(code.co_filename)
        code = next((c for c in code.co_consts if isinstance(c, CodeType)), None)
    assert names == {f"/{SITE}/package/module.py"}
    space = {"__file__": "it"}
    exec(marshal.loads(data[16:]), space)  # noqa: S102
    assert space["outer"]()() == "it"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("path", "scheme", "name"),
    [
        (f"usr/local/lib/{VERSION}/dist-packages/a/b.py", "purelib", "a/b.py"),
        ("usr/lib/python3/dist-packages/a.py", "purelib", "a.py"),
        (f"usr/lib/{VERSION}/json/decoder.py", "stdlib", "json/decoder.py"),
        (f"{VERSION}/a.py", "stdlib", "a.py"),
    ],
)
def test_it_is_looked_for_where_our_python_would(ours: Ours, path: str, scheme: str, name: str) -> None:
    ours.add(name, scheme=scheme)
    assert [module for module, _ in lent(_sealed(path))] == [path]


@pytest.mark.parametrize(
    "path",
    ["usr/lib/python3.1/json/a.py", "usr/share/a.py", f"{SITE}/a.pyi", f"{SITE}x/a.py", f"a{VERSION}/a.py", "a.py"],
)
def test_other_pythons_and_programs_get_nothing(ours: Ours, path: str) -> None:
    for scheme in ours.schemes:
        ours.add("a.py", scheme=scheme)
        ours.add("json/a.py", scheme=scheme)
    assert not lent(_sealed(path))


def _header(at: int, data: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        old = _cached(path).read_bytes()
        _cached(path).write_bytes(old[:at] + data + old[at + len(data) :])

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda path: _cached(path).unlink(),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(SOURCE.replace(b"outer", b"other")),
        lambda path: os.utime(path, (1, 1)),  # what is compiled may be of what was there before
        lambda path: _cached(path).write_bytes(b""),
        lambda path: _cached(path).write_bytes(_cached(path).read_bytes()[:30]),
        lambda path: _cached(path).write_bytes(_cached(path).read_bytes()[:16] + marshal.dumps("no code")),
        _header(0, b"\1\2\r\n"),
        _header(4, b"\1\0\0\0"),  # a hash, and it is another one's
        _header(4, b"\2\0\0\0"),
        _header(12, b"\0\0\0\0"),
    ],
)
def test_what_our_python_would_not_take_is_not_lent(ours: Ours, change: Callable[[Path], None]) -> None:
    path = ours.add("module.py")
    assert lent(_sealed(f"{SITE}/module.py"))
    change(path)
    assert not lent(_sealed(f"{SITE}/module.py"))


@pytest.mark.parametrize("mode", [CHECKED, UNCHECKED])
def test_bytecode_with_hashes_is_lent_for_its_source(ours: Ours, mode: py_compile.PycInvalidationMode) -> None:
    path = ours.add("module.py")
    py_compile.compile(str(path), invalidation_mode=mode)
    os.utime(path, (1, 1))
    assert lent(_sealed(f"{SITE}/module.py"))
    path.write_bytes(SOURCE + b"#")
    assert not lent(_sealed(f"{SITE}/module.py", SOURCE + b"#"))


def test_a_link_or_another_source_of_the_name_gets_nothing(ours: Ours) -> None:
    ours.add("module.py")
    assert not lent({f"{SITE}/module.py": f"120777 -> {hashlib.sha256(SOURCE).hexdigest()[:-1]}"})
    assert not lent(_sealed(f"{SITE}/module.py", SOURCE + b"\n"))
    assert not lent({f"{SITE}/module.py/": "40755"})


def test_only_what_is_about_to_be_imported_is_lent(ours: Ours) -> None:
    """Whatever layers the modules on the way are in."""
    ours.add("module.py", b"import third, json.decoder\n")
    for name, scheme in (("third.py", "purelib"), ("fourth.py", "purelib"), ("json/decoder.py", "stdlib")):
        ours.add(name, scheme=scheme)
    assert [module for module, _ in lent(_sealed(f"{SITE}/third.py") | _sealed(f"{SITE}/fourth.py"))] == [
        f"{SITE}/third.py"
    ]
    assert lent(_sealed(f"usr/lib/{VERSION}/json/decoder.py"))


PYTHON = [Made("usr/bin/python3", b"#!python", 0o755)]
ENV = ("PATH=/usr/bin",)


def test_a_root_has_it_and_shares_it_by_layer(tmp_path: Path, ours: Ours) -> None:
    """A module that a later layer replaced has none of the lower one's."""
    ours.add("one.py")
    ours.add("two.py")
    blobs, name = tmp_path / "blobs", f"{SITE}/__pycache__"
    layer = [Made(f"{SITE}/{name}", SOURCE) for name in ("one.py", "two.py")]
    first = image(blobs, [PYTHON, layer], env=ENV)
    root = Roots(tmp_path, blobs).get(first).root
    assert sorted(os.listdir(root / name)) == [f"one.{TAG}.pyc", f"two.{TAG}.pyc"]
    assert not Examiner().look(root, first, full=True)
    ours.add("one.py", b"changed = True\n")  # what was lent stays
    second = image(blobs, [PYTHON, layer, [Made(f"{SITE}/two.py", b"another = True\n")]], env=ENV)
    other = Roots(tmp_path, blobs).get(second).root
    assert os.listdir(other / name) == [f"one.{TAG}.pyc"]
    assert (other / name / f"one.{TAG}.pyc").samefile(root / name / f"one.{TAG}.pyc")
    assert not Examiner().look(other, second, full=True)
    assert len(list((tmp_path / "layers").glob(f"*.{MARK}"))) == 1


def test_what_was_changed_since_is_lent_to_nobody(tmp_path: Path, ours: Ours) -> None:
    path = ours.add("one.py")
    blobs, layer = tmp_path / "blobs", [Made(f"{SITE}/one.py", SOURCE)]
    Roots(tmp_path, blobs).get(image(blobs, [PYTHON, layer], env=ENV))
    (kept,) = (tmp_path / "layers").glob(f"*.{MARK}/{SITE}/__pycache__/one.*")
    lay = kept.stat()
    kept.write_bytes(kept.read_bytes().replace(b"outer", b"other"))
    os.utime(kept, ns=(lay.st_atime_ns, lay.st_mtime_ns))  # a look would not show it
    path.unlink()
    root = Roots(tmp_path, blobs).get(image(blobs, [PYTHON, layer, [Made("more", b"")]], env=ENV)).root
    assert not (root / SITE / "__pycache__").exists()


def test_of_nothing_there_is_no_folder(tmp_path: Path, ours: Ours) -> None:
    blobs = tmp_path / "blobs"
    Roots(tmp_path, blobs).get(image(blobs, [PYTHON, [Made(f"{SITE}/one.py", SOURCE)]], env=ENV))
    assert not list((tmp_path / "layers").glob(f"*.{MARK}*"))


@pytest.mark.parametrize("length", [10, 254, 255, 256, 300])
@pytest.mark.parametrize("folder", ["the-host", "the-h\N{LATIN SMALL LETTER O WITH DIAERESIS}st"])
def test_a_text_is_put_for_another_whatever_their_lengths(length: int, folder: str) -> None:
    """By their bytes where these tell, and by making the code anew where they do not: what comes of it is the same."""
    here, there = f"/{folder}/".ljust(length, "a") + ".py", "/opt/" + "b" * (310 - length) + ".py"
    code = compile(SOURCE, here, "exec")
    renamed = lending._renamed(marshal.dumps(code), here, there)
    assert bool(renamed) is folder.isascii()
    if renamed:
        assert marshal.loads(renamed) == lending._moved(code, here, there)
        assert b"the-host" not in renamed
    # One that says where it is besides its file's name, and one that goes where its own name is part of the other.
    assert not lending._renamed(marshal.dumps(compile(f"a = {'at ' + here!r}", here, "exec")), here, there)
    if folder.isascii():
        longer = lending._renamed(marshal.dumps(code), here, f"/opt{here}")
        assert marshal.loads(longer) == lending._moved(code, here, f"/opt{here}")
    # Nothing that no code begins with.
    assert not lending._renamed(marshal.dumps((here,)), here, there)
