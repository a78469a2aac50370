"""What is installed in an image is what uv installs from the same lock: paths, contents, links, executable bits.

Left out of the comparison, and why:

- what is in uv's venv before anything is installed, and what the image's system layer brings: each one's skeleton;
- ``RECORD``, which also lists the files below, where uv's own are others (the image's is checked, line by line);
- ``.lock``, with which uv keeps others out of a venv while it installs;
- ``INSTALLER`` (each names itself) and ``REQUESTED``, which an image leaves to its lock;
- in scripts, the path of the venv; launchers, worded by every installer in its own way, are compared by what they call.
"""

from __future__ import annotations

import ast
import base64
import configparser
import csv
import hashlib
import os
import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_build.kernel.platforms import host_platform
from flyte_build.locks.lockfile import read
from tests.support.daemons import shell
from tests.support.tools import need

from .conftest import LOCKFILES, Layout
from .test_consumers import layers

pytestmark = pytest.mark.integration

SITE = "lib/python3.11/site-packages"
NOTES = ("RECORD", "INSTALLER", "REQUESTED")


@dataclass(frozen=True)
class Tree:
    """A venv's folder and the path it believes to be at; ``skeleton`` is what was there before."""

    path: Path
    prefix: str
    skeleton: frozenset[str]

    def installed(self) -> Iterator[str]:
        for folder, dirs, files in os.walk(self.path):
            for name in [*files, *(d for d in dirs if os.path.islink(os.path.join(folder, d)))]:
                path = os.path.relpath(os.path.join(folder, name), self.path)
                if path in self.skeleton or path == ".lock" or (".dist-info/" in path and name in NOTES):
                    continue
                yield path

    def identity(self, path: str, launched: Mapping[str, str]) -> tuple[str, ...]:
        """Kind, permissions and content."""
        found = self.path / path
        if found.is_symlink():
            return "link", os.readlink(found)
        mode = f"{stat.S_IMODE(found.stat().st_mode):o}"
        data = found.read_bytes()
        if path in launched:
            return "launcher", mode, *called(data, self.prefix)
        if path.startswith("bin/") and data.startswith(b"#!"):
            first, _, rest = data.partition(b"\n")
            data = first.replace(self.prefix.encode(), b"VENV") + rest
        return "file", mode, hashlib.sha256(data).hexdigest()

    def launchers(self) -> dict[str, str]:
        """``bin/NAME`` → ``module:callable`` of all entry points."""
        found = {}
        for file in (self.path / SITE).glob("*.dist-info/entry_points.txt"):
            parser = configparser.ConfigParser(delimiters=("=",))
            parser.optionxform = str  # type: ignore[assignment]
            parser.read(file)
            for section in ("console_scripts", "gui_scripts"):
                if parser.has_section(section):
                    found |= {f"bin/{name}": target for name, target in parser.items(section)}
        return found


def called(script: bytes, prefix: str) -> tuple[str, str]:
    """A launcher's interpreter, relative to its venv, and ``module:callable``, from its code."""
    interpreter = script.splitlines()[0].decode().replace(prefix, "VENV")
    body = ast.parse(script)
    (module,) = [n for n in body.body if isinstance(n, ast.ImportFrom)]
    (end,) = [n for n in ast.walk(body) if isinstance(n, ast.Call) and ast.unparse(n.func) == "sys.exit"]
    assert isinstance(end.args[0], ast.Call)
    call = ast.unparse(end.args[0].func)
    assert call.partition(".")[0] == module.names[0].name
    # Any of a venv's names of its interpreter is one.
    return re.sub(r"/python[\d.]*$", "/python", interpreter), f"{module.module}:{call}"


@pytest.fixture(scope="module")
def ours(layout: Layout, rootfs: Path) -> Tree:
    skeleton: set[str] = set()
    # The Debian layer and the system layer are the first two: no wheel is in them.
    for path in layers(layout, "multi_env")[:2]:
        with tarfile.open(path) as tar:
            skeleton |= {m.name.removeprefix("opt/venv/") for m in tar if m.name.startswith("opt/venv/")}
    return Tree(rootfs / "opt/venv", "/opt/venv", frozenset(skeleton))


