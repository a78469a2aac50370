"""A network namespace with a way out, and none to the host: slirp4netns(1) carries what leaves it.

The namespace belongs to a user namespace of its own, in which no process of the task's is: what is set here cannot be
changed by it. The helper refuses the host's loopback; the host's other addresses have no route. IPv4 only.

Where sandboxes are made inside of the sandbox, each gets a network of its own that it may do with what it likes: it
leads into this one and no further, through another helper that runs here.
"""

from __future__ import annotations

import _socket  # without all that `socket` imports
import fcntl
import os
import select
import struct
from collections.abc import Iterable

from . import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without all that `signal` imports

__all__ = ["attach", "offer", "own_addresses"]

_AF_INET, _SOCK_DGRAM = 2, 2
_SIOCADDRT, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x890B, 0x8913, 0x8914
_PATIENCE_MS = 60_000
_MS_NOSUID, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4096, 16384, 1 << 18
_IFF_UP, _RTF_UP, _RTF_REJECT = 1, 1, 0x0200
# Every host's own, groups, and everyone. Loopback, too: it is found first for whoever names no device, but a socket
# that is bound to the way out would reach the host's through it (slirp4netns refuses its gateway's address only).
_NEVER = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")


def own_addresses(trie: str) -> list[str]:
    """What the host takes for its own or for everyone's, as ``address/length``, of the text of /proc/net/fib_trie.

    Each ``|-- ADDRESS`` is followed by lines ``/LENGTH scope TYPE``. A route that makes every address the host's is one
    of a transparent proxy's, for packets that it marked: it is left out.
    """
    found: dict[str, None] = {}
    address = ""
    for line in trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            address = words[1]
        elif words and words[0].startswith("/") and words[0] != "/0" and words[-1] in ("LOCAL", "BROADCAST"):
            found[f"{address}{words[0]}"] = None
    return list(found)


def _address(text: str) -> bytes:
    """``struct sockaddr_in``, padded."""
    return struct.pack("=HH4s8x", _AF_INET, 0, bytes(map(int, text.split("."))))


def _prepare(addresses: Iterable[str]) -> None:
    """Bring up loopback, and let nothing lead to ``addresses`` (netdevice(7), struct rtentry of linux/route.h)."""
    with_socket = _socket.socket(_AF_INET, _SOCK_DGRAM)
    try:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(with_socket.fileno(), _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(with_socket.fileno(), _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
        for cidr in addresses:
            address, _, length = cidr.partition("/")
            mask = (0xFFFFFFFF << (32 - int(length))) & 0xFFFFFFFF
            parts = (_address(address), bytes(16), _address(".".join(map(str, mask.to_bytes(4, "big")))))
            route = struct.pack("@L16s16s16sHhLPhPLLH", 0, *parts, _RTF_UP | _RTF_REJECT, 0, 0, 0, 0, 0, 0, 0, 0)
            fcntl.ioctl(with_socket.fileno(), _SIOCADDRT, route)
    finally:
        with_socket.close()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def _help(helper: str, subnet: str, of: int, go: int, ready: int, said: int) -> None:
    """In the helper's process: wait for the namespaces of ``of``, then become the helper. It dies with ``of``."""
    calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != of or os.read(go, 1) != b"1":
        os._exit(0)
    # And it ends with the launcher: standard input is the launcher's lifeline.
    _become(helper, subnet, of, said, ready, 0)


def _become(helper: str, subnet: str, of: int, said: int, ready: int, lifeline: int) -> None:
    """Become the helper for the network of the process ``of``."""
    command = [helper, "--configure", "--mtu=65520", f"--cidr={subnet}", "--disable-host-loopback"]
    command += ["--enable-sandbox", "--enable-seccomp", f"--userns-path=/proc/{of}/ns/user", "--ready-fd=3"]
    command += ["--exit-fd=4", str(of), "tap0"]
    handles = [fcntl.fcntl(h, fcntl.F_DUPFD, 10) for h in (os.open(os.devnull, os.O_RDWR), said, ready, lifeline)]
    null, words, told, line = handles
    for number, handle in enumerate((null, null, words, told, line)):
        os.dup2(handle, number)
    # What the engine is to inherit is not for the helper.
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:
        if number > 4:
            os.closerange(number, number + 1)
    os.execv(helper, command)


def _wait(ready: int) -> None:
    """Until the helper is ready or gone; without the launcher there is nothing to wait for."""
    events = select.poll()
    events.register(ready, select.POLLIN)
    events.register(0, 0)  # which says nothing but that its other end is closed
    found = dict(events.poll(_PATIENCE_MS))
    if 0 in found:
        os._exit(137)
    if not found:
        raise OSError(0, f"no network after {_PATIENCE_MS // 1000} seconds")


def attach(helper: str, subnet: str) -> None:
    """Move this process into a network of its own, of which ``subnet`` (IPv4, /24) is all there is but the way out.

    Raises OSError with the helper's words where it does not come up.
    """
    with open("/proc/net/fib_trie", encoding="ascii") as f:
        unreachable = dict.fromkeys((*own_addresses(f.read()), *_NEVER))
    me, uid, gid = os.getpid(), os.getuid(), os.getgid()
    (go_read, go_write), (ready_read, ready_write) = os.pipe(), os.pipe()
    said = os.memfd_create("helper")
    if os.fork() == 0:
        try:
            os.close(go_write)
            _help(helper, subnet, me, go_read, ready_write, said)
        finally:
            os._exit(127)
    os.close(ready_write)
    calls.unshare(calls.CLONE_NEWUSER | calls.CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")
    _prepare(unreachable)
    os.write(go_write, b"1")
    _wait(ready_read)
    if os.read(ready_read, 1) != b"1":
        os.lseek(said, 0, os.SEEK_SET)
        words = os.read(said, 4096).decode(errors="replace").strip()
        raise OSError(0, f"{os.path.basename(helper)}: {words or 'it ended before there was a network'}")


def offer(helper: str, subnet: str, offers: int) -> None:
    """From now on, give networks to whom the launcher names over the socket ``offers``; this process goes on.

    A message is a process's number, with two descriptors: where the helper says that it is ready, and its lifeline.
    """
    me = os.getpid()
    if os.fork():
        os.close(offers)
        return
    try:
        calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:
            return
        _ask_the_outer(subnet)
        for number in [int(name) for name in os.listdir("/proc/self/fd")]:
            if number > 2 and number != offers:
                os.closerange(number, number + 1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        with_socket = _socket.socket(fileno=offers)
        while True:
            data, ancillary, _, _ = with_socket.recvmsg(16, _socket.CMSG_SPACE(8))
            handles = [handle for _, _, found in ancillary for handle in struct.unpack(f"{len(found) // 4}i", found)]
            if not data:
                return
            if len(handles) == 2 and os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                calls.prctl(calls.PR_SET_PDEATHSIG, signal.SIGKILL)
                _become(helper, subnet, int(data), 2, *handles)
            for handle in handles:
                os.close(handle)
    finally:
        os._exit(127)


def _ask_the_outer(subnet: str) -> None:
    """Helpers that start here pass questions for names on to this network's own helper, not to the host's server."""
    calls.unshare(calls.CLONE_NEWNS)
    path = os.path.realpath("/etc/resolv.conf")
    if os.path.exists(path):
        calls.mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        calls.mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID, "mode=755,size=64k")
        _write("/tmp/resolv.conf", f"nameserver {subnet.rpartition('.')[0]}.3\n")
        calls.mount("/tmp/resolv.conf", path, None, _MS_BIND)
