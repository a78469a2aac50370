"""Which ways into a sandbox there are on this machine, whether one works, and if none does, what to change.

Having the program is not enough: distributions forbid user namespaces by three different switches, and
containers by a fourth way (a masked /proc). So each engine is tried with a real, tiny sandbox over the host's own
root, and the refusal is explained from the kernel's switches. Nothing is installed or changed here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from ...kernel.seccomp import descriptor
from .bubblewrap import Bubblewrap
from .namespaces import Unshare
from .spec import INIT, Engine, Mount, Network, Sandbox

__all__ = ["available", "explain", "init_mount", "popen", "probe", "which"]

PROBE_SECONDS = 20
# Where programs of the system lie even when a user's PATH lacks them.
_SYSTEM = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def init_mount() -> Mount:
    """Process 1's script, where every engine expects it."""
    return Mount(Path(__file__).with_name("init.py"), INIT)


def which(name: str) -> str | None:
    """The absolute path of a program, though this user's PATH may lack it."""
    return shutil.which(name) or shutil.which(name, path=_SYSTEM)


def _version(program: str) -> tuple[int, ...]:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 4)


def available() -> list[Engine]:
    """The engines whose program is installed, the preferred first."""
    found: list[Engine] = []
    if bwrap := which("bwrap"):
        found.append(Bubblewrap(bwrap, _version(bwrap)))
    if unshare := which("unshare"):
        found.append(Unshare(unshare))
    return found


def popen(engine: Engine, box: Sandbox, *, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    """Process 1 of ``box``, which waits for its line of JSON on standard input; raises OSError.

    Not for communicate(): the end of standard input would end it. For one that runs beside others see ``process``.
    """
    with descriptor(box.filtered) as seccomp:
        return subprocess.Popen(
            list(engine.command(box, seccomp)),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env={},
            cwd="/",
            start_new_session=True,
            pass_fds=() if seccomp is None else (seccomp,),
        )


def probe(engine: Engine, *, network: Network = "host", folders: Iterable[Path] = ()) -> str | None:
    """None if ``engine`` gives a sandbox here, with ``folders`` in it, else its own words why not."""
    shown = [Mount(folder, f"/run/flyte-build/{number}") for number, folder in enumerate(folders)]
    box = Sandbox(Path("/"), os.path.realpath(sys.executable), (init_mount(), *shown), network=network)
    header = {"argv": [box.python, "-I", "-S", "-c", "pass"], "env": {}, "cwd": "/"}
    try:
        with popen(engine, box, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
            try:
                assert child.stdin is not None
                assert child.stderr is not None
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(json.dumps(header).encode() + b"\n")
                code = _ended(child)
                words = child.stderr.read().decode(errors="replace").strip()
            finally:
                child.kill()
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    return None if code == 0 else words or f"exit code {code}"


def _ended(child: subprocess.Popen[bytes]) -> int:
    """Its exit code. The kernel tells when it ended: a wait with an end would look now and then."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.pidfd_open(child.pid)
        try:
            select.select([handle], [], [], PROBE_SECONDS)
        finally:
            os.close(handle)
    return child.wait(PROBE_SECONDS)


def _switch(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def explain(read: Callable[[str], str | None] = _switch) -> str:
    """What to change so that user namespaces work here, from the kernel's switches."""
    if read("/proc/self/ns/user") is None and not os.path.exists("/proc/self/ns/user"):
        return "this kernel has no user namespaces (CONFIG_USER_NS); use a kernel that has them"
    if read("/proc/sys/user/max_user_namespaces") == "0":
        return "user namespaces are switched off: `sudo sysctl -w user.max_user_namespaces=15000`"
    if read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "user namespaces are reserved for root: `sudo sysctl -w kernel.unprivileged_userns_clone=1`"
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces: install bubblewrap with its AppArmor profile, "
            "or `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    return (
        "if this is itself a container, start it with user namespaces and an unmasked /proc allowed "
        "(`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`, or `--privileged`)"
    )
