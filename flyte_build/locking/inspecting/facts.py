"""A base's tree and configuration → the facts that a lock holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...locks.base import BaseFacts
from ...recipe.conventions import USER, VENV
from .debian import installed, status
from .distributions import distributions, modules
from .python import find_python
from .tree import Tree

__all__ = ["facts_of"]

_BUNDLES = (
    *("etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/ca-bundle.pem"),
    *("etc/pki/tls/cacert.pem", "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/ssl/cert.pem"),
)
_LIBRARIES = (
    *("lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"),
    *("lib64", "usr/lib64", "lib", "usr/lib"),
)
# Nobody copies code below these, or nothing would be left of the lock but folders.
_CLOSED = frozenset(("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys"))
_MANY = 400


def facts_of(tree: Tree, config: Mapping[str, Any]) -> BaseFacts:
    """What is in the image whose files are ``tree`` and whose OCI ``config`` object is given."""
    env = dict(row.partition("=")[::2] for row in config.get("Env") or ())
    python = find_python(tree, env)
    passwd, group = tree.text("etc/passwd") or "", tree.text("etc/group") or ""
    people = _people(passwd)
    uid, gid = _user(str(config.get("User") or ""), people, group)
    flyte = people.get(str(USER["name"]))
    sites = python.sites if python is not None else ()
    venv = python.venv if python is not None else None
    site = f"{venv or VENV}/lib/python{python.minor}/site-packages" if python is not None else VENV
    packages = sorted(" ".join(row) for row in installed(tree))
    return BaseFacts(
        python=python.program if python is not None else None,
        python_full=python.full if python is not None else None,
        venv=venv,
        glibc=_glibc(tree),
        certificates=next((f"/{p}" for p in _BUNDLES if (node := tree.file(p)) is not None and node.size), None),
        system=_system(tree),
        uid=uid,
        gid=gid,
        flyte=flyte,
        accounts=(passwd, group) if flyte is None else None,
        merged=(link := tree.root.children.get("bin")) is not None and link.kind == "symlink",
        plain=tree.plain(site) and tree.plain(f"{venv or VENV}/bin"),
        folders=_folders(tree, str(config.get("WorkingDir") or "/")),
        modules=tuple(modules(tree, sites)),
        debs=tuple(packages) if status(tree) is not None else None,
        distributions=tuple(distributions(tree, sites, site if venv is not None else None)),
    )


def _people(passwd: str) -> dict[str, tuple[int, int]]:
    """Name → user and group id (passwd(5))."""
    rows = (line.split(":") for line in passwd.splitlines())
    return {r[0]: (int(r[2]), int(r[3])) for r in rows if len(r) >= 4 and _number(r[2]) and _number(r[3])}


def _user(text: str, people: Mapping[str, tuple[int, int]], group: str) -> tuple[int | None, int | None]:
    """The ids of an image's ``User``: a name or number, with a group after a colon (image-spec v1.1, config.md)."""
    name, _, group_name = text.partition(":")
    if not name:
        return 0, 0
    ids = {str(uid): (uid, gid) for uid, gid in people.values()}
    if name in people:
        uid, gid = people[name]
    elif _number(name):
        uid, gid = ids.get(name, (int(name), 0))
    else:
        return None, None
    if _number(group_name):
        gid = int(group_name)
    elif group_name:
        rows = (line.split(":") for line in group.splitlines())
        gid = next((int(r[2]) for r in rows if len(r) >= 3 and r[0] == group_name and _number(r[2])), gid)
    return uid, gid


def _number(text: str) -> bool:
    """Whether ``text`` is an id that a kernel has."""
    return text.isascii() and text.isdigit() and len(text) <= 10


def _glibc(tree: Tree) -> str | None:
    return next((text for folder in _LIBRARIES if (text := tree.text(f"{folder}/libc.so.6"))), None)


def _system(tree: Tree) -> str | None:
    text = tree.text("etc/os-release") or tree.text("usr/lib/os-release")
    if text is None:
        return None
    rows = {k: v.strip("\"'") for k, _, v in (line.partition("=") for line in text.splitlines())}
    return " ".join(filter(None, (rows.get("ID", "linux"), rows.get("VERSION_CODENAME") or rows.get("VERSION_ID"))))


def _folders(tree: Tree, workdir: str) -> tuple[str, ...]:
    """The working directory with those above it, and the folders near the root that code is copied into."""
    found = set()
    for name, node in tree.root.children.items():
        if node.kind == "dir" and name not in (*_CLOSED, "usr", "var"):
            found |= {name, *tree.folders(name, 1)}
    real = tree.real(workdir) or ""
    while real:
        found.add(real)
        real = real.rpartition("/")[0]
    return tuple(f"/{path}" for path in sorted(found)[:_MANY])
