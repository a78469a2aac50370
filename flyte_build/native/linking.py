"""Links the core against what it needs of the C library, and no more.

Zig makes its own C library of all names that glibc ever had, and its helpers, before it links the first program on a
machine, which takes longer than to compile the core. Linking asks only who has a name, and since when: the table here
says so, and libraries of nothing else are made of it. The result names the same libraries and the same versions.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["NEEDED", "link"]

_C = (
    "__memcpy_chk", "__memmove_chk", "__read_chk", "__strcat_chk", "__vsnprintf_chk", "__stack_chk_fail",
    "__errno_location", "bcmp", "memchr", "memcmp", "memcpy", "memmove", "memset", "strchr", "strlen", "strncmp",
    "strcmp", "strnlen", "strrchr", "calloc", "free", "malloc", "realloc", "qsort",
    "__fxstat", "__fxstatat", "__openat_2", "close", "fchmod", "fchmodat", "fcntl", "futimens", "linkat", "lseek",
    "mkdirat", "openat", "pread", "read", "symlinkat", "sync_file_range", "syscall", "write", "sigfillset",
    "pthread_cond_broadcast", "pthread_cond_destroy", "pthread_cond_init", "pthread_cond_signal",
    "pthread_cond_wait", "pthread_mutex_destroy", "pthread_mutex_init", "pthread_mutex_lock", "pthread_mutex_unlock",
)  # fmt: skip
_THREADS = ("pthread_create", "pthread_join", "pthread_once", "pthread_sigmask")
NEEDED: Mapping[str, Mapping[str, Sequence[str]]] = {
    "x86_64": {"libc.so.6": _C, "libpthread.so.0": _THREADS},
    "aarch64": {
        "libc.so.6": (*_C, "getauxval"), "libpthread.so.0": _THREADS, "ld-linux-aarch64.so.1": ("__stack_chk_guard",)
    },
}  # fmt: skip
"""What the core names, by machine and by the library that has it in glibc 2.17."""

# On x86-64: since which version there is a name, where that is not the first one.
_SINCE = {
    "__read_chk": "2.4", "memcpy": "2.14",
    "__memcpy_chk": "2.3.4", "__memmove_chk": "2.3.4", "__strcat_chk": "2.3.4", "__openat_2": "2.7",
    "__vsnprintf_chk": "2.3.4", "__stack_chk_fail": "2.4", "__fxstatat": "2.4", "fchmodat": "2.4", "futimens": "2.6",
    "linkat": "2.4", "mkdirat": "2.4", "openat": "2.4", "symlinkat": "2.4", "sync_file_range": "2.6",
    "pthread_cond_broadcast": "2.3.2", "pthread_cond_destroy": "2.3.2", "pthread_cond_init": "2.3.2",
    "pthread_cond_signal": "2.3.2", "pthread_cond_wait": "2.3.2",
}  # fmt: skip
# Until 2.33 programs had these of their own: bits/stat.h, _STAT_VER.
_STAT = """
int __fxstat(int, int, void *);
int __fxstatat(int, int, const char *, void *, int);
__attribute__((visibility("hidden"))) int fstat(int file, void *out) { return __fxstat(%(version)d, file, out); }
__attribute__((visibility("hidden"))) int fstatat(int folder, const char *path, void *out, int flags) {
    return __fxstatat(%(version)d, folder, path, out, flags);
}
"""
_STAT_VERSION = {"x86_64": 1, "aarch64": 0}


def link(compiler: Sequence[str], machine: str, objects: Sequence[Path], flags: Sequence[str], out: Path) -> bool:
    """Make the library ``out`` for ``machine`` of ``objects``; whether that could be done so.

    It cannot where the core calls what the table does not have. ``compiler`` is the command of one that links, ``out``
    lies in a folder for what is made on the way.
    """
    own = out.with_name("stat.c")
    own.write_text(_STAT % {"version": _STAT_VERSION[machine]})
    shared = [*compiler, "-shared", "-fPIC", "-nostdlib"]
    libraries = []
    for name, names in NEEDED[machine].items():
        path = out.with_name(name)
        since = {n: _since(machine, n) for n in names}
        versions = {v: [n for n in names if since[n] == v] for v in dict.fromkeys(since.values())}
        path.with_suffix(".map").write_text(
            "".join(f"{v} {{ global: {'; '.join(n)}; }};\n" for v, n in versions.items())
        )
        labels = "".join(f".globl {n}\\n.type {n},%function\\n{n}:\\n" for n in names)
        path.with_suffix(".c").write_text(f'__asm__(".text\\n{labels}.long 0\\n");\n')
        script = f"-Wl,--version-script={path.with_suffix('.map').name}"
        if not _done([*shared, script, f"-Wl,-soname,{name}", "-o", name, path.with_suffix(".c").name], out.parent):
            return False
        libraries.append(name)
    made = [os.fspath(path) for path in objects]
    return _done([*shared, *flags, "-O2", "-Wl,-z,defs", "-o", out.name, own.name, *made, *libraries], out.parent)


def _since(machine: str, name: str) -> str:
    """The version of the library that ``name`` came with; 64-bit ARM came with all of them."""
    return f"GLIBC_{_SINCE.get(name, '2.2.5')}" if machine == "x86_64" else "GLIBC_2.17"


def _done(command: Sequence[str], folder: Path) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
