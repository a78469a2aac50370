"""uv projects in a folder, and what `uv lock` and the lock make of them."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path

import flyte

from flyte_build.locks.lockfile import Lock
from flyte_build.project.images import read_image
from flyte_build.recipe import Recipe
from flyte_build.sources.indexes.settings import uv_binary

from .index import SimpleIndex
from .locking import project

__all__ = ["asked", "explicit", "image_of", "locked", "pyproject", "scripted", "uv_lock"]


def pyproject(folder: Path, *dependencies: str, name: str = "app", more: str = "", python: str = ">=3.10") -> Path:
    """A pyproject.toml with these dependencies; ``more`` is TOML after ``[project]``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pyproject.toml"
    wanted = ", ".join(json.dumps(d) for d in dependencies)
    head = f'[project]\nname = "{name}"\nversion = "1"\nrequires-python = "{python}"\ndependencies = [{wanted}]\n'
    path.write_text(head + textwrap.dedent(more))
    return path


def uv_lock(folder: Path, index: SimpleIndex | None = None, *words: str) -> Path:
    """``uv lock`` in ``folder``, where ``index`` is the default index."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("UV_") or k in ("UV_CACHE_DIR", "UV_HTTP_RETRIES")}
    if index is not None:
        env["UV_DEFAULT_INDEX"] = index.url
    command = [str(uv_binary()), "lock", "--no-python-downloads", *words]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "uv.lock"


def image_of(root: Path, file: Path | str = "pyproject.toml", **arguments: object) -> Recipe:
    """The recipe of ``with_uv_project`` alone, on one platform and without the client's flyte."""
    base = flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False, platform=("linux/amd64",))
    return read_image(base.with_uv_project(root / file, **arguments), "environment e", root)  # type: ignore[arg-type]


def explicit(url: str, name: str) -> str:
    """TOML: an index called `ours`, of which ``name`` alone is asked."""
    index = f'[[tool.uv.index]]\nname = "ours"\nurl = "{url}"\nexplicit = true\n'
    return f'{index}[tool.uv.sources]\n{name} = {{ index = "ours" }}\n'


def locked(root: Path, index: SimpleIndex, wanted: Recipe | None = None, **more: object) -> Lock:
    """The lock of ``wanted`` (the project in ``root``), where ``index`` is what the machine is told of."""
    wanted = wanted if wanted is not None else image_of(root)
    report = project({"e": wanted}, root / "lockfiles", index, **{"root": root, **more})  # type: ignore[arg-type]
    return report.locks["e"]


def asked(index: SimpleIndex, name: str) -> list[str]:
    """What ``index`` was asked about a package."""
    return [line for line in index.asked if f"/{name}/" in line or f"/{name}-" in line]


def scripted(root: Path, *lines: str) -> Recipe:
    """The recipe of `from_uv_script` of ``s.py`` in ``root``, whose block has these lines."""
    root.mkdir(exist_ok=True)
    block = "".join(f"# {line}\n" for line in ('requires-python = ">=3.10"', *lines))
    (root / "s.py").write_text(f"# /// script\n{block}# ///\nprint()\n")
    image = flyte.Image.from_uv_script(root / "s.py", name="s", python_version=(3, 11), platform=("linux/amd64",))
    return read_image(image, "environment e", root)
