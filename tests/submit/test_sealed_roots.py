"""A root is entered as it was sealed, or made again from its blobs: somebody changes the store between two runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyte_build.kernel.errors import StoreError
from flyte_build.kernel.reporting import Recorder
from flyte_build.store.sealed import Examiner
from flyte_build.submit import roots as roots_module
from flyte_build.submit.roots import Roots

from .oci import Made, image

ENV = ("PATH=/bin",)
ENTRIES = [
    Made("bin/python3", b"#!python", 0o755),
    Made("lib/code.py", b"good = 1\n"),
    Made("lib/alias", link="code.py"),
    Made("lib/same", hard="lib/code.py"),
    Made("etc/empty", b""),
]
LATE = 2_000_000_000_000_000_000
"""Nanoseconds: a date of a change, when the file system's clock says no other."""


class Cache:
    """A cache with the image ``one``, and ``two``, which has a layer more; all that is said goes to ``said``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blobs = path / "oci" / "blobs" / "sha256"
        self.one = image(self.blobs, [ENTRIES], env=ENV)
        self.two = image(self.blobs, [ENTRIES, [Made("lib/more.py", b"more")]], env=ENV)
        self.reporter = Recorder()
        self.good: dict[str, str] = {}

    def root(self, digest: str) -> Path:
        return self.path / "roots" / digest[7:]

    def beside(self, digest: str, suffix: str) -> Path:
        return self.root(digest).with_name(digest[7:] + suffix)

    def get(self, digest: str, *, full: bool = False) -> dict[str, str]:
        """Get the root, and what it holds."""
        return contents(Roots(self.path, self.blobs, reporter=self.reporter, full=full).get(digest).root)

    @property
    def said(self) -> list[str]:
        return self.reporter.warnings


def contents(root: Path) -> dict[str, str]:
    """Path → mode and content of everything below ``root``."""
    out = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            what = os.readlink(path) if path.is_symlink() else "" if path.is_dir() else path.read_bytes().decode()
            out[str(path.relative_to(root))] = f"{path.lstat().st_mode:o} {what}"
    return out


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    made = Cache(tmp_path)
    made.good = made.get(made.one)
    made.get(made.two)
    assert made.said == []
    return made


def write(path: Path, data: bytes) -> None:
    """Write in place: every hard link of it changes."""
    path.write_bytes(data)
    os.utime(path, ns=(LATE, LATE))


def edit_file(cache: Cache) -> None:
    write(cache.root(cache.one) / "lib/code.py", b"evil = 1\n")


def replace_file(cache: Cache) -> None:
    path = cache.root(cache.one) / "lib/code.py"
    path.unlink()
    path.write_bytes(b"evil = 1\n")


def add_file(cache: Cache) -> None:
    (cache.root(cache.one) / "lib/sitecustomize.py").write_bytes(b"evil")


def change_mode(cache: Cache) -> None:
    (cache.root(cache.one) / "lib/code.py").chmod(0o777)


def change_mount_point(cache: Cache) -> None:
    write(cache.root(cache.one) / "etc/passwd", b"root::0:0::/:/bin/sh\n")


def turn_link(cache: Cache) -> None:
    (cache.root(cache.one) / "lib/alias").unlink()
    (cache.root(cache.one) / "lib/alias").symlink_to("/etc/shadow")


def folder_by_link(cache: Cache) -> None:
    folder = cache.root(cache.one) / "lib"
    shutil.copytree(folder, cache.path / "elsewhere", symlinks=True)
    shutil.rmtree(folder)
    folder.symlink_to(cache.path / "elsewhere")


def root_by_link(cache: Cache) -> None:
    root = cache.root(cache.one)
    root.rename(cache.path / "elsewhere")
    root.symlink_to(cache.path / "elsewhere")


def file_by_pipe(cache: Cache) -> None:
    path = cache.root(cache.one) / "lib/code.py"
    path.unlink()
    os.mkfifo(path, 0o644)


def swap_folders(cache: Cache) -> None:
    one, two = cache.root(cache.one), cache.root(cache.two)
    one.rename(cache.path / "aside")
    two.rename(one)
    (cache.path / "aside").rename(two)


def swap_all(cache: Cache) -> None:
    for suffix in ("", ".json", ".seal", ".state"):
        one, two = cache.beside(cache.one, suffix), cache.beside(cache.two, suffix)
        one.rename(cache.path / "aside")
        two.rename(one)
        (cache.path / "aside").rename(two)


def listed(**changes: object) -> Callable[[Cache], None]:
    def edit(cache: Cache) -> None:
        path = cache.beside(cache.one, ".json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def seal_of_the_other(cache: Cache) -> None:
    """With its digest in the listing, which says whose it is all the same."""
    other = json.loads(cache.beside(cache.two, ".json").read_text())["seal"]
    listed(seal=other)(cache)
    shutil.copy(cache.beside(cache.two, ".seal"), cache.beside(cache.one, ".seal"))


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (edit_file, "lib/code.py: expected a file with mode 0644, 9 bytes, SHA-256 "),
        (replace_file, "lib/code.py: expected a file with mode 0644, 9 bytes, SHA-256 "),
        (add_file, "lib/sitecustomize.py: expected nothing, found a file with mode 0"),
        (
            lambda cache: (cache.root(cache.one) / "lib/new/deep").mkdir(parents=True),
            "lib/new/: expected nothing, found a folder with mode 0",
        ),
        (
            lambda cache: (cache.root(cache.one) / "etc/empty").unlink(),
            "etc/empty: expected a file with mode 0644, 0 bytes",
        ),
        (change_mode, "found a file with mode 0777, 9 bytes"),
        (
            lambda cache: (cache.root(cache.one) / "lib").chmod(0o777),
            "lib/: expected a folder with mode 0755, found a folder with mode 0777",
        ),
        (change_mount_point, "etc/passwd: expected a file with mode "),
        (turn_link, "lib/alias: expected a link to `code.py`, found a link to `/etc/shadow`"),
        (folder_by_link, "lib: expected nothing, found a link to `"),
        (root_by_link, "/: expected a folder, found none that can be read"),
        (file_by_pipe, "lib/code.py: expected a file with mode 0644, 9 bytes"),
        (swap_folders, "lib/more.py: expected nothing, found a file with mode 0644, 4 bytes"),
        (swap_all, ".json: expected sha256:"),
        (listed(of="sha256:" + "0" * 64), f"found sha256:{'0' * 64}"),
        (listed(layers=["sha256:" + "0" * 64]), ".json: expected the layers sha256:"),
        (listed(seal="sha256:" + "0" * 64), f".seal: expected sha256:{'0' * 64}, found sha256:"),
        (listed(layers={}), ".json: expected a tree's listing, found none"),
        (listed(schema=2), ".json: expected a tree's listing, found none"),
        (seal_of_the_other, ".seal: expected the seal of sha256:"),
        (lambda cache: cache.beside(cache.one, ".seal").write_bytes(b"?"), ".seal: expected sha256:"),
        (lambda cache: cache.beside(cache.one, ".seal").unlink(), ".seal: expected a seal, found No such file"),
        (lambda cache: cache.beside(cache.one, ".json").write_bytes(b"[" * 9999), ".json: expected a tree's listing"),
    ],
)
def test_a_root_that_was_changed_is_made_again_and_never_entered(
    cache: Cache, tamper: Callable[[Cache], None], words: str
) -> None:
    tamper(cache)
    assert cache.get(cache.one) == cache.good
    said = [line for line in cache.said if line.startswith(f"image {cache.one[:19]}: ")]
    assert len(said) == 1
    assert words in said[0]
    assert "; it is unpacked again" in said[0] or said[0].endswith("they are unpacked again")
    heard = len(cache.said)
    assert cache.get(cache.one) == cache.good
    assert len(cache.said) == heard  # it is as it was sealed now


@pytest.mark.parametrize("tamper", [edit_file, change_mode])
def test_what_roots_and_layers_share_is_mended_in_each(cache: Cache, tamper: Callable[[Cache], None]) -> None:
    good = contents(cache.root(cache.two))
    tamper(cache)
    cache.get(cache.one)
    assert cache.get(cache.two) == good
    assert sum("layer" in line for line in cache.said) == 1
    (layer,) = (p for p in (cache.path / "layers").iterdir() if (p / "lib/code.py").is_file())
    assert contents(layer)["lib/code.py"] == "100644 good = 1\n"


def test_a_change_that_hides_its_date_is_found_where_all_is_hashed(cache: Cache) -> None:
    path = cache.root(cache.one) / "lib/code.py"
    before = path.stat()
    path.write_bytes(b"evil = 1\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    cache.get(cache.one)
    assert cache.said == []  # as the docs say: who hides it, hides it from a look
    assert cache.get(cache.one, full=True) == cache.good
    assert len(cache.said) == 2  # of the root, and of the layer that it shares the file with


def test_what_only_lies_otherwise_is_hashed_once_and_kept(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache.root(cache.one) / "lib/code.py"
    os.utime(path, ns=(10**18, 10**18))
    copy = path.with_name("copy")
    empty = cache.root(cache.one) / "etc/empty"
    shutil.copy2(empty, copy)
    copy.replace(empty)  # another inode
    seal, state = (cache.beside(cache.one, suffix) for suffix in (".seal", ".state"))
    sealed, lay = seal.read_bytes(), state.read_bytes()
    assert cache.get(cache.one) == cache.good
    assert cache.said == []
    assert (seal.read_bytes(), state.read_bytes() != lay) == (sealed, True)

    def hashed(*_: object) -> None:
        raise AssertionError("a file was hashed")

    monkeypatch.setattr(Examiner, "_hash", hashed)
    cache.get(cache.one)


@pytest.mark.parametrize("state", [None, b"", b"1 a b\nc", b"\xff" * 100, b"1  \n"])
def test_without_a_state_all_is_hashed_and_a_state_written(cache: Cache, state: bytes | None) -> None:
    path = cache.beside(cache.one, ".state")
    good = path.read_bytes()
    os.utime(cache.root(cache.one) / "lib/alias", ns=(10**18, 10**18), follow_symlinks=False)
    path.unlink()
    if state is not None:
        path.write_bytes(state)
    assert cache.get(cache.one) == cache.good
    assert cache.said == []
    assert path.read_bytes().split()[:2] == good.split()[:2]


def test_a_change_of_just_now_is_hashed_again_the_next_time(cache: Cache) -> None:
    """Another one within the same tick of the clock would not show."""
    path, state = cache.root(cache.one) / "lib/code.py", cache.beside(cache.one, ".state")
    lay = state.read_bytes()
    path.touch()
    cache.get(cache.one)
    assert cache.said == []
    assert state.read_bytes() == lay


def test_a_root_in_use_is_not_thrown_away(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots_module, "_PATIENCE", 0.0)
    running = Roots(cache.path, cache.blobs)
    root = running.get(cache.one).root
    add_file(cache)
    with pytest.raises(StoreError, match=r"not as it was sealed, and a run is using it\n  lib/sitecustomize\.py") as e:
        cache.get(cache.one)
    assert "end that run" in str(e.value.hint)
    assert (root / "lib/sitecustomize.py").is_file()
    assert cache.said == []
    del running
    assert cache.get(cache.one) == cache.good
    assert len(cache.said) == 1


def test_many_at_once_make_it_again_once(cache: Cache) -> None:
    edit_file(cache)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.get(cache.one), range(8)))
    assert found == [cache.good] * 8
    assert len([line for line in cache.said if line.startswith("image")]) == 1


def test_a_root_is_looked_at_once_a_run(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = Examiner.look
    monkeypatch.setattr(Examiner, "look", lambda *a, **k: looks.append(a[1]) or look(*a, **k))
    run = Roots(cache.path, cache.blobs)
    for _ in range(3):
        run.get(cache.one)
    assert looks == [cache.root(cache.one)]


def test_a_cache_that_may_not_be_written_is_entered_all_the_same(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(roots_module.locks, "acquire", refuse)
    (cache.root(cache.one) / "lib/code.py").touch()
    monkeypatch.setattr("flyte_build.store.seal_files.tempfile.mkstemp", refuse)
    assert cache.get(cache.one) == cache.good
