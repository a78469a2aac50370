"""What an image on a registry base has between the base's layers and the user's: as data, for the derivation. Pure.

The base's own layers are named by digest and never made. On them lies one small layer (kind ``overlay``) with what the
base lacks: an empty virtual environment of its Python, under the official images the user ``flyte`` as the SDK's
default image has it, and whiteouts where a distribution of the base is replaced, as installers uninstall it first.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from ..kernel.canonical import Json
from ..kernel.errors import LockError
from ..kernel.values import dataclass
from ..locks.base import OCI_TYPES, BaseFacts, LockedBase
from ..locks.nouns import LockedPlatform
from ..recipe import Recipe, RegistryBase
from ..recipe.conventions import USER, VENV

__all__ = [
    "Owner",
    "base_annotations",
    "facts_of",
    "folders_of",
    "history",
    "layer_rows",
    "overlay",
    "owner_of",
    "venv_of",
    "verbatim",
]


@dataclass(frozen=True, slots=True)
class Owner:
    """To whom copied files belong."""

    uid: int
    gid: int


def facts_of(base: LockedBase, environment: str) -> BaseFacts:
    """What is in ``base``; raises :class:`LockError` where nobody looked, because it was to be used as it is."""
    if base.facts is None:
        raise LockError(
            f"{environment}: the lock does not say what is in {base.name}",
            hint="run `flyte-build lock --upgrade`",
        )
    return base.facts


def layer_rows(base: LockedBase) -> list[dict[str, Json]]:
    """The base's layers, lowest first, without kind and assembler."""
    count = len(base.layers)
    return [
        {
            "title": f"{base.name} ({i} of {count})",
            "digest": x.digest,
            "size": x.size,
            "diff_id": x.diff_id,
            "media_type": OCI_TYPES[x.media_type],
        }
        for i, x in enumerate(base.layers, 1)
    ]


def verbatim(base: LockedBase) -> dict[str, Json]:
    """What an image that is its base is taken from: a name, and the manifest's and the configuration's descriptors."""
    rows: dict[str, Json] = {
        key: {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
        for key, blob in (("manifest", base.manifest), ("config", base.config))
    }
    return {"reference": base.reference, **rows}


def history(base: LockedBase) -> list[Json]:
    """The base's history; where it does not tell of each layer, one line for each instead."""
    rows: list[Json] = [dict(row) for row in base.history]
    if sum(not row.get("empty_layer") for row in base.history) != len(base.layers):
        rows = [{"created_by": str(row["title"])} for row in layer_rows(base)]
    return rows


def base_annotations(base: LockedBase) -> dict[str, Json]:
    """image-spec v1.1, annotations.md."""
    return {
        "org.opencontainers.image.base.name": base.name,
        "org.opencontainers.image.base.digest": base.manifest.digest,
    }


def venv_of(recipe: Recipe, facts: BaseFacts) -> str | None:
    """The virtual environment that the image's Python packages go to; ``None`` where it has none to install there."""
    installs = recipe.installs and recipe.conda is None
    return (facts.venv or VENV) if installs or _official(recipe) else None


def owner_of(recipe: Recipe, facts: BaseFacts) -> Owner:
    """The user that the image runs as: ``flyte`` under the official images, else the base's."""
    if _official(recipe):
        return Owner(*(facts.flyte or (int(str(USER["uid"])), int(str(USER["gid"])))))
    return Owner(facts.uid or 0, facts.gid or 0)


def overlay(recipe: Recipe, locked: LockedPlatform, facts: BaseFacts) -> list[Json]:
    """The rows of the ``overlay`` layer, sorted by path; empty where nothing is lacking."""
    rows: dict[str, dict[str, Json]] = {}
    venv = venv_of(recipe, facts)
    if venv is not None and facts.venv is None:
        _skeleton(rows, venv, facts, isolated=_official(recipe))
    if _official(recipe):
        _user(rows, facts)
    ours = {wheel.name for wheel in locked.wheels} if recipe.conda is None else set()
    for distribution in facts.distributions:
        for path in distribution.paths if distribution.name in ours else ():
            rows[path] = {"path": path, "removed": True}
    return [rows[path] for path in sorted(rows)]


def _official(recipe: Recipe) -> bool:
    return isinstance(recipe.base, RegistryBase) and recipe.base.official


def _skeleton(rows: dict[str, dict[str, Json]], venv: str, facts: BaseFacts, *, isolated: bool) -> None:
    """PEP 405: an empty environment. On a base of the user's own it sees what the base's Python sees, because that is
    what the base was chosen for; what is installed goes first."""
    assert facts.python is not None
    assert facts.python_full is not None
    python, root = str(facts.minor), venv.strip("/")
    folders = ("", "bin", "include", "lib", f"lib/python{python}", f"lib/python{python}/site-packages")
    for folder in folders:
        _row(rows, posixpath.join(root, folder).rstrip("/"), 0o755, dir=True)
    for name, target in (("python", facts.python), ("python3", "python"), (f"python{python}", "python")):
        _row(rows, f"{root}/bin/{name}", 0o777, link=target)
    _row(rows, f"{root}/lib64", 0o777, link="lib")
    settings = {
        "home": posixpath.dirname(facts.python),
        "include-system-site-packages": "false" if isolated else "true",
        "version": facts.python_full,
        "executable": facts.python,
    }
    _row(rows, f"{root}/pyvenv.cfg", 0o644, text="".join(f"{k} = {v}\n" for k, v in settings.items()))


def _user(rows: dict[str, dict[str, Json]], facts: BaseFacts) -> None:
    """useradd(8) and what the SDK's default image does after it: the home and ``/root`` belong to the user."""
    name, uid, gid, home = (USER[key] for key in ("name", "uid", "gid", "home"))
    if facts.flyte is None and facts.accounts is not None:
        passwd, group = (text if not text or text.endswith("\n") else text + "\n" for text in facts.accounts)
        _row(rows, "etc/passwd", 0o644, text=f"{passwd}{name}:x:{uid}:{gid}::{home}:/bin/bash\n")
        _row(rows, "etc/group", 0o644, text=f"{group}{name}:x:{gid}:\n")
    owner = facts.flyte or (uid, gid)
    for path, mode in ((str(home).strip("/"), 0o755), ("root", 0o700)):
        _row(rows, path, mode, uid=owner[0], gid=owner[1], dir=True)


def _row(rows: dict[str, dict[str, Json]], path: str, mode: int, uid: Json = 0, gid: Json = 0, **form: Json) -> None:
    rows[path] = {"path": path, "mode": mode, "uid": uid, "gid": gid, **form}


def folders_of(facts: BaseFacts) -> Sequence[str]:
    """The base's own folders, without a leading slash: a copy goes into them and leaves their owners alone."""
    return [folder.strip("/") for folder in facts.folders]
