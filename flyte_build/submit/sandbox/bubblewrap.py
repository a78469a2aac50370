"""The sandbox through bubblewrap: small, audited, in every distribution, often allowed where `unshare` is not."""

from __future__ import annotations

import os

from ...kernel.values import dataclass
from .spec import MASKED, READ_ONLY, Sandbox, Tmpfs

__all__ = ["Bubblewrap"]


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """``program`` is bwrap's absolute path (0.4 or later); ``version`` decides what it understands: sizes of
    memory-backed folders from 0.7 on, and never a number of files."""

    program: str
    version: tuple[int, ...] = (0, 4)
    name: str = "bubblewrap"

    def command(self, box: Sandbox, seccomp: int | None = None) -> list[str]:
        out = [self.program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        if box.network == "none":
            out.append("--unshare-net")
        # --as-pid-1: our own process 1 reaps, and the namespace dies with it.
        out += ["--uid", str(box.uid), "--gid", str(box.gid), "--die-with-parent", "--as-pid-1"]
        out += ["--ro-bind", str(box.root), "/", "--proc", "/proc", "--dev", "/dev"]
        # bwrap leaves writable what it has no right to change itself; but /proc/sys asks only who is root outside.
        for name in () if box.nests else READ_ONLY:
            if os.path.exists(here := f"/proc/{name}"):
                out += ["--ro-bind", here, here]
        for name in () if box.nests else MASKED:
            here = f"/proc/{name}"
            if os.path.isdir(here):
                out += ["--tmpfs", here, "--remount-ro", here]
            elif os.path.exists(here):
                out += ["--dev-bind", "/dev/null", here]
        for tmpfs in box.tmpfs:
            out += self._tmpfs(tmpfs)
        for mount in box.mounts:
            kind = "--dev-bind" if mount.device else "--bind" if mount.writable else "--ro-bind"
            out += [kind, str(mount.source), mount.target]
        for tmpfs in box.late:
            out += self._tmpfs(tmpfs)
        # bwrap's own /dev has no size; what is mounted in it stays as writable as it is.
        out += ["--remount-ro", "/dev"]
        if seccomp is not None:
            out += ["--seccomp", str(seccomp)]
        return [*out, "--chdir", "/", "--", *box.first]

    def _tmpfs(self, tmpfs: Tmpfs) -> list[str]:
        sized = ["--size", str(tmpfs.size)] if self.version >= (0, 7) else []
        return [*sized, "--tmpfs", tmpfs.target]
