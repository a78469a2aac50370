"""A small fuzzer of our own: what strangers may send, changed in any way, is taken or refused in words.

``./dev fuzz [TARGET...] --minutes N`` runs until the time is over; the fast tests run each target for some hundred
cases. A case is a target and a number, and the same everywhere: ``--case N`` shows it. A crash is anything but the
errors a target may raise, and a case that takes longer than :data:`PATIENCE` seconds. ``--seeds`` writes the corpus
anew from the builders of ``tests/support``.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flyte_build.assemble.archive import Archive
from flyte_build.assemble.base import _Inflating
from flyte_build.assemble.deb import open_deb, read_control
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.layer import write_layer
from flyte_build.assemble.untar import members
from flyte_build.kernel.canonical import digest
from flyte_build.kernel.documents import parse_object
from flyte_build.kernel.errors import (
    ArtifactError,
    FetchError,
    FlyteBuildError,
    LockError,
    RefusedError,
    RegistryError,
    RunError,
)
from flyte_build.kernel.layer_tar import BadLayer, LayerTar
from flyte_build.kernel.visible import visible
from flyte_build.locking.apt.index import Index
from flyte_build.locking.apt.release import parse_release
from flyte_build.locking.base_documents import diff_ids_of, document_of, rows_of, settings_of
from flyte_build.locking.inspecting import Tree, facts_of, read_layer
from flyte_build.locks import lockfile
from flyte_build.registry.client import _media_type
from flyte_build.registry.values import Manifest, digest_of
from flyte_build.sources.indexes import metadata
from flyte_build.sources.indexes.pages import parse_html, parse_json
from flyte_build.sources.mirrors import Mirror
from flyte_build.submit.journal import ActionRecord, read_journal
from flyte_build.submit.merge import merge
from flyte_build.submit.unpack import unpack

from ..support.layers import wheel_layer
from . import mutating

__all__ = ["CORPUS", "PATIENCE", "TARGETS", "Crash", "fuzz", "one"]

CORPUS = Path(__file__).with_name("corpus")
PATIENCE = 10
Mutator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


@dataclass(frozen=True)
class Target:
    """``run(data, folder)`` takes ``data`` or raises one of ``refusals``; ``seeds``: the corpus's folder."""

    run: Callable[[bytes, Path], object]
    refusals: tuple[type[Exception], ...]
    mutate: Mutator
    seeds: str


class Crash(Exception):
    """A case that is neither taken nor refused."""


