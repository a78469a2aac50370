"""ld.so.cache: what glibc's ldconfig would write, entry for entry."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble.debian import Tree
from flyte_build.assemble.elf import AARCH64, I386, X86_64, SharedObject, shared_object
from flyte_build.assemble.entries import Entry, Plain
from flyte_build.assemble.ldcache import Library, cache_bytes, ld_so_cache, libraries, search_directories
from tests.support.debs import shared_library

HERE = "usr/lib/x86_64-linux-gnu"


def tree_of(tmp_path: Path, files: dict[str, bytes | str]) -> Tree:
    """A tree of files (bytes) and symlinks (text), the files' contents lying in one file on disk."""
    tree = Tree()
    blob = tmp_path / "blob"
    with blob.open("ab") as f:
        for path, what in files.items():
            parts = path.split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                tree.entries.setdefault(folder, Entry(folder, "dir", 0o755))
            if isinstance(what, str):
                tree.entries[path] = Entry(path, "symlink", 0o777, link=what)
            else:
                tree.entries[path] = Entry(path, "file", 0o644, (Plain(str(blob), f.tell(), len(what)),))
                f.write(what)
    return tree


def reader(data: bytes):
    return lambda offset, size: data[offset : offset + size]


@pytest.mark.parametrize(("machine", "bits"), [(X86_64, 64), (AARCH64, 64), (I386, 32), (X86_64, 32)])
@pytest.mark.parametrize("soname", ["libx.so.1", None])
def test_elf(machine: int, bits: int, soname: str | None) -> None:
    data = shared_library(soname, machine=machine, bits=bits)
    assert shared_object(reader(data)) == SharedObject(machine, bits, soname)


@given(st.integers(0, 300), st.binary(max_size=40))
def test_elf_never_fails(cut: int, noise: bytes) -> None:
    data = shared_library("libx.so.1")
    found = shared_object(reader(data[:cut] + noise))
    assert found is None or found.machine >= 0


def test_offsets_out_of_this_world(tmp_path: Path) -> None:
    """A damaged library has no entry; it does not stop the build either."""
    data = bytearray(shared_library("libx.so.1"))
    for field in (slice(32, 40), slice(64 + 56 + 8, 64 + 56 + 16)):
        damaged = bytearray(data)
        damaged[field] = b"\xff" * 8
        assert list(libraries(tree_of(tmp_path, {f"{HERE}/libx.so.1": bytes(damaged)}), [f"/{HERE}"])) == []
    assert len(list(libraries(tree_of(tmp_path, {f"{HERE}/libx.so.1": bytes(data)}), [f"/{HERE}"]))) == 1


def test_a_linker_script_is_no_library() -> None:
    assert shared_object(reader(b"/* GNU ld script */ GROUP ( /lib/libc.so.6 )")) is None


def test_the_python_that_runs_this_has_a_readable_libc() -> None:
    with open("/proc/self/maps") as f:
        libc = next(line.split()[5] for line in f if "libc.so.6" in line)
    found = shared_object(reader(Path(libc).read_bytes()))
    assert found is not None
    assert found.soname == "libc.so.6"


def test_directories_in_their_order(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {
            "etc/ld.so.conf": b"# first\ninclude /etc/ld.so.conf.d/*.conf\n/opt/last # why\nhwcap 1 nosegneg\n",
            "etc/ld.so.conf.d/b.conf": b"/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
            "etc/ld.so.conf.d/a.conf": b"/usr/local/lib\n/missing\n",
            "etc/ld.so.conf.d/c.txt": b"/unread\n",
            "usr/local/lib/x": b"",
            "opt/last/x": b"",
            "unread/x": b"",
            f"{HERE}/x": b"",
        },
    )
    assert search_directories(tree, "amd64") == ["/usr/local/lib", "/lib/x86_64-linux-gnu", "/opt/last", "/lib"]


def test_an_include_that_includes_itself_ends(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"etc/ld.so.conf": b"include ld.so.conf\n/usr/lib\n", "usr/lib/x": b""})
    assert search_directories(tree, "amd64") == ["/usr/lib"]


