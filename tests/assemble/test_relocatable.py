"""Layer kind ``python``: the archive of a relocatable CPython at its place, and archives that are none."""

from __future__ import annotations

import ast
import gzip
import hashlib
from pathlib import Path

import pytest

from flyte_build.assemble.debian import read
from flyte_build.assemble.entries import Entry
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer import write_layer
from flyte_build.assemble.relocatable import python_entries
from flyte_build.assemble.version import ASSEMBLER
from tests.support.pythons import files, pack

LIB = "usr/local/lib/python3.12"
SPEC = {"kind": "python", "assembler": ASSEMBLER, "title": "python", "python": "3.12", "prefix": "/usr/local"}


def entries(archive: Path, tmp_path: Path) -> dict[str, Entry]:
    spec = {**SPEC, "archives": [{"file": archive.name, "sha256": "0" * 64}]}
    return {e.path: e for e in python_entries(spec, lambda _: str(archive), str(tmp_path))}


def text(entry: Entry) -> str:
    return read(entry.content).decode()


def test_where_it_lies_and_who_owns_it(tmp_path: Path) -> None:
    found = entries(pack(tmp_path / "a.tar.gz", files()), tmp_path)
    assert not [path for path in found if "__pycache__" in path]
    assert {(e.uid, e.gid) for e in found.values()} == {(0, 0)}
    program, module = found["usr/local/bin/python3.12"], found[f"{LIB}/os.py"]
    assert (program.kind, program.mode, module.mode) == ("file", 0o755, 0o644)
    assert (found["usr/local/bin/python3"].kind, found["usr/local/bin/python3"].link) == ("symlink", "python3.12")
    # What only mentions the place is no text that says where it lies.
    assert text(module) == "# os, of /install\n"
    assert text(found[f"{LIB}/EXTERNALLY-MANAGED"]).startswith("[externally-managed]\nError=")


def test_a_free_threaded_build_has_names_of_its_own(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", files("3.14t"))
    spec = {**SPEC, "python": "3.14t", "archives": [{"file": archive.name, "sha256": "0" * 64}]}
    found = {e.path: e for e in python_entries(spec, lambda _: str(archive), str(tmp_path))}
    assert found["usr/local/bin/python3"].link == "python3.14t"
    assert "usr/local/lib/python3.14t/EXTERNALLY-MANAGED" in found


def test_what_says_where_it_lies_is_made_right(tmp_path: Path) -> None:
    found = entries(pack(tmp_path / "a.tar.gz", files()), tmp_path)
    data = text(found[f"{LIB}/_sysconfigdata__linux_x86_64-linux-gnu.py"])
    assert ast.literal_eval(data.partition("build_time_vars = ")[2]) == {
        "CC": "cc -pthread",
        "CXX": "c++ -pthread",
        "AR": "ar",
        "CONFIG_ARGS": "'--prefix=/usr/local' 'CC=cc'",
        "LDFLAGS": "-L/usr/local/lib -L/tools/deps/lib",
        "INCLUDEPY": "/usr/local/include/python3.12",
        "LIBDIR": "/installed/lib",
        "prefix": "/usr/local",
    }
    assert text(found["usr/local/lib/pkgconfig/python-3.12.pc"]) == "prefix=/usr/local\nlibdir=${prefix}/lib\n"
    makefile = text(found[f"{LIB}/config-3.12-x86_64-linux-gnu/Makefile"])
    assert makefile == "prefix=\t/usr/local\nexec=/usr/local/bin:/x/install\n"
    assert text(found["usr/local/bin/pip3"]) == "#!/usr/local/bin/python3.12\nimport pip # /install\n"
    assert text(found["usr/local/bin/idle3"]).splitlines()[0] == "#!/bin/sh"


def test_the_marker_of_the_archive_stays(tmp_path: Path) -> None:
    own = {**files(), "lib/python3.12/EXTERNALLY-MANAGED": b"[externally-managed]\nError=mine\n"}
    assert "mine" in text(entries(pack(tmp_path / "a.tar.gz", own), tmp_path)[f"{LIB}/EXTERNALLY-MANAGED"])


def test_the_bytes_of_the_layer_are_a_function_of_the_archive(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", files())
    # The same files in another order, packed by another gzip: another archive, the same layer.
    other = pack(tmp_path / "b.tar.gz", dict(reversed(files().items())))
    other.write_bytes(gzip.compress(gzip.decompress(other.read_bytes()), 9, mtime=7))
    digests = []
    for n, path in enumerate((archive, other)):
        out = tmp_path / f"{n}.layer"
        spec = {**SPEC, "archives": [{"file": "python.tar.gz", "sha256": "0" * 64}]}
        with open(out, "wb") as stream:
            result = write_layer(spec, lambda _, path=path: str(path), stream, scratch=str(tmp_path))
        assert hashlib.sha256(out.read_bytes()).hexdigest() == result.digest.removeprefix("sha256:")
        digests.append(result.digest)
    assert digests == ["sha256:12886c8c17c22cd8a5366ed55960b868a577b2641fd370ec2e1337bb6a414d4c"] * 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"lib/x": "/etc/passwd"}, r"`python/lib/x` leads out of the archive, to `/etc/passwd`"),
        ({"lib/x": "../../x"}, r"`python/lib/x` leads out of the archive, to `\.\./\.\./x`"),
    ],
)
def test_links_stay_inside(more: dict[str, bytes | str], said: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {**files(), **more})
    with pytest.raises(AssembleError, match=said):
        entries(archive, tmp_path)


def test_what_is_no_such_python(tmp_path: Path) -> None:
    with pytest.raises(AssembleError, match=r"expected `python/bin/python3\.12` in the archive of Python, found none"):
        entries(pack(tmp_path / "a.tar.gz", files("3.13")), tmp_path)
    with pytest.raises(AssembleError, match=r"expected everything below `python/`, found `install/bin/python3\.12`"):
        entries(pack(tmp_path / "b.tar.gz", files(), root="install/"), tmp_path)
    bad = tmp_path / "c.tar.gz"
    bad.write_bytes(pack(tmp_path / "d.tar.gz", files()).read_bytes()[:-200])
    with pytest.raises(AssembleError, match=r"c\.tar\.gz.*corrupt or truncated"):
        entries(bad, tmp_path)
    bad.write_bytes(b"not gzip at all")
    with pytest.raises(AssembleError, match="corrupt or truncated"):
        entries(bad, tmp_path)
