"""A registry base as a lock holds it: which image it is, its layers, its configuration, and what was found inside.

Content by digest, as everywhere in a lock; the repository is named besides, because an image's name is part of what the
user asked for, and its layers are mounted from there (law 1). What was found (``facts``) was read once, off the layers
themselves, so that nothing after locking has to look into them. Values and their JSON; reads no registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..kernel.canonical import Json
from ..kernel.values import dataclass
from .reading import DIGEST, Reader

__all__ = ["BaseFacts", "Distribution", "LockedBase", "LockedBlob", "LockedLayer", "base_json", "parse_base"]

_DIGEST = "sha256: and 64 hexadecimal digits"

# Docker's schema 2 media types and what the same bytes are called in an OCI manifest (image-spec v1.1, media-types.md).
_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": _TAR,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{_TAR}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{_TAR}+zstd",
    **{f"{_TAR}{end}": f"{_TAR}{end}" for end in ("", "+gzip", "+zstd")},
}


@dataclass(frozen=True, slots=True)
class LockedBlob:
    """A manifest or a configuration: OCI descriptor without annotations, ``size`` in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class LockedLayer:
    """One layer of a base, lowest first. ``media_type`` is the registry's own word for it, ``size`` in bytes."""

    media_type: str
    digest: str
    size: int
    diff_id: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """A Python distribution in the base (normalised name). ``paths``: what has to go for it to be uninstalled, relative
    to the root; empty where nothing of ours lies over it."""

    name: str
    version: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What is in a base. Paths are absolute, ``None`` is *not there*.

    ``python``: the interpreter, without symlinks, and ``python_full`` its version (``3.12.4``); ``venv``: an
    environment that is there already; ``glibc`` such as ``2.36``; ``certificates``: the CA bundle; ``system``:
    ``ID`` and ``VERSION_CODENAME`` of os-release(5); ``uid``, ``gid`` of the configuration's user, ``None`` where the
    base does not know that name; ``flyte``: those of the user ``flyte``; ``accounts``: passwd(5) and group(5) as they
    are, where there is no such user; ``merged``: whether ``/bin`` and its like are links into ``/usr``; ``plain``:
    whether all folders on the way to the environment's packages (or to where a new one would be) are root's, 0755;
    ``folders``: those that a copied file may go into; ``modules``: the top-level Python modules that the interpreter
    finds; ``debs``: ``name version architecture`` of dpkg's database, ``None`` without one.
    """

    python: str | None = None
    python_full: str | None = None
    venv: str | None = None
    glibc: str | None = None
    certificates: str | None = None
    system: str | None = None
    uid: int | None = None
    gid: int | None = None
    flyte: tuple[int, int] | None = None
    accounts: tuple[str, str] | None = None
    merged: bool = False
    plain: bool = True
    folders: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    debs: tuple[str, ...] | None = None
    distributions: tuple[Distribution, ...] = ()

    @property
    def minor(self) -> str | None:
        """The interpreter's ``X.Y``."""
        return ".".join(self.python_full.split(".")[:2]) if self.python_full is not None else None

    def to_json(self) -> dict[str, Json]:
        return {
            "python": self.python,
            "python_full": self.python_full,
            "venv": self.venv,
            "glibc": self.glibc,
            "certificates": self.certificates,
            "system": self.system,
            "uid": self.uid,
            "gid": self.gid,
            "flyte": list(self.flyte) if self.flyte is not None else None,
            "accounts": list(self.accounts) if self.accounts is not None else None,
            "merged": self.merged,
            "plain": self.plain,
            "folders": list(self.folders),
            "modules": list(self.modules),
            "debs": list(self.debs) if self.debs is not None else None,
            "distributions": [
                {"name": d.name, "version": d.version, "paths": list(d.paths)} for d in self.distributions
            ],
        }


@dataclass(frozen=True, slots=True)
class LockedBase:
    """``reference`` is what the recipe names, in full, with the digest of this platform's manifest:
    ``host/repository:tag@sha256:…``. ``index``: the digest of the index that the name leads to, where it is one.

    ``settings`` is the ``config`` object of the image's configuration (image-spec v1.1, config.md), ``history`` its
    history. ``facts`` is ``None`` for an image that is used as it is and could not be read.
    """

    reference: str
    index: str | None
    manifest: LockedBlob
    config: LockedBlob
    layers: tuple[LockedLayer, ...]
    settings: Mapping[str, Json]
    history: tuple[Mapping[str, Json], ...] = ()
    facts: BaseFacts | None = None

    @property
    def name(self) -> str:
        """``host/repository:tag``, as it goes into ``org.opencontainers.image.base.name``."""
        return self.reference.partition("@")[0]

    @property
    def repository(self) -> str:
        """``host/repository``: where the blobs are mounted from."""
        head, _, last = self.name.rpartition("/")
        return f"{head}/{last.partition(':')[0]}"

    @property
    def pinned(self) -> str:
        """``host/repository@sha256:…``, by the index where there is one: for every platform."""
        return f"{self.repository}@{self.index or self.manifest.digest}"


