"""The pure pieces: modules off paths, the normal form, secrets in streams that come in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flyte_build.locks.seals import EMPTY
from flyte_build.sealing.capturing import Changes
from flyte_build.sealing.logs import StepLog
from flyte_build.sealing.modules import modules_of
from flyte_build.sealing.normal import dropped, rewritten
from flyte_build.sealing.writing import Canary, Holds, write


def test_modules_are_those_of_site_packages_and_of_the_path() -> None:
    paths = [
        "opt/venv/lib/python3.11/site-packages/six.py",
        "opt/venv/lib/python3.11/site-packages/numpy/__init__.py",
        "opt/venv/lib/python3.11/site-packages/numpy",
        "opt/venv/lib/python3.11/site-packages/_fast.cpython-311-x86_64-linux-gnu.so",
        "opt/venv/lib/python3.11/site-packages/six-1.0.dist-info",
        "usr/lib/python3/dist-packages/apt_pkg.so",
        "usr/lib/python3/dist-packages/.wh.gone",
        "root/mine.py",
        "srv/other.py",
    ]
    assert modules_of(paths, {"PYTHONPATH": "/root"}) == ("_fast", "apt_pkg", "mine", "numpy", "six")


def test_a_path_file_may_bring_any_module() -> None:
    assert modules_of(["usr/lib/python3/dist-packages/x.pth"], {}) == ("*",)


@pytest.mark.parametrize(
    ("path", "gone"),
    [("run/x", True), ("run", False), ("etc/machine-id", True), ("etc/passwd-", True), ("etc/passwd", False),
     ("a/__pycache__", True), ("a/__pycache__/b.pyc", True), ("a/b.pyc", False), ("var/cache/apt/pkgcache.bin", True),
     ("var/cache/fonts", False), ("root/.cache", True), ("root/.config", False), ("home/flyte/.cache/x", True)],
)  # fmt: skip
def test_what_is_the_trace_of_one_run(path: str, gone: bool) -> None:
    assert dropped(path, folder=False) is gone


def test_folders_of_logs_stay() -> None:
    assert dropped("var/log/nginx/access.log", folder=False)
    assert not dropped("var/log/nginx", folder=True)


def test_the_day_of_a_password_is_emptied() -> None:
    make = rewritten("etc/shadow")
    assert make is not None
    assert make(b"root:*:19800:0:99999:7:::\nx:!\n") == b"root:*::0:99999:7:::\nx:!\n"
    assert rewritten("etc/passwd") is None


def test_a_secret_across_two_pieces_is_found_and_not_across_two_files() -> None:
    canary = Canary([("key", b"abcdef")])
    canary.look(b"..abc", "one")
    with pytest.raises(Holds, match="`one` holds the secret key"):
        canary.look(b"def..", "one")
    canary = Canary([("key", b"abcdef")])
    canary.look(b"..abc", "one")
    canary.next()
    canary.look(b"def", "two")


def test_a_secret_across_two_pieces_is_struck_out(tmp_path: Path) -> None:
    with StepLog(tmp_path / "log", [b"abcdef", b"xy"]) as log:
        log.write(b"a abc")
        log.write(b"def xy\n")
        log.line("ours")
    assert (tmp_path / "log").read_bytes() == b"a [secret] xy\n== ours\n"


def test_the_layer_of_no_change_is_the_empty_one(tmp_path: Path) -> None:
    """By its diff_id everyone knows it."""
    with (tmp_path / "layer").open("wb") as out:
        written = write(Changes(), out, Canary(()))
    assert (written.diff_id, written.listing) == (EMPTY, {})
    assert f"sha256:{hashlib.sha256(bytes(1024)).hexdigest()}" == EMPTY