def _write(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _wheel(data: bytes, folder: Path) -> None:
    path = _write(data, folder, "alpha-1.0-py3-none-any.whl")
    write_layer(wheel_layer([path]), lambda _: str(path), io.BytesIO(), scratch=str(folder))


def _zip(data: bytes, folder: Path) -> None:
    with Archive(str(_write(data, folder, "a.zip")), "a.zip") as archive:
        for member in archive.members.values():
            archive.read(member)


def _metadata(data: bytes, folder: Path) -> None:
    metadata.parse(metadata.from_archive(len(data), data[-64:], lambda a, b: data[a:b]))


def _deb(data: bytes, folder: Path) -> None:
    path = _write(data, folder, "a.deb")
    read_control(path)
    open_deb(path, str(folder), "a.deb", "0" * 64)


def _layer(data: bytes, folder: Path) -> None:
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


def _gzip(data: bytes, folder: Path) -> None:
    for plain in (stream := _Inflating()).feed(data, "layer"):
        assert len(plain) <= 1 << 20
    stream.close("layer")
    tar = LayerTar(io.BytesIO(data), compressed=True, limit=1 << 26)
    for _ in tar.members():
        pass
    tar.drain()


def _manifest(data: bytes, folder: Path) -> None:
    _media_type("", data, "registry")
    manifest = Manifest("application/vnd.oci.image.manifest.v1+json", digest_of(data), data)
    for blob in manifest.blobs():
        assert blob.size >= 0
    rows_of(manifest.json.get("manifests"))


def _config(data: bytes, folder: Path) -> None:
    image = document_of(data, "the configuration")
    diff_ids_of(image.get("rootfs"))
    facts_of(Tree(), settings_of(image.get("config"), "the configuration"))
    rows_of(image.get("history"))


def _lock(data: bytes, folder: Path) -> None:
    _write(data, folder, "env.json")
    found = lockfile.read(folder, "env")
    assert found is not None
    found.text()


def _packages(data: bytes, folder: Path) -> None:
    index = Index(data, "amd64", "debian", "Packages")
    for name in index.names:
        index.versions(name)
        index.providers(name)


def _release(data: bytes, folder: Path) -> None:
    parse_release(data.decode("utf-8", "replace"), Mirror("https://mirror.example", "debian", "a test"), "bookworm")


def _page(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    parse = parse_json if text.lstrip()[:1] == "{" else parse_html
    for found in parse(text, "https://index.example/a/"):
        assert isinstance(found.url, str)


def _journal(data: bytes, folder: Path) -> None:
    for entry in read_journal(_write(data, folder, "journal.jsonl")):
        if "action" in entry:
            ActionRecord.from_json(entry["action"]).to_json()


def _locks(r: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Changed, and mostly with the fingerprint of the recipe that it has then."""
    changed = mutating.document(r, data, others)
    try:
        raw = parse_object(changed)
        if r.random() < 0.8:
            raw["fingerprint"] = digest(raw["recipe"])
            return json.dumps(raw).encode()
    except (ValueError, KeyError, TypeError):
        pass
    return changed


_BAD = (AssembleError, ArtifactError, RefusedError, BadLayer)
TARGETS: dict[str, Target] = {
    "wheel": Target(_wheel, _BAD, mutating.binary, "wheel"),
    "zip": Target(_zip, _BAD, mutating.binary, "wheel"),
    "metadata": Target(_metadata, (zipfile.BadZipFile, KeyError), mutating.binary, "wheel"),
    "deb": Target(_deb, _BAD, mutating.binary, "deb"),
    "tar": Target(lambda d, _: list(members(io.BytesIO(d), "a.deb", "data.tar")), _BAD, mutating.tar, "tar"),
    "layer": Target(_layer, _BAD, mutating.tar, "tar"),
    "gzip": Target(_gzip, _BAD, mutating.binary, "gzip"),
    "manifest": Target(_manifest, (RegistryError,), mutating.document, "manifest"),
    "config": Target(_config, (ArtifactError,), mutating.document, "config"),
    "lock": Target(_lock, (LockError,), _locks, "lock"),
    "packages": Target(_packages, (FetchError,), mutating.text, "packages"),
    "release": Target(_release, (FetchError,), mutating.text, "release"),
    "page": Target(_page, (ValueError,), mutating.text, "page"),
    "page-json": Target(_page, (ValueError,), mutating.document, "page-json"),
    "journal": Target(_journal, (RunError,), mutating.text, "journal"),
}


def seeds(target: Target) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / target.seeds).iterdir())]


def case(name: str, number: int) -> bytes:
    """The bytes of a case."""
    r = random.Random(f"{name} {number}")
    known = seeds(TARGETS[name])
    return TARGETS[name].mutate(r, r.choice(known), known)


def one(name: str, data: bytes) -> bool:
    """Whether ``data`` is taken; raises :class:`Crash` where it is not refused in words either."""
    target = TARGETS[name]
    signal.alarm(PATIENCE)
    try:
        with tempfile.TemporaryDirectory() as folder:
            target.run(data, Path(folder))
        return True
    except target.refusals as e:
        said = e.message if isinstance(e, FlyteBuildError) else str(e)
        visible(said).encode()
        if not said.strip() or len(said) > 20_000:
            raise Crash(f"{type(e).__name__} with a message of {len(said)} characters") from e
        return False
    except Exception as e:
        raise Crash(f"{type(e).__name__}: {str(e)[:300]}") from e
    finally:
        signal.alarm(0)


def fuzz(name: str, first: int, until: Callable[[int], bool]) -> tuple[int, int]:
    """Cases run and taken, from number ``first`` on; raises :class:`Crash` naming the first that crashes."""

    def hangs(*_: object) -> None:
        raise TimeoutError(f"not done after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, hangs)
    number, taken = first, 0
    try:
        while not until(number):
            try:
                taken += one(name, case(name, number))
            except Crash as e:
                raise Crash(f"{name}, case {number}: {e}") from e
            number += 1
    finally:
        signal.signal(signal.SIGALRM, before)
    return number - first, taken


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together (default: 1)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case (default: 0)")
    parser.add_argument("--case", type=int, help="write this case of one target to standard output")
    parser.add_argument("--seeds", action="store_true", help="write the corpus anew")
    asked = parser.parse_args()
    if asked.seeds:
        from .corpus_of import write_corpus

        write_corpus(CORPUS)
        return 0
    if unknown := [name for name in asked.targets if name not in TARGETS]:
        parser.error(f"no target {', '.join(unknown)}")
    if asked.case is not None:
        sys.stdout.buffer.write(case(asked.targets[0], asked.case))
        return 0
    names, crashed = asked.targets or list(TARGETS), 0
    for name in names:
        end, first = time.monotonic() + asked.minutes * 60 / len(names), asked.first
        run = taken = crashes = 0
        while time.monotonic() < end:
            try:
                done, good = fuzz(name, first, lambda _, end=end: time.monotonic() > end)
                run, taken = run + done, taken + good
            except Crash as e:
                crashes += 1
                print(visible(str(e)), flush=True)
                number = int(str(e).partition("case ")[2].partition(":")[0])
                run, first = run + number - first + 1, number + 1
        crashed += crashes
        print(json.dumps({"target": name, "cases": run, "taken": taken, "crashes": crashes}))
    return 1 if crashed else 0


if __name__ == "__main__":
    raise SystemExit(main())
