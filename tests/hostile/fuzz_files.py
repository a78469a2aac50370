"""Targets whose reader wants a file or a folder: artifacts, layers, layouts, bundles, settings, what runs leave."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

from flyteidl2.task import common_pb2

from flyte_build import native
from flyte_build.assemble.archive import Archive
from flyte_build.assemble.deb import open_deb, read_control
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer import write_layer
from flyte_build.assemble.version import ASSEMBLER
from flyte_build.delivery.adopting import adopt
from flyte_build.delivery.unbundle import unbundle
from flyte_build.diffing.layouts import choose, read_image
from flyte_build.kernel.reporting import Silent
from flyte_build.locking.inspecting import Tree, facts_of, read_layer
from flyte_build.registry.values import digest_of
from flyte_build.settings.reading import read_settings
from flyte_build.store import Store
from flyte_build.submit.journal import ActionRecord, read_journal
from flyte_build.submit.literals import plain_outputs
from flyte_build.submit.merge import merge
from flyte_build.submit.outputs import Settlement, View
from flyte_build.submit.storage import Storage
from flyte_build.submit.unpack import unpack
from flyte_build.supply.licenses import read_deb, read_wheel

from ..support.layers import wheel_layer

__all__ = [
    "bundle",
    "conda",
    "core",
    "deb",
    "journal",
    "layer",
    "layout",
    "outputs",
    "python",
    "settings",
    "wheel",
    "zip_archive",
]


def _write(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def wheel(data: bytes, folder: Path) -> None:
    path = _write(data, folder, "alpha-1.0-py3-none-any.whl")
    read_wheel(path)
    write_layer(wheel_layer([path]), lambda _: str(path), io.BytesIO(), scratch=str(folder))


def python(data: bytes, folder: Path) -> None:
    """An archive of a relocatable Python, as its layer."""
    path = _write(data, folder, "cpython-3.12.1.tar.gz")
    archive = {"file": path.name, "sha256": "0" * 64}
    spec = {"kind": "python", "assembler": ASSEMBLER, "title": "Python", "python": "3.12", "prefix": "/usr/local"}
    write_layer(spec | {"archives": [archive]}, lambda _: str(path), io.BytesIO(), scratch=str(folder))


def conda(data: bytes, folder: Path) -> None:
    """A conda package, as its layer."""
    path = _write(data, folder, "pure-1.0-pyh0_0.tar.bz2")
    package = {"file": path.name, "sha256": "0" * 64}
    spec = {"kind": "conda", "assembler": ASSEMBLER, "title": "conda", "prefix": "/opt/env"}
    spec |= {"site": "lib/python3.12/site-packages", "packages": [package]}
    write_layer(spec, lambda _: str(path), io.BytesIO(), scratch=str(folder))


def core(data: bytes, folder: Path) -> None:
    """A wheel's layer by the native core, by its encoder alone and by Python: the same bytes, or the same refusal."""
    path = _write(data, folder, "alpha-1.0-py3-none-any.whl")
    assert native.core().library is not None or not os.environ.get("CI"), "expected the native core: run ./dev setup"
    found: list[object] = []
    by_blob = partial(write_layer, write=native.write_blob)
    for number, write in enumerate((native.write_layer, by_blob, write_layer)):
        out = folder / f"layer{number}"
        try:
            with out.open("wb") as f:
                result = write(wheel_layer([path]), lambda _: str(path), f, scratch=str(folder))
            found.append((result, out.read_bytes()))
        except AssembleError as e:
            found.append(e)
    first = found[0]
    if isinstance(first, AssembleError):
        assert all(isinstance(e, AssembleError) and str(e) == str(first) for e in found)
        raise first
    assert found == [first] * len(found)


def zip_archive(data: bytes, folder: Path) -> None:
    with Archive(str(_write(data, folder, "a.zip")), "a.zip") as archive:
        for member in archive.members.values():
            archive.read(member)


