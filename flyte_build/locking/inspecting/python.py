"""Which Python an image's commands run, read off its files: the interpreter on ``PATH``, and its environment. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...recipe.conventions import SYSTEM_PATH, VENV
from .debian import installed
from .tree import Tree

__all__ = ["Python", "find_python"]

_NAMED = re.compile(r"python(3\.\d+)")
_PATCHLEVEL = re.compile(r'#\s*define\s+PY_VERSION\s+"([^"+]+)')
_CONDA = re.compile(r"python-(3\.\d+\.\d+)-[^/]*\.json")


@dataclass(frozen=True, slots=True)
class Python:
    """``program``: the interpreter without symlinks, absolute; ``prefix``: where it is installed; ``full``: its
    version; ``venv``: the environment that is in force, absolute, ``isolated`` from the packages of ``prefix``."""

    program: str
    prefix: str
    full: str
    venv: str | None
    isolated: bool

    @property
    def minor(self) -> str:
        """``X.Y``."""
        return ".".join(self.full.split(".")[:2])

    @property
    def sites(self) -> tuple[str, ...]:
        """The folders of modules that it searches besides the standard library, the first one first."""
        root = self.prefix.rstrip("/")
        own = [f"{root}/lib/python{self.minor}/site-packages"]
        if root == "/usr":  # Debian's own interpreter (its site.py)
            own = [f"/usr/local/lib/python{self.minor}/dist-packages", "/usr/lib/python3/dist-packages"]
        venv = [f"{self.venv}/lib/python{self.minor}/site-packages"] if self.venv is not None else []
        return (*venv, *(() if venv and self.isolated else own))


def find_python(tree: Tree, env: Mapping[str, str]) -> Python | None:
    """The Python that ``python`` or ``python3`` means under ``env``, the image's variables.

    An environment in force wins, by ``PATH`` or ``VIRTUAL_ENV``; one in ``/opt/venv`` is used wherever it is, as the
    SDK's own builder does.
    """
    found = [_from(tree, folder, env) for folder in (env.get("PATH") or SYSTEM_PATH).split(":") if folder]
    on_path = next((p for p in found if p is not None), None)
    if on_path is not None and on_path.venv is not None:
        return on_path
    for root in (env.get("VIRTUAL_ENV"), VENV):
        if root and (inside := _from(tree, f"{root}/bin", env)) is not None and inside.venv is not None:
            return inside
    return on_path


def _from(tree: Tree, folder: str, env: Mapping[str, str]) -> Python | None:
    for name in ("python", "python3"):
        program = tree.real(f"{folder}/{name}")
        node = tree.file(program) if program is not None else None
        if node is None or program is None or not node.mode & 0o111:
            continue
        prefix = posixpath.dirname(posixpath.dirname(f"/{program}"))
        minor = _minor(tree, program, prefix)
        if minor is None:
            continue
        venv, settings = _venv(tree, folder)
        full = _full(tree, prefix, minor, env, settings)
        isolated = settings.get("include-system-site-packages", "false").lower() != "true"
        return Python(f"/{program}", prefix, full, venv, isolated)
    return None


def _minor(tree: Tree, program: str, prefix: str) -> str | None:
    named = _NAMED.fullmatch(posixpath.basename(program))
    if named:
        return named[1]
    libraries = [m[1] for name in tree.names(f"{prefix}/lib") if (m := _NAMED.fullmatch(name))]
    real = [minor for minor in libraries if tree.file(f"{prefix}/lib/python{minor}/os.py") is not None]
    return real[0] if len(real) == 1 else None


def _venv(tree: Tree, folder: str) -> tuple[str | None, dict[str, str]]:
    """The environment (PEP 405) whose ``bin`` is ``folder``, by its real name, and what its ``pyvenv.cfg`` says."""
    root = tree.real(posixpath.dirname(folder.rstrip("/")))
    text = tree.text(f"{root}/pyvenv.cfg") if root else None
    if text is None:
        return None, {}
    rows = (line.partition("=") for line in text.splitlines())
    return f"/{root}", {key.strip().lower(): value.strip() for key, _, value in rows if value}


def _full(tree: Tree, prefix: str, minor: str, env: Mapping[str, str], settings: Mapping[str, str]) -> str:
    """The full version, from whoever says it: the headers, the environment, what the image's builder noted, a package
    manager; ``X.Y.0`` where nobody does (it only judges ``python_full_version``)."""
    said = [
        m[1] if (m := _PATCHLEVEL.search(tree.text(f"{prefix}/include/python{minor}/patchlevel.h") or "")) else "",
        settings.get("version_info", settings.get("version", "")),
        env.get("PYTHON_VERSION", ""),
        *(version for name, version, _ in installed(tree) if name in (f"python{minor}-minimal", f"python{minor}")),
        *(m[1] for name in tree.names(f"{prefix}/conda-meta") if (m := _CONDA.fullmatch(name))),
    ]
    for text in said:
        m = re.match(rf"(?:\d+:)?({re.escape(minor)}\.\d+)(?:~?((?:a|b|rc)\d+))?", text)
        if m:
            return m[1] + (m[2] or "")
    return f"{minor}.0"
