"""A bare Debian machine: a tree of its own with Python, git and nothing else, entered as a machine is.

Not a chroot: the kernel gives no user namespaces in one, and a newcomer's machine has them. Processes of the machine
see its tree as the root, its own processes only, and this machine's devices and network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemons import shell
from tests.support.tools import lacking, need, need_root

__all__ = ["Machine", "bare_machine", "mirror"]

# How this machine reaches registries, in variables: a newcomer's machine behind the same proxies has them too.
_REACHING = re.compile(r"(?i)(PIP_|UV_|SSL_CERT_|(https?|ftp|all|no)_proxy$)")
# The same in files.
_FILES = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/uv/uv.toml", "etc/ssl/certs/ca-certificates.crt")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTER = """
set -e
tree=$1; shift
mount --bind "$tree" "$tree"
cd "$tree"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
mount -t tmpfs tmpfs tmp
mkdir -p .old
pivot_root . .old
umount -l /.old
exec "$@"
"""


@dataclass(frozen=True)
class Machine:
    """The tree in ``root``; commands run in it as root or as its user ``dev``."""

    root: Path

    def run(self, script: str, *, user: str = "root", cwd: str = "/", timeout: int = 300) -> tuple[int, str, str]:
        """Exit code, output and errors of the shell ``script``."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {k: v for k, v in os.environ.items() if _REACHING.match(k)}
        variables |= {"PATH": _PATH, "HOME": home, "USER": user, "LANG": "C.UTF-8", "COLUMNS": "160"}
        command = [need("unshare", "util-linux"), "--mount", "--pid", "--fork", "--kill-child", "--ipc"]
        command += ["sh", "-c", _ENTER, "sh", str(self.root)]
        if user != "root":
            command += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        command += ["sh", "-c", 'cd "$0" && eval "$1"', cwd, script]
        done = subprocess.run(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def clone(self, repository: Path, user: str, name: str = "flyte-build") -> str:
        """A git clone of ``repository`` in the user's home; gives its path inside."""
        path = f"root/{name}" if user == "root" else f"home/{user}/{name}"
        shell(need("git"), "clone", "-q", "--no-hardlinks", repository, self.root / path)
        if user != "root":
            shell("chown", "-R", self._owner(user), self.root / path)
        return f"/{path}"

    def _owner(self, user: str) -> str:
        rows = (self.root / "etc/passwd").read_text().splitlines()
        (found,) = [row.split(":") for row in rows if row.startswith(f"{user}:")]
        return f"{found[2]}:{found[3]}"


def bare_machine(folder: Path, packages: Sequence[str], suite: str = "bookworm") -> Machine:
    """A minimal Debian with ``packages`` in ``folder``, from the mirror this machine's apt uses."""
    need_root("a bare machine")
    place = mirror("bookworm")
    include = f"--include={','.join(packages)}"
    log = shell(need("debootstrap"), "--variant=minbase", include, suite, folder, place, timeout=500)
    assert "Base system installed successfully" in log
    for name in _FILES:
        if Path("/", name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path("/", name), folder / name)
    (folder / "etc/apt/apt.conf.d/50host").write_text(shell("apt-config", "dump", "Acquire"))
    machine = Machine(folder)
    code, _, words = machine.run("useradd --create-home --shell /bin/bash dev")
    assert code == 0, words
    return machine


def mirror(suite: str) -> str:
    """Where apt has ``suite`` from."""
    listed = shell(need("apt-get", "apt"), "indextargets", "--format", "$(REPO_URI)", f"Codename: {suite}")
    uris = [line for line in listed.split() if "security" not in line]
    if not uris:
        lacking(f"apt has no source for {suite}")
    return uris[0]