def deb(data: bytes, folder: Path) -> None:
    """A package's control data, its licence, and a layer of its files."""
    path = _write(data, folder, "a.deb")
    read_deb(path, "tool")
    sha256 = hashlib.sha256(data).hexdigest()
    read_control(path)
    open_deb(path, str(folder), "a.deb", sha256)
    spec = {"kind": "packages", "assembler": ASSEMBLER, "title": "apt tool"}
    rows = [{"file": "a.deb", "sha256": sha256}]
    write_layer({**spec, "debs": rows}, lambda _: str(path), io.BytesIO(), scratch=str(folder))


def layer(data: bytes, folder: Path) -> None:
    blob, diff = _write(data, folder, "blob"), digest_of(data)
    tree = Tree()
    try:
        read_layer(blob, diff, 0, tree, "base, layer 1")
        facts_of(tree, {"Env": ["PATH=/usr/bin"], "User": "me"}).to_json()
    finally:
        into, root = folder / "into", folder / "root"
        into.mkdir()
        root.mkdir()
        unpack(blob, diff, into)
        merge(into, root)


def layout(data: bytes, folder: Path) -> None:
    """An image layout (OCI image spec): JSON with ``index``, ``manifest``, ``config`` and the text of one ``layer``.

    Digests in the form ``@name`` become those of that part, so that what is changed is found, and believed.
    """
    try:
        parts = json.loads(data)
        texts = {name: parts[name] for name in ("layer", "config", "manifest", "index")}
        content = {name: v if isinstance(v, str) else json.dumps(v) for name, v in texts.items()}
        blobs = folder / "layout" / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        _write(b"{}", folder / "layout", "oci-layout")
        for number, (name, text) in enumerate(content.items()):
            raw = text.encode("utf-8")
            digest = digest_of(raw)
            _write(raw, blobs, digest[7:])
            for later in list(content)[number + 1 :]:
                content[later] = content[later].replace(f"@{name}", digest).replace(f'"#{name}"', str(len(raw)))
        _write(content["index"].encode(), folder / "layout", "index.json")
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    try:
        chosen = choose(folder / "layout", None, "linux/amd64")
        read_image(folder / "layout", chosen.digest, "a layout")
    finally:
        adopt(folder / "layout", Store(folder / "store"), Silent())


def bundle(data: bytes, folder: Path) -> None:
    unbundle(Store(folder / "store"), _write(data, folder, "a.fbundle"), folder / "lockfiles", Silent())


def settings(data: bytes, folder: Path) -> None:
    _write(data, folder, "pyproject.toml")
    (folder / ".git").mkdir()
    read_settings(folder, {})


def journal(data: bytes, folder: Path) -> None:
    for entry in read_journal(_write(data, folder, "journal.jsonl")):
        if "action" in entry:
            ActionRecord.from_json(entry["action"]).to_json()


def outputs(data: bytes, folder: Path) -> None:
    """outputs.pb of a task: settled among what it could see, and shown."""
    for name in ("root/etc", "tmp/some/more", "runs/r/meta", "runs/r/raw"):
        (folder / name).mkdir(parents=True)
    _write(b"x", folder / "tmp", "file")
    _write(b"y", folder / "tmp" / "some" / "more", "file")
    os.symlink("/etc/passwd", folder / "tmp" / "link")
    os.symlink("..", folder / "tmp" / "some" / "up")
    os.mkfifo(folder / "tmp" / "pipe")
    seen = View({"/": folder / "root", "/tmp": folder / "tmp", "/mnt/flyte/runs": folder / "runs"})
    kept = folder / "runs" / "r" / "kept" / "a0"
    settlement = Settlement(seen, kept / "files", "/mnt/flyte/runs/r/kept/a0/files")
    _write(data, folder / "runs" / "r" / "meta", "outputs.pb")
    settlement.settle(folder / "runs" / "r" / "meta", "outputs.pb", kept / "outputs.pb", common_pb2.Outputs)
    settled = (kept / "outputs.pb").read_bytes()
    try:
        shown: dict[str, Any] = plain_outputs(settled, Storage(folder / "runs"))
        json.dumps(shown)
    except ValueError as e:
        raise AssertionError(f"what was settled cannot be shown: {e}") from e


ZIP_REFUSALS = (zipfile.BadZipFile, KeyError)
