"""Another owner for the processes of root's sandboxes: one that no file of the host belongs to.

What the sandbox shows is mounted once more, in a mount namespace of its own, under a folder that the owner may pass:
there root's files are the owner's, while on the disk everything stays root's. Then this process becomes the owner.
"""

from __future__ import annotations

import os
import stat

from . import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without all that `signal` imports

__all__ = ["become", "stage"]

_MS_NOSUID, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 8, 4096, 16384, 1 << 18
_TUN = "/dev/net/tun"


def _mapping(uid: int, gid: int) -> int:
    """A user namespace in which root is ``uid`` and ``gid`` outside, open: the kernel takes mappings in this form."""
    up_read, up_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            calls.unshare(calls.CLONE_NEWUSER)
            os.write(up_write, b"1")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.close(up_write)
        if os.read(up_read, 1) != b"1":
            raise OSError(0, "the kernel refuses user namespaces")
        for kind, ident in (("uid", uid), ("gid", gid)):
            _write(f"/proc/{child}/{kind}_map", f"0 {ident} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(up_read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def stage(uid: int, gid: int, place: str, sources: list[str]) -> None:
    """Show each of ``sources`` at ``place``/its number, root's files in it as those of ``uid`` and ``gid``.

    A device's node is made anew, the owner's: root asked for it.
    """
    userns = _mapping(uid, gid)
    trees: list[int | os.stat_result] = []
    for source in sources:
        if os.path.exists(source) and stat.S_ISCHR((found := os.stat(source)).st_mode):
            trees.append(found)  # no file system of devices shows them under another owner
            continue
        mounted = calls.clone_mount(source)
        calls.idmap(mounted, userns, source)
        trees.append(mounted)
    calls.unshare(calls.CLONE_NEWNS)
    calls.mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    # As a user with a device for tunnels would find it: this one may be root's alone.
    tun = os.path.exists(_TUN) and os.stat(_TUN).st_mode & 0o006 != 0o006
    calls.mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NOEXEC, "mode=711,size=1m")
    os.umask(0)
    for number, tree in enumerate(trees):
        target = f"{place}/{number}"
        if isinstance(tree, os.stat_result):
            os.mknod(target, tree.st_mode, tree.st_rdev)
            os.chown(target, uid, gid)
            continue
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        calls.move_mount(tree, target)
        os.close(tree)
    if tun:
        os.mknod(f"{place}/tun", stat.S_IFCHR | 0o666, os.stat(_TUN).st_rdev)
        calls.mount(f"{place}/tun", _TUN, None, _MS_BIND)
    os.umask(0o022)


def become(uid: int, gid: int) -> None:
    """Give up root for good. An output that is a regular file becomes the owner's, who may open it anew."""
    for handle in (1, 2):
        if stat.S_ISREG(os.fstat(handle).st_mode):
            os.fchown(handle, uid, gid)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    # Otherwise /proc has this process as root's still, who alone could set up its namespaces.
    calls.prctl(calls.PR_SET_DUMPABLE, 1)