@pytest.fixture(scope="module")
def theirs(home: Path) -> Tree:
    lock = read(LOCKFILES, "multi_env")
    assert lock is not None
    rows = [f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in lock.platforms[host_platform()].wheels]
    requirements = home / "requirements.txt"
    requirements.write_text("".join(rows))
    venv = home / "theirs"
    uv = [Path(sys.executable).with_name("uv"), "-q"]
    python = sys.executable if sys.version_info[:2] == (3, 11) else need("python3.11")
    shell(*uv, "venv", "--python", python, venv)
    tree = Tree(venv, str(venv), frozenset())
    before = frozenset(tree.installed())
    options = [
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--link-mode",
        "copy",
        "--no-compile-bytecode",
    ]
    shell(*uv, "pip", "install", "-p", venv / "bin/python", *options, "-r", requirements, umask=0o022)
    return Tree(venv, str(venv), before)


def test_every_file_is_the_same(ours: Tree, theirs: Tree) -> None:
    launched = ours.launchers()
    assert launched == theirs.launchers()
    assert {"bin/pytest", "bin/a0", "bin/flyte"} <= launched.keys()
    mine = {path: ours.identity(path, launched) for path in ours.installed()}
    uvs = {path: theirs.identity(path, launched) for path in theirs.installed()}
    assert len(mine) > 3000
    assert sorted(mine.keys() - uvs.keys()) == []
    assert sorted(uvs.keys() - mine.keys()) == []
    assert {path: (mine[path], uvs[path]) for path in mine if mine[path] != uvs[path]} == {}
    assert {mine[path] for path in launched} == {("launcher", "755", "#!VENV/bin/python", t) for t in launched.values()}


def test_records_tell_the_truth(ours: Tree) -> None:
    """Every file of the wheels is in exactly one RECORD, with its hash and size (the recording specification)."""
    listed: dict[str, str] = {}
    for record in sorted((ours.path / SITE).glob("*.dist-info/RECORD")):
        with record.open(newline="") as f:
            for path, digest, size in csv.reader(f):
                name = os.path.normpath(os.path.join(SITE, path))
                assert name not in listed, f"{record} and {listed[name]}"
                listed[name] = str(record)
                if not digest:
                    assert name == os.path.relpath(record, ours.path)
                    continue
                data = (ours.path / name).read_bytes()
                found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={found}", str(len(data))), name
    assert set(ours.installed()) <= listed.keys()
    assert {p.read_text() for p in (ours.path / SITE).glob("*.dist-info/INSTALLER")} == {"flyte-build\n"}


def test_launchers_do_what_uvs_do(ours: Tree, theirs: Tree, rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_one():\n    assert 6 * 7 == 42\n")
    sandbox = [need("bwrap", "bubblewrap"), "--unshare-all", "--clearenv", "--ro-bind", str(rootfs), "/"]
    sandbox += [
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--bind",
        str(tmp_path),
        "/mnt",
        "--chdir",
        "/mnt",
    ]
    for command in (
        ["ruff", "--version"],
        ["pytest", "--version"],
        ["pytest", "-q", "-p", "no:cacheprovider", "test_one.py"],
        ["flyte", "--version"],
        ["a0", "--help"],
    ):
        program, *arguments = command
        inside = said([*sandbox, "--setenv", "PYTHONDONTWRITEBYTECODE", "1", f"/opt/venv/bin/{program}", *arguments])
        outside = said([str(theirs.path / "bin" / program), *arguments], cwd=tmp_path)
        assert inside == outside, command


def said(command: list[str], cwd: Path | None = None) -> tuple[int, str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout or done.returncode == 0, done.stderr
    return done.returncode, re.sub(r"in \d+\.\d+s", "in SECONDS", done.stdout)
