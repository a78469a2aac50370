"""Where there is no Linux: lock, plan, build, export and the rest work, and ``run`` says what to use.

The commands run in a Python from which everything is taken that only Linux's has, and that calls itself another.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ..support.offline import Offline

ROOT = Path(__file__).parents[2]

# The names of the standard library that its documentation marks "Availability: Linux" and that a Mac's Python lacks.
_PREAMBLE = """
    import os, platform, signal, socket, sys
    # Others' modules choose by the platform that this really is; ours come after.
    import flyte, httpx, packaging.tags, rich.console, rich.live, sysconfig, tempfile, urllib.request, zoneinfo
    sysconfig.get_config_vars()
    tempfile._O_TMPFILE_WORKS = False
    for module, names in {
        os: "O_TMPFILE O_PATH copy_file_range pidfd_open sched_getaffinity sched_setaffinity splice eventfd "
            "memfd_create getrandom posix_fadvise posix_fallocate unshare setns listxattr getxattr setxattr",
        signal: "pidfd_send_signal SIGSTKFLT SIGPWR",
        socket: "AF_NETLINK AF_PACKET AF_VSOCK SO_PASSCRED SO_PEERCRED SCM_CREDENTIALS",
    }.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    for gone in ("spwd", "ossaudiodev"):
        sys.modules[gone] = None
    class NoProc:
        # What is not there on a Mac is not read.
        def find(self, path):
            return str(path).startswith(("/proc", "/sys"))
    real = os.open
    def closed(path, *more, **named):
        if isinstance(path, str) and NoProc().find(path):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *more, **named)
    os.open = closed
    from flyte_build.cli import main
    sys.exit(main(sys.argv[1:]))
"""


def mac(offline: Offline, *arguments: str, code: int = 0) -> str:
    """A command on such a machine; gives both outputs."""
    command = [sys.executable, "-c", textwrap.dedent(_PREAMBLE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=offline.project, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_all_but_runs_works(offline: Offline) -> None:
    mac(offline, "lock", "flow.py")
    assert "2 of 2 images to build" in mac(offline, "plan", "flow.py", "--platform", "linux/amd64")
    mac(offline, "plan", "flow.py", "--check", "--platform", "linux/amd64")
    mac(offline, "build", "flow.py", "--platform", "linux/amd64", "--output", "oci:images")
    assert (offline.project / "images" / "index.json").exists()
    here = {i["environment"]: i["digest"] for i in offline.ok("images", "--json").json()["images"]}
    linux = offline.ok("build", "flow.py", "--json").json()["images"]
    assert {i["environment"]: i["digest"] for i in linux} == here, "the same bytes as on Linux"
    assert "alpha==1.0" in mac(offline, "export", "requirements", "flow.py", "--env", "low")
    assert "alpha" in mac(offline, "sbom", "flow.py", "--env", "low", "--platform", "linux/amd64")
    assert "with_pip_packages" in mac(offline, "why", "alpha", "flow.py", "--platform", "linux/amd64")
    assert "every one is what its name says" in mac(offline, "store", "verify")


@pytest.mark.slow
def test_what_needs_linux_says_what_to_use(offline: Offline) -> None:
    mac(offline, "lock", "flow.py")
    said = mac(offline, "run", "flow.py", "main", "--x", "1", code=11)
    assert "Linux" in said
    said = mac(offline, "venv", "flow.py", "--env", "low", code=7)
    assert "this machine is darwin" in said
    lines = json.loads(mac(offline, "doctor", "flow.py", "--json"))["lines"]
    assert next(line for line in lines if line["name"] == "sandboxes")["state"] == "note"
