"""The peer: buildah, with ``uv pip install`` from local wheels, at its best.

Its storage is private, the base image is ours (imported once, before the clock), wheels are local files, versions are
exact, dependencies are not resolved, and no container runtime is started. Its images go to an OCI layout like ours.
Everything runs as a script, so that one command is measured on each side.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["BASE", "Peer", "unavailable"]

BASE = "localhost/base"
_VENV = "/opt/venv/bin/python"
_CONTAINERFILE = """\
FROM {base}
USER root
COPY requirements.txt /tmp/requirements.txt
RUN {install} -r /tmp/requirements.txt
USER flyte
"""


def unavailable() -> str | None:
    """Why the peer cannot be measured here, or ``None``."""
    for program, found in (("buildah", shutil.which("buildah")), ("uv", _uv())):
        if found is None:
            return f"peer not measured: no `{program}` on PATH"
    if os.geteuid() != 0:
        return "peer not measured: its fastest storage needs root"
    return None


class Peer:
    """Scripts for ``sh``; ``folder`` becomes its storage, ``wheels`` is where the wheels lie."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        self.folder = folder
        self._wheels = wheels
        self._uv = _uv() or "uv"
        self._driver = "overlay"
        (folder / "uv").mkdir(parents=True)

    def version(self) -> str:
        """Version and storage driver."""
        said = subprocess.run(["buildah", "--version"], check=True, capture_output=True, text=True).stdout
        return f"buildah {said.split()[2]}, {self._driver} storage, chroot isolation; {self._uv_version()}"

    def start(self, layout: Path) -> None:
        """Import the base image from an OCI layout; plain folders where the kernel has no overlay here."""
        for driver in ("overlay", "vfs"):
            self._driver = driver
            # Named from the folder above: buildah takes a path with `/.` in it (as in ~/.cache) for a bad reference.
            pull = f"{self._buildah} tag $({self._buildah} pull -q oci:{layout.name}) {BASE}"
            done = subprocess.run(["sh", "-ec", pull], check=False, capture_output=True, text=True, cwd=layout.parent)
            if done.returncode == 0:
                return
        raise RuntimeError(f"buildah: the base image cannot be imported\n{done.stderr[-2000:]}")

    def install(self, pins: Sequence[str], base: str = BASE, *, warm: bool = False) -> str:
        """A container ``$c`` from ``base`` with ``pins`` in its environment; ``warm``: uv unzipped them before."""
        install = shlex.quote(f"{_install(warm)} {' '.join(pins)}")
        return (
            f"c=$({self._buildah} from --pull-never {base})\n"
            f'{self._buildah} run --isolation chroot --user root {self._mounts} "$c" -- sh -c {install}\n'
        )

    def commit(self, out: Path, tag: str, *, compressed: bool = True) -> str:
        """``$c`` as an image in the OCI layout ``out``."""
        flag = f"--disable-compression={str(not compressed).lower()}"
        return f'{self._buildah} commit -q {flag} --timestamp 0 "$c" {shlex.quote(f"oci:{out}:{tag}")}\n'

    def keep(self, name: str) -> str:
        """``$c`` as an image in the peer's own storage, to build on."""
        return f'{self._buildah} commit -q --timestamp 0 "$c" {name}\n'

    def cached_build(self, pins: Sequence[str], folder: Path) -> str:
        """The same image from a Containerfile, with every layer looked up in the cache of earlier builds."""
        (folder / "requirements.txt").write_text("".join(f"{pin}\n" for pin in pins))
        (folder / "Containerfile").write_text(_CONTAINERFILE.format(base=BASE, install=_install(False)))
        flags = "-q --layers --isolation chroot --pull-never --timestamp 0"
        return f"{self._buildah} build {flags} {self._mounts} -t localhost/cached {shlex.quote(str(folder))}\n"

    def clean(self) -> None:
        """Remove containers and all images but the base."""
        script = (
            f"{self._buildah} rm -a >/dev/null\n"
            f"{self._buildah} images -q --filter since={BASE} | sort -u | xargs -r {self._buildah} rmi -f >/dev/null\n"
        )
        subprocess.run(["sh", "-c", script], check=True, capture_output=True)

    @property
    def _buildah(self) -> str:
        root, run = (shlex.quote(f"{self.folder}/{name}") for name in ("root", "run"))
        return f"buildah --root {root} --runroot {run} --storage-driver {self._driver}"

    @property
    def _mounts(self) -> str:
        mounts = (f"{self._wheels}:/wheels:ro", f"{self._uv}:/usr/local/bin/uv:ro", f"{self.folder}/uv:/uv")
        return " ".join(f"-v {shlex.quote(mount)}" for mount in mounts)

    def _uv_version(self) -> str:
        return subprocess.run([self._uv, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def _uv() -> str | None:
    """The uv beside this interpreter, which flyte-build brings; else the one on PATH."""
    beside = os.path.dirname(sys.executable)
    return shutil.which("uv", path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath))))


def _install(warm: bool) -> str:
    cache = "--cache-dir /uv --link-mode copy" if warm else "--no-cache"
    return f"uv pip install -q --python {_VENV} --no-index --find-links /wheels --no-deps {cache}"
