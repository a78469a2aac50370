"""A project as a Nix flake: its images are its packages, built by the flake that this flyte-build came with.

The flake is three lines for a person to keep and to change. It holds no digest and no list of environments: what is in
the folder of the locks when Nix evaluates is what there is. Reads how flyte-build was installed; writes nothing.
"""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..kernel.errors import InputError

__all__ = ["flake_text", "own_flake"]

# What Nix takes for a relative path without quotes; anything else is written as a string added to `./.`.
_PLAIN = re.compile(r"[A-Za-z0-9+._-]+(?:/[A-Za-z0-9+._-]+)*")


def flake_text(flake: str, folder: Path, lockfiles: Path, root: Path) -> str:
    """The text of ``folder/flake.nix`` for the project in ``root`` with its locks in ``lockfiles``.

    ``flake`` is where flyte-build's own flake is (a flake reference). Raises :class:`InputError` where locks or project
    are not inside ``folder``: a flake sees nothing outside of its own.
    """
    for path, what in ((lockfiles, "locks"), (root, "project")):
        if not path.is_relative_to(folder):
            raise InputError(
                f"{folder}: expected a folder that holds the {what}, which are in {path}",
                hint="name one above both with --output",
            )
    # `self` is in the store already; a path would be copied there once more.
    src = "self" if root == folder else _path(root.relative_to(folder))
    images = f"{{ lockfiles = {_path(lockfiles.relative_to(folder))}; src = {src}; }}"
    return (
        "{\n"
        f"  inputs.flyte-build.url = {_string(flake)};\n"
        f"  outputs = {{ self, flyte-build }}: {{ packages = flyte-build.lib.images {images}; }};\n"
        "}\n"
    )


def _path(relative: Path) -> str:
    text = relative.as_posix()
    if text == ".":
        return "./."
    return f"./{text}" if _PLAIN.fullmatch(text) else f"(./. + {_string('/' + text)})"


def _string(text: str) -> str:
    """A string of the Nix language (Nix manual, "String literal")."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def own_flake() -> str:
    """A reference to the flake of this very flyte-build, as its installer recorded where it came from (PEP 610).

    Raises :class:`InputError` where it came from an index, which has no flakes.
    """
    try:
        recorded = distribution("flyte-build").read_text("direct_url.json")
        found = json.loads(recorded) if recorded else {}
        url, vcs = str(found.get("url", "")), found.get("vcs_info")
    except (PackageNotFoundError, ValueError, AttributeError):
        url, vcs = "", None
    if isinstance(vcs, dict) and vcs.get("vcs") == "git":
        return f"git+{url}?rev={vcs.get('commit_id')}"
    folder = url.removeprefix("file://")
    if url.startswith("file://") and os.path.isfile(os.path.join(folder, "flake.nix")):
        return f"git+{url}"
    raise InputError(
        "where flyte-build's flake is cannot be told: it was not installed from a git repository",
        hint="name it with --flake, for example `--flake git+https://git.example/flyte-build`",
    )
