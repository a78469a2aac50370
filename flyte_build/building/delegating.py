"""A Dockerfile with lines that no step means, built by buildah or docker where one of them is here.

Used when a project is locked, by :mod:`.sealed`: what comes of it is sealed like any step's outcome, so that nothing is
built by a tool of somebody else's later. Bases are given by digest, as they are locked. Decides neither what is built
nor what is in a layer.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..kernel.canonical import Json
from ..kernel.documents import parse
from ..kernel.errors import RefusedError, SealError
from ..sealing import Below

__all__ = ["Built", "Order", "build", "builder"]

_TOOLS = ("buildah", "docker")
_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck",
    "OnBuild",
)  # fmt: skip
_LOOPBACK = ("localhost", "127.", "[::1]")
_TAIL = 30


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built: ``file`` in its folder, for ``platform``. ``images``: a name in the file → the image that it
    means, by digest; ``base``: the diff_ids of what the last stage stands on; ``secrets`` by id. ``other``: in another
    language than Docker's, which buildah does not read."""

    file: Path
    platform: str
    images: Mapping[str, str]
    base: Sequence[str]
    secrets: Mapping[str, bytes]
    why: str
    other: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """``layers`` that lie on the base, lowest first, and the ``config`` object of the image's configuration."""

    layers: tuple[Below, ...]
    config: Mapping[str, Json]


def builder(order: Order) -> str:
    """The program that builds it. Raises :class:`RefusedError` that says which line asks for one, and the ways out."""
    found = [tool for tool in _TOOLS if shutil.which(tool) is not None and not (order.other and tool == "buildah")]
    if not found:
        names = "docker is not" if order.other else "neither buildah nor docker is"
        raise RefusedError(
            f"{order.why}; another builder may be able to, but {names} installed",
            hint=f"{'install docker' if order.other else '`apt install buildah`'}: `lock` has it build the image, and "
            "seals what comes of it. Or leave the line out, build the image elsewhere and use "
            "`flyte.Image.from_base(…)`, or say it with with_* methods",
        )
    return found[0]


def build(order: Order, folder: Path, log: Path) -> Built:
    """Build it once, without any cache, in the new folder ``folder``, which is the caller's to remove; what the tool
    says goes to the end of ``log``.

    Raises :class:`RefusedError` where no tool is here, and :class:`SealError` where it fails or makes what does not
    stand on the locked base.
    """
    tool = builder(order)
    folder.mkdir(mode=0o700)
    words = [tool, "build", "--no-cache", "--platform", order.platform, "--file", str(order.file)]
    for name, image in order.images.items():
        words += ["--build-context", f"{name}=docker-image://{image}"]
    for number, (name, value) in enumerate(order.secrets.items()):
        held = folder / f"secret-{number}"
        held.touch(0o600)
        held.write_bytes(value)
        words += ["--secret", f"id={name},src={held}"]
    words += ["--iidfile", str(folder / "id"), *_plain(tool, order.images.values()), str(order.file.parent)]
    hidden = [value for value in order.secrets.values() if value]
    try:
        _said(words, log, hidden)
    finally:
        for held in folder.glob("secret-*"):
            held.unlink()
    image = (folder / "id").read_text(encoding="ascii").strip()
    try:
        return _buildah(image, folder, order, log) if tool == "buildah" else _docker(image, folder, order, log)
    finally:
        _said([tool, "rmi", image], log, hidden, sure=False)


def _plain(tool: str, images: Iterable[str]) -> list[str]:
    """buildah asks a registry of this machine without TLS, as docker does by itself."""
    if tool != "buildah":
        return []
    more = ["--format", "docker", "--layers=false"]
    return [*more, "--tls-verify=false"] if all(name.startswith(_LOOPBACK) for name in images) else more


def _said(words: Sequence[str], log: Path, hidden: Iterable[bytes], *, sure: bool = True) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    said = done.stdout
    for value in hidden:
        said = said.replace(value, b"***")
    with open(log, "ab") as f:
        f.write(f"+ {words[0]} {words[1]}\n".encode() + said)
    if done.returncode and sure:
        tail = "\n".join(said.decode("utf-8", "replace").splitlines()[-_TAIL:])
        raise SealError(
            f"`{words[0]} {words[1]}`, which was asked to build the Dockerfile, ended with exit code {done.returncode}",
            hint=f"its output is in {log}; it builds the whole file, as no step means one of its lines (see above)",
            detail=tail,
        )


def _buildah(image: str, folder: Path, order: Order, log: Path) -> Built:
    at = folder / "image"
    _said(["buildah", "push", "--format", "v2s2", image, f"dir:{at}"], log, ())
    manifest = _document(at / "manifest.json")
    names = [str(row["digest"]).partition(":")[2] for row in manifest["layers"]]
    config = at / str(manifest["config"]["digest"]).partition(":")[2]
    return _built([at / name for name in names], _document(config), order)


def _docker(image: str, folder: Path, order: Order, log: Path) -> Built:
    _said(["docker", "save", "--output", str(folder / "image.tar"), image], log, ())
    at = folder / "image"
    with tarfile.open(folder / "image.tar") as tar:
        tar.extractall(at, filter="data")
    (row,) = parse((at / "manifest.json").read_bytes())
    return _built([at / name for name in row["Layers"]], _document(at / row["Config"]), order)


def _built(blobs: Sequence[Path], document: Mapping[str, Any], order: Order) -> Built:
    ids = [str(d) for d in document["rootfs"]["diff_ids"]]
    count = len(order.base)
    if ids[:count] != list(order.base) or len(blobs) != len(ids):
        raise SealError(
            f"{order.file.name}: what was built does not stand on the image that is locked",
            hint="run `flyte-build lock --upgrade`, if the base has moved; or name the base by its digest",
        )
    said = document.get("config") or {}
    config = {key: said[key] for key in _FIELDS if said.get(key)}
    layers = [Below(blob, d) for blob, d in zip(blobs[count:], ids[count:], strict=True)]
    return Built(tuple(layers), config)


def _document(path: Path) -> dict[str, Any]:
    found = parse(path.read_bytes())
    if not isinstance(found, dict):
        raise SealError(f"{path.name}: expected a JSON object of the builder's")
    return found