def base_json(base: LockedBase) -> dict[str, Json]:
    """The JSON object of a lock; layers, history and distributions are rows of their own."""
    return {
        "reference": base.reference,
        "index": base.index,
        "manifest": _blob(base.manifest),
        "config": _blob(base.config),
        "layers": [
            {"media_type": x.media_type, "digest": x.digest, "size": x.size, "diff_id": x.diff_id} for x in base.layers
        ],
        "settings": dict(base.settings),
        "history": [dict(row) for row in base.history],
        "facts": base.facts.to_json() if base.facts is not None else None,
    }


def _blob(blob: LockedBlob) -> dict[str, Json]:
    return {"media_type": blob.media_type, "digest": blob.digest, "size": blob.size}


def parse_base(r: Reader, raw: object, where: str) -> LockedBase:
    """The base in a lock; raises :class:`~flyte_build.kernel.errors.LockError` naming place and expectation."""
    if not isinstance(raw, dict):
        raise r.fail(where, "an object", raw)
    r.known(raw, {"reference", "index", "manifest", "config", "layers", "settings", "history", "facts"}, where)
    reference = r.get(raw, "reference", str, where)
    manifest = _parse_blob(r, raw, "manifest", where)
    if reference.partition("@")[2] != manifest.digest:
        raise r.fail(f"{where}.reference", f"a reference that ends in @{manifest.digest}", reference)
    layers = []
    for i, row in enumerate(r.get(raw, "layers", list, where)):
        at = f"{where}.layers[{i}]"
        blob = _parse_blob(r, {"": row}, "", at, also={"diff_id"})
        diff_id = r.matching(row, "diff_id", DIGEST, _DIGEST, at)
        layers.append(LockedLayer(blob.media_type, blob.digest, blob.size, diff_id))
    history = r.get(raw, "history", list, where)
    facts = r.get(raw, "facts", (dict, type(None)), where)
    return LockedBase(
        reference=reference,
        index=r.matching(raw, "index", DIGEST, _DIGEST, where) if raw.get("index") is not None else None,
        manifest=manifest,
        config=_parse_blob(r, raw, "config", where),
        layers=tuple(layers),
        settings=cast("dict[str, Json]", r.get(raw, "settings", dict, where)),
        history=tuple(row for row in history if isinstance(row, dict)),
        facts=parse_facts(r, facts, f"{where}.facts") if facts is not None else None,
    )


def _parse_blob(
    r: Reader, raw: Mapping[str, Any], key: str, where: str, also: set[str] | frozenset[str] = frozenset()
) -> LockedBlob:
    at = f"{where}.{key}" if key else where
    value = raw.get(key)
    if not isinstance(value, dict):
        raise r.fail(at, "an object", value)
    r.known(value, {"media_type", "digest", "size", *also}, at)
    digest = r.matching(value, "digest", DIGEST, _DIGEST, at)
    return LockedBlob(r.get(value, "media_type", str, at), digest, r.size(value, at))


def parse_facts(r: Reader, raw: Mapping[str, Any], where: str) -> BaseFacts:
    """What :meth:`BaseFacts.to_json` wrote."""
    r.known(raw, set(BaseFacts.__dataclass_fields__), where)
    texts: dict[str, Any] = {
        key: r.get(raw, key, (str, type(None)), where)
        for key in ("python", "python_full", "venv", "glibc", "certificates", "system")
    }
    pairs: dict[str, Any] = {key: r.get(raw, key, (list, type(None)), where) for key in ("flyte", "accounts")}
    for key, kind in (("flyte", int), ("accounts", str)):
        if pairs[key] is not None and [type(x) for x in pairs[key]] != [kind, kind]:
            raise r.fail(f"{where}.{key}", f"two {kind.__name__}", pairs[key])
    debs = r.get(raw, "debs", (list, type(None)), where)
    distributions = []
    for i, row in enumerate(r.get(raw, "distributions", list, where)):
        at = f"{where}.distributions[{i}]"
        if not isinstance(row, dict):
            raise r.fail(at, "an object", row)
        name, version = (r.get(row, key, str, at) for key in ("name", "version"))
        distributions.append(Distribution(name, version, tuple(map(str, r.get(row, "paths", list, at)))))
    texts |= {key: r.get(raw, key, (int, type(None)), where) for key in ("uid", "gid")}
    texts |= {key: tuple(pair) if pair is not None else None for key, pair in pairs.items()}
    return BaseFacts(
        **texts,
        merged=r.get(raw, "merged", bool, where),
        plain=r.get(raw, "plain", bool, where),
        folders=tuple(map(str, r.get(raw, "folders", list, where))),
        modules=tuple(map(str, r.get(raw, "modules", list, where))),
        debs=tuple(map(str, debs)) if debs is not None else None,
        distributions=tuple(distributions),
    )
