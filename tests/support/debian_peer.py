"""A Debian made as people make one: debootstrap and apt-get, from the archive that this machine's apt has.

The peer that images are held against (``docs/debian.md``). Root only; nothing of this machine is changed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flyte_build.sources.apt_sources import HostApt, read_host_apt

from .tools import lacking, need

__all__ = ["ask", "bootstrap", "grown", "installed"]

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Minutes on a busy machine: TeX's formats, the whole of R.
SECONDS = 3600
_INSIDE = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LC_ALL": "C.UTF-8"}

# What writes PDFs and the like writes this date.
_DATED = {"SOURCE_DATE_EPOCH": "315532800", "FORCE_SOURCE_DATE": "1"}


def bootstrap(folder: Path, suite: str) -> None:
    """``suite``'s smallest Debian in ``folder``, which is made, brought up to date with its updates and security."""
    program, apt = need("debootstrap"), read_host_apt()
    main = next((source.url for source in apt.sources if source.archive == "debian"), None)
    if main is None:
        lacking("this machine's apt has no source of Debian's archive")
    variables = {"http_proxy": proxy} if (proxy := apt.proxy(main)) and proxy != "DIRECT" else {}
    _run([program, "--variant=minbase", f"--keyring={KEYS}", suite, str(folder), main], variables)
    (folder / "etc/apt/sources.list").write_text("".join(_sources(apt, suite)))
    (folder / "etc/apt/apt.conf.d/99peer").write_text("".join(_settings(apt)))
    with _still(folder):
        _inside(folder, "apt-get", "-qq", "update")
        _inside(folder, "apt-get", "-qqy", "dist-upgrade")


def grown(base: Path, folder: Path, packages: Sequence[str]) -> None:
    """A copy of the Debian ``base`` in ``folder``, where ``packages`` are installed without what they recommend."""
    _run(["cp", "-a", "--reflink=auto", str(base), str(folder)])
    with _still(folder):
        _inside(folder, "apt-get", "-qqy", "--no-install-recommends", "install", *packages)
    _inside(folder, "apt-get", "clean")


def installed(root: Path) -> dict[str, str]:
    """Version by name of the packages that dpkg's database in ``root`` has."""
    form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
    rows = _run([need("dpkg-query", "dpkg"), f"--admindir={root}/var/lib/dpkg", "-W", "-f", form]).splitlines()
    return {name: version for status, name, version in (row.split("\t") for row in rows) if status.startswith("ii")}


def ask(root: Path, command: str, files: Path) -> str:
    """What the shell's ``command`` says in ``root`` (both streams, and its exit code), as root, without a network;
    ``files`` is ``/srv``, ``/tmp`` is empty, and nothing is written to ``root``."""
    box = [need("bwrap", "bubblewrap"), "--unshare-all", "--die-with-parent", "--clearenv", "--ro-bind", str(root), "/"]
    box += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/root"]
    box += ["--ro-bind", str(files), "/srv", "--chdir", "/tmp", "--hostname", "peer"]
    for name, value in {**_INSIDE, **_DATED}.items():
        box += ["--setenv", name, value]
    done = subprocess.run(
        [*box, "/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    return f"{done.stdout.decode(errors='replace')}exit code {done.returncode}\n"


def _sources(apt: HostApt, suite: str) -> Iterator[str]:
    for source in apt.sources:
        suites = (suite, f"{suite}-updates") if source.archive == "debian" else (f"{suite}-security",)
        yield from (f"deb [signed-by={KEYS}] {source.url} {name} main\n" for name in suites)


def _settings(apt: HostApt) -> Iterator[str]:
    """What this machine's apt is told of its way to the archive."""
    for key, value in apt.settings.items():
        if key.startswith(("acquire::http", "acquire::check-valid-until")) and value:
            yield f'{key} "{value}";\n'


@contextmanager
def _still(root: Path) -> Iterator[None]:
    """Scripts start no service meanwhile."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def _inside(root: Path, *command: str) -> str:
    """Run ``command`` in ``root`` with mounts and processes of its own, over this machine's network."""
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={root}/proc", "chroot", str(root)]
    variables = {**_INSIDE, "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true"}
    return _run([*enter, "env", "-i", *(f"{k}={v}" for k, v in variables.items()), *command])


def _run(command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
