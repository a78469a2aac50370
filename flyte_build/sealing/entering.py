"""The sandbox of one step, from the inside: namespaces, the root directory, and the programs, one after the other.

Forked by ``stage`` in its user namespace. The parent of all programs is process 1 of a process namespace, so that none
outlives it. What a step needs of the machine (names of hosts, certificates, secrets) is written to ``/run``, which is
memory, and mounted over its place from there: nothing of the machine's files is in the sandbox. Mount points that were
not there are told, so that no layer holds them. Programs make no system call that a task may not make
(:mod:`flyte_build.kernel.seccomp`). Never judges what it runs.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..kernel.seccomp import program
from . import calls, copying, people, placing

__all__ = ["run"]

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
          ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"))  # fmt: skip
_LENT = "/run/.lent"
_BROKEN = 125


def run(spec: Mapping[str, Any], output: int, told: int, attach: Callable[[int], None]) -> None:
    """Run ``spec`` and write what came of it to ``told``, as one line of JSON; never returns.

    ``spec``: ``root`` (a folder to mount on), ``lower``, ``upper``, ``work`` (relative to the working folder),
    ``commands``, ``environment``, ``workdir``, ``network``, ``files`` [[path, mode, content in hex, uid, gid]],
    ``user``, ``mounts`` and ``copies`` (the fields of these nouns), ``emulator`` (what binfmt_misc is told, or
    ``None``) and ``roots``, in the order of their numbers: folders, highest first, one over another; ``processes``
    that there may be at once (``None``: a group counts them). ``output`` is where the programs' words go. ``attach`` is
    called with the number of process 1 and returns when its limits and its network are there.
    """
    try:
        shared = spec["network"] == "host"
        calls.unshare(calls.NEWNS | calls.NEWPID | calls.NEWIPC | calls.NEWUTS | (0 if shared else calls.NEWNET))
        go_read, go_write = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(go_write)
            _first(spec, output, told, go_read)
        attach(first)
        os.write(go_write, b"1")
        _, status = os.waitpid(first, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    except BaseException as e:
        _tell(told, {"broken": f"{type(e).__name__}: {e}"})
        os._exit(_BROKEN)


def _first(spec: Mapping[str, Any], output: int, told: int, go: int) -> None:
    """Process 1."""
    try:
        calls.die_with_parent()
        if os.read(go, 1) != b"1":
            os._exit(_BROKEN)
        if spec["network"] == "none":
            calls.loopback()
        made = _enter(spec)
        calls.end_first()
        _tell(told, {"lent": made})
        _tell(told, _programs(spec, output))
        os._exit(0)
    except (copying.CannotCopy, placing.CannotPlace) as e:
        _tell(told, {"exit": 1, "wrong": str(e)})
        os._exit(0)
    except BaseException as e:
        _tell(told, {"broken": f"{type(e).__name__}: {e}"})
        os._exit(_BROKEN)


def _tell(told: int, what: Mapping[str, Any]) -> None:
    os.write(told, json.dumps(what).encode() + b"\n")


def _enter(spec: Mapping[str, Any]) -> list[str]:
    """Make the root, go into it; the mount points that were not there before."""
    calls.mount("none", "/", None, calls.REC | calls.SLAVE)
    root = spec["root"]
    options = f"lowerdir={spec['lower']},upperdir={spec['upper']},workdir={spec['work']},userxattr"
    calls.mount("overlay", root, "overlay", 0, options)
    made: list[str] = []
    for name in ("proc", "dev", "run", "sys"):
        if not os.path.lexists(f"{root}/{name}"):
            os.mkdir(f"{root}/{name}", 0o755)
            made.append(name)
        elif os.path.islink(f"{root}/{name}") or not os.path.isdir(f"{root}/{name}"):
            raise OSError(f"/{name} of the image is no folder")
    calls.mount("proc", f"{root}/proc", "proc", calls.NOSUID | calls.NODEV | calls.NOEXEC)
    _devices(f"{root}/dev")
    calls.mount("tmpfs", f"{root}/run", "tmpfs", calls.NOSUID | calls.NODEV, "mode=755,size=256m")
    os.makedirs(f"{root}/run/lock")
    os.mkdir(f"{root}/run/.outside")
    if spec["emulator"] is not None:
        _emulate(f"{root}/run/.emulator", spec["emulator"])
    placing.lay(root, spec)
    calls.pivot_root(root, f"{root}/run/.outside")
    os.chdir("/")
    calls.umount("/run/.outside")
    os.rmdir("/run/.outside")
    calls.sethostname("sealed")
    made += _lend(spec["files"])
    return made + placing.place(spec)


def _emulate(place: str, said: str) -> None:
    """Tell the kernel of an emulator, which it opens while the machine's files are still there: for this user namespace
    only, as long as the sandbox is (binfmt_misc of the kernel's docs)."""
    os.mkdir(place, 0o700)
    calls.mount("binfmt_misc", place, "binfmt_misc", calls.NOSUID | calls.NODEV | calls.NOEXEC)
    handle = os.open(f"{place}/register", os.O_WRONLY)
    try:
        os.write(handle, said.encode())
    finally:
        os.close(handle)


def _devices(dev: str) -> None:
    calls.mount("tmpfs", dev, "tmpfs", calls.NOSUID, "mode=755,size=1m")
    for name in _DEVICES:
        open(f"{dev}/{name}", "w").close()
        calls.mount(f"/dev/{name}", f"{dev}/{name}", None, calls.BIND)
    os.mkdir(f"{dev}/pts")
    calls.mount("devpts", f"{dev}/pts", "devpts", calls.NOSUID | calls.NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    os.mkdir(f"{dev}/shm")
    calls.mount("tmpfs", f"{dev}/shm", "tmpfs", calls.NOSUID | calls.NODEV, "mode=1777")
    for name, target in _LINKS:
        os.symlink(target, f"{dev}/{name}")


def _lend(files: Sequence[tuple[str, int, str, int, int]]) -> list[str]:
    """Put each file over its place; paths are resolved in the image, whose links lead nowhere else by now."""
    made: list[str] = []
    os.mkdir(_LENT, 0o755)
    for number, (path, mode, content, uid, gid) in enumerate(files):
        source = f"{_LENT}/{number}"
        handle = os.open(source, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        os.write(handle, bytes.fromhex(content))
        os.fchown(handle, uid, gid)
        os.close(handle)
        target = os.path.realpath(path)
        if target.startswith("/run/"):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(source, target)
            continue
        made += placing.made(target, folder=False)
        calls.mount(source, target, None, calls.BIND)
    return made


def _programs(spec: Mapping[str, Any], output: int) -> dict[str, Any]:
    """Make the copies and run the commands; ``{"exit": 0}``, or which one ended how; ``wrong``: in words."""
    try:
        for what in spec["copies"]:
            os.write(output, f"+ copy {' '.join(what['sources'])} {what['destination']}\n".encode("utf-8", "replace"))
            copying.copy(what, placing.root_at(what["root"]), spec["workdir"])
        placing.part(spec)
        person = people.person(spec["user"]) if spec["user"] else None
    except (copying.CannotCopy, people.Nobody, OSError) as e:
        return {"exit": 1, "wrong": str(e)}
    for index, command in enumerate(spec["commands"]):
        os.write(output, f"+ {command}\n".encode("utf-8", "replace"))
        child = os.fork()
        if child == 0:
            _become(spec, command, output, person)
        code = _wait(child)
        if code:
            return {"exit": code, "index": index}
    return {"exit": 0}


def _wait(child: int) -> int:
    """Bury whoever ends, until ``child`` has; what it leaves running ends with process 1."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _become(spec: Mapping[str, Any], command: str, output: int, person: people.Person | None) -> None:
    try:
        os.setsid()
        os.umask(0o022)
        null = os.open("/dev/null", os.O_RDONLY)
        for number, handle in enumerate((null, output, output)):
            os.dup2(handle, number)
        os.closerange(3, 1 << 12)
        calls.fix_addresses()
        if (allowed := spec["processes"]) is not None:
            _, most = resource.getrlimit(resource.RLIMIT_NPROC)
            allowed = allowed if most == resource.RLIM_INFINITY else min(most, allowed)
            resource.setrlimit(resource.RLIMIT_NPROC, (allowed, allowed))
        if (refused := program(os.uname().machine)) is not None:
            calls.filter_calls(refused)
        with suppress(FileNotFoundError):
            os.chdir(spec["workdir"])
        environment = spec["environment"]
        if person is not None:
            environment = {**environment, "HOME": spec["home"] or person.home}
            os.setgroups(person.groups)
            os.setresgid(person.gid, person.gid, person.gid)
            os.setresuid(person.uid, person.uid, person.uid)
        os.execve("/bin/sh", ["/bin/sh", "-c", command], environment)
    except OSError as e:
        os.write(2, f"/bin/sh: {e.strerror}\n".encode())
    finally:
        os._exit(127)
