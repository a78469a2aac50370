"""A user with a range of ids seals what root seals; an interrupt leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flyte_build.kernel.reporting import Recorder
from flyte_build.sealing import Below, Copy, Mount, Step, seal

from ..support.tools import lacking, need, need_root

ROOT = Path(__file__).parents[2]
SEAL = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from flyte_build.kernel.reporting import Silent
from flyte_build.sealing import Below, Copy, Mount, Step, seal
home = Path({home!r})
base = Below(home / "base", {diff_id!r})
step = Step("run it", ({command!r},), {{"PATH": "/bin:/usr/bin"}}, "/", "none", {more})
made = seal(step, [base], home / "work", home / "log", Silent())
print(made.diff_id)
"""
# A copy of another tree for somebody, a cache, and the tree itself while commands run.
MORE = """copies=(Copy(0, ("/etc/passwd",), "/copied/", "33:34", "640"),), roots=((base,),),
mounts=(Mount("cache", "/cache", owner=(5, 6)), Mount("bind", "/tree", 0, "/etc", writable=False))"""
COMMAND = "mkdir -m 700 /opt && echo hi > /opt/x && chown 33:33 /opt/x /opt && touch /cache/x && test -e /tree/passwd"


def script(home: Path, base: Below, command: str, more: str = "") -> str:
    path = [str(ROOT), *(p for p in sys.path if p)]
    return SEAL.format(path=path, home=str(home), command=command, diff_id=base.diff_id, more=more)


def test_an_interrupt_ends_the_programs_and_leaves_nothing(base: Below, tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(base.path.read_bytes())
    code = script(tmp_path, base, "echo begun; while :; do :; done")
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        log = tmp_path / "log"
        while not (log.exists() and b"\nbegun" in log.read_bytes()):
            assert running.poll() is None
            time.sleep(0.02)
        stages = [p for p in os.listdir("/proc") if p.isdigit() and _parent(p) == running.pid]
        assert stages
        running.send_signal(signal.SIGINT)
        assert running.wait(60) != 0
    finally:
        running.kill()
    assert list((tmp_path / "work").iterdir()) == []
    assert not [p for p in stages if Path(f"/proc/{p}").exists()]


def _all_may_read(folder: Path) -> bool:
    return all(p.stat().st_mode & 0o005 == 0o005 for p in (folder, *folder.parents))


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.mark.integration
def test_a_user_makes_the_layer_that_root_makes(base: Below) -> None:
    """A user of its own with a range in /etc/subuid, whose Python may be read by all: the system's."""
    need_root("another user")
    need("newuidmap", "uidmap")
    need("useradd", "passwd")
    python = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if not Path(python).exists() or not _all_may_read(ROOT):
        lacking(f"{python}, and a checkout that every user may read, are not here")
    name = f"seal{os.getpid()}"
    subprocess.run(["useradd", "--create-home", name], check=True)
    try:
        home = Path(f"/home/{name}")
        (home / "base").write_bytes(base.path.read_bytes())
        (home / "base").chmod(0o644)
        other = subprocess.run(
            ["setpriv", f"--reuid={name}", f"--regid={name}", "--clear-groups", "--reset-env", python, "-c",
             script(home, base, COMMAND, MORE)], cwd=home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert other.returncode == 0, other.stderr
        mounts = (Mount("cache", "/cache", owner=(5, 6)), Mount("bind", "/tree", 0, "/etc", writable=False))
        copies = (Copy(0, ("/etc/passwd",), "/copied/", "33:34", "640"),)
        step = Step(
            "run it", (COMMAND,), {"PATH": "/bin:/usr/bin"}, "/", "none", mounts=mounts, copies=copies, roots=((base,),)
        )
        ours = seal(step, [base], home / "root-work", home / "root-log", Recorder())
        assert other.stdout.strip() == ours.diff_id
        assert sorted(p.name for p in (home / "work").iterdir()) == ["layer-1", "layer-2"]
    finally:
        subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)