def test_which_libraries_and_under_which_names(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {
            f"{HERE}/libfoo.so.1.9": shared_library("libfoo.so.1"),
            f"{HERE}/libfoo.so.1.10": shared_library("libfoo.so.1"),
            f"{HERE}/libfoo.so.1": "libfoo.so.1.10",
            f"{HERE}/libfoo.so": "libfoo.so.1",
            f"{HERE}/libbare.so": shared_library(None),
            f"{HERE}/libscript.so": b"GROUP ( libfoo.so.1 )",
            f"{HERE}/libdangling.so.2": "libnothing.so",
            f"{HERE}/libarm.so.1": shared_library("libarm.so.1", machine=AARCH64),
            f"{HERE}/libsparc.so.1": shared_library("libsparc.so.1", machine=2, bits=32),
            f"{HERE}/module.so": shared_library("module.so"),
            f"{HERE}/sub/libsub.so.1": shared_library("libsub.so.1"),
            f"{HERE}/ld-linux-x86-64.so.2": shared_library("ld-linux-x86-64.so.2"),
        },
    )
    found = {lib.name: lib for lib in libraries(tree, ["/lib/x86_64-linux-gnu"])}
    assert sorted(found) == ["ld-linux-x86-64.so.2", "libarm.so.1", "libbare.so", "libfoo.so", "libfoo.so.1"]
    assert found["libfoo.so.1"] == Library("libfoo.so.1", "/lib/x86_64-linux-gnu/libfoo.so.1", 0x303, "libfoo.so.1.10")
    assert found["libarm.so.1"].flags == 0xA03


def test_missing_soname_links_are_made(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {
            f"{HERE}/libfoo.so.1.9": shared_library("libfoo.so.1"),
            f"{HERE}/libfoo.so.1.10": shared_library("libfoo.so.1"),
            f"{HERE}/libbar.so.2.0": shared_library("libbar.so.2"),
            f"{HERE}/libbar.so.2": "libbar.so.2.0",
        },
    )
    _, links = ld_so_cache(tree, "amd64")
    assert links == [Entry(f"{HERE}/libfoo.so.1", "symlink", 0o777, link="libfoo.so.1.10")]


def test_golden() -> None:
    names = ["libz.so.1", "libfoo.so.10", "libfoo.so.9", "libfoo.so", "liba.so.1", "ld-linux-x86-64.so.2"]
    data = cache_bytes([Library(n, f"/lib/{n}", 0x303, n) for n in names])
    assert data[:48] == b"glibc-ld.so.cache1.1" + bytes([6, 0, 0, 0, 106, 0, 0, 0, 2]) + bytes(19)
    assert hashlib.sha256(data).hexdigest() == "048b4c982ad8077ccf7da87e9533ad429eeea760119a71b79e11b64ca9bc53d4"


@pytest.mark.integration
def test_ldconfig_reads_it_in_the_order_it_would_have_written(tmp_path: Path) -> None:
    """The real ldconfig prints our cache, and makes the same list from the same tree."""
    ldconfig = shutil.which("ldconfig", path="/usr/sbin:/sbin")
    assert ldconfig, "ldconfig is needed"
    sonames = [
        "libz.so.1",
        "libfoo.so.10",
        "libfoo.so.9",
        "libfoo-2.so.1",
        "libfoo10.so.1",
        "libfoo9.so.1",
        "libA.so.1",
    ]
    files: dict[str, bytes | str] = {f"usr/lib/{s}.0.0": shared_library(s) for s in sonames}
    files |= {f"usr/lib/{s}": f"{s}.0.0" for s in sonames}
    files |= {"usr/lib/libz.so": "libz.so.1", "usr/local/lib/libz.so.1": shared_library("libz.so.1")}
    files |= {"etc/ld.so.conf": b"/usr/local/lib\n", "usr/lib/libz.so.1.5": shared_library("libz.so.1")}
    tree = tree_of(tmp_path, files)
    root = tmp_path / "root"
    for path, what in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            (root / path).symlink_to(what)
        else:
            (root / path).write_bytes(what)
    (root / "lib").symlink_to("usr/lib")
    ours = tmp_path / "ours.cache"
    ours.write_bytes(ld_so_cache(tree, "amd64")[0])

    def run(*arguments: str) -> list[str]:
        done = subprocess.run([ldconfig, *arguments], check=True, capture_output=True, text=True, timeout=60)
        return [line for line in done.stdout.splitlines() if "=>" in line]

    run("-r", str(root), "-C", "/etc/ld.so.cache", "-X")
    assert run("-p", "-C", str(ours)) == run("-p", "-C", str(root / "etc/ld.so.cache"))
