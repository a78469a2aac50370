"""More seeds: what registries, caches, bundles, settings and tasks hand over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgpack
from flyteidl2.actions import actions_service_pb2 as actions_pb
from flyteidl2.core import execution_pb2, literals_pb2
from flyteidl2.task import common_pb2
from google.protobuf import json_format
from google.protobuf.message import Message

from flyte_build.assemble.image import image_config, image_manifest
from flyte_build.assemble.layer import LayerResult
from flyte_build.remote.cache_entries import layer_manifest, pack_listing
from flyte_build.store import LayerRealisation, Store
from flyte_build.supply import signature_formats

from ..support.bundles import Site
from ..support.engine import World
from ..support.images import files_layer, image_of, wheel_layer
from .fuzz_documents import IMAGE, library

__all__ = ["more"]

_DIGEST = "sha256:" + "0123456789abcdef" * 4


def more(place: Path, layer: bytes) -> Mapping[str, Mapping[str, bytes]]:
    listing = pack_listing({"opt/venv/lib/a.py": "f 0644 12 0a1b2c3d", "opt/venv/bin/a": "l a 0:0", "opt": "d 0755"})
    made = LayerResult(_DIGEST, 500, _DIGEST, 900, {})
    realised = LayerRealisation(_DIGEST, 500, _DIGEST, 900)
    configuration = image_config(IMAGE.spec, [made])
    return {
        "elf": {"library": library()},
        "status": {"status": _STATUS, "one-line": b"/etc/hostname"},
        "licence": {"metadata": _METADATA, "copyright": _COPYRIGHT},
        "layout": {"layout": _layout()},
        "challenge": {"headers": _HEADERS},
        "realisation": {"layer": layer_manifest(IMAGE.layers[0].hash, realised, listing)},
        "image": {"image": image_manifest(IMAGE.spec, configuration, [made]) + b"\0" + configuration},
        "listing": {"listing": listing},
        "signature": {"simple": _simple(), "bundle": _bundle_of_signatures()},
        "bundle": _bundles(place),
        "settings": {"settings": _SETTINGS},
        "actions": _actions(place),
        "outputs": {"outputs": _outputs()},
        "error": {"error": _error()},
    }


_METADATA = b"""Metadata-Version: 2.4
Name: a
Version: 1
License-Expression: MIT OR (Apache-2.0 AND BSD-3-Clause)
License: MIT
Classifier: License :: OSI Approved :: MIT License
"""
_STATUS = b"""Package: tool
Status: install ok installed
Architecture: amd64
Source: tools (2)
Version: 1:2.0~rc1-1
Depends: libc6 (>= 2.36), a | b:any
Provides: c (= 1)

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
_COPYRIGHT = b"""Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 me
License: GPL-2+ or Artistic, and Expat
 as it says

Files: debian/*
License: BSD-3-clause
"""
_HEADERS = b"""Bearer realm="https://registry.example/token",service="registry",scope="repository:a:pull,push"
Basic realm="a, \\"b\\"", Negotiate dG9rZW42OA==, Digest nonce=abc, qop="auth"
</v2/a/referrers/x?n=5&last=y>; rel="next"
"""
_SETTINGS = b"""[project]
name = "a"

[tool.flyte-build]
file = "main.py"
registry = "registry.example/team"
cache = ["registry.example/cache", "other.example/cache"]
cache-write = true
platforms = ["linux/amd64"]
policy = "refuse"
root = "src"
verify-key = "keys/cosign.pub"
"""


def _layout() -> bytes:
    config = {
        "os": "linux", "architecture": "amd64", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["@layer"]},
        "history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}],
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "@config", "size": "#config"},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "@layer", "size": "#layer"}],
    }
    entry = {
        "mediaType": manifest["mediaType"], "digest": "@manifest", "size": "#manifest",
        "platform": {"os": "linux", "architecture": "amd64"},
        "annotations": {"org.opencontainers.image.ref.name": "a-linux-amd64"},
    }  # fmt: skip
    index = {"schemaVersion": 2, "manifests": [entry]}
    return json.dumps({"layer": "\0" * 1024, "config": config, "manifest": manifest, "index": index}).encode()


def _simple() -> bytes:
    return signature_formats.simple("registry.example/a", _DIGEST) + b"\0" + json.dumps(
        {signature_formats.SIGNATURE: "c2lnbmVk"}
    ).encode()  # fmt: skip


def _bundle_of_signatures() -> bytes:
    return signature_formats.bundle(signature_formats.statement(_DIGEST), b"signed", "a key")


def _bundles(place: Path) -> Mapping[str, bytes]:
    wheels = place / "bundled"
    wheels.mkdir()
    images = [
        image_of("one", [wheel_layer(wheels, "alpha", 200), files_layer(wheels, {"home/flyte/main.py": b"x = 1\n"})])
    ]
    site = Site(Store(place / "bundled-store"), wheels, images)
    site.bundle(place / "whole")
    site.bundle(place / "bare", artifacts=False)
    return {f"{name}-today": (place / name).read_bytes() for name in ("whole", "bare")}


def _actions(place: Path) -> Mapping[str, bytes]:
    world = World(place / "world")
    task = world.task("env.child", "child", "a0", cache_key="key")
    task.group = "map"
    template = task.task.spec.task_template
    template.metadata.retries.retries = 2
    template.metadata.timeout.FromSeconds(30)
    template.container.env.add(key="A", value="b")
    template.container.resources.limits.add(name=1, value="500m")
    template.container.resources.limits.add(name=3, value="1Gi")
    template.security_context.secrets.add(key="token", env_var="TOKEN")
    pod = world.task("env.child", "pod", "a0")
    body = {"containers": [{"name": "primary", "image": "i", "args": ["a0"], "resources": {"limits": {"cpu": "1"}}}]}
    pod.task.spec.task_template.k8s_pod.pod_spec.update(body)
    trace = actions_pb.Action(action_id=world.id("trace"), parent_action_name="a0")
    trace.trace.name = "env.traced"
    trace.trace.outputs.output_uri = "/mnt/flyte/runs/run/meta/trace/outputs.pb"
    trace.trace.start_time.FromSeconds(1)
    condition = actions_pb.Action(action_id=world.id("wait"), parent_action_name="a0")
    condition.condition.name = "approve"
    condition.condition.timeout.FromSeconds(5)
    literal = literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=7)))
    asked: dict[str, tuple[str, Message]] = {
        "task": ("Enqueue", actions_pb.EnqueueRequest(action=task)),
        "pod": ("Enqueue", actions_pb.EnqueueRequest(action=pod)),
        "trace": ("Enqueue", actions_pb.EnqueueRequest(action=trace)),
        "condition": ("Enqueue", actions_pb.EnqueueRequest(action=condition)),
        "abort": ("Abort", actions_pb.AbortRequest(action_id=world.id("a0"), reason="why")),
        "signal": ("Signal", actions_pb.SignalRequest(action_id=world.id("wait"), value=literal)),
        "watch": ("WatchForUpdates", actions_pb.WatchForUpdatesRequest(parent_action_id=world.id("a0"))),
    }
    world.journal.close()
    found = {}
    for name, (method, message) in asked.items():
        found[name] = f"{method} proto\n".encode() + message.SerializeToString(deterministic=True)
        if name in ("task", "signal"):
            said = json.dumps(json_format.MessageToDict(message), sort_keys=True)
            found[f"{name}-json"] = f"{method} json\n{said}".encode()
    return found


def _outputs() -> bytes:
    """A file, a folder, one of another run, one in a dataclass, and plain values."""
    scalars = [
        literals_pb2.Scalar(blob=literals_pb2.Blob(uri="/tmp/file")),
        literals_pb2.Scalar(blob=literals_pb2.Blob(uri="file:///tmp/some")),
        literals_pb2.Scalar(blob=literals_pb2.Blob(uri="/mnt/flyte/runs/other/kept/a0/1/x")),
        literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value="words")),
    ]
    inside = msgpack.packb({"file": {"path": "/tmp/link", "name": None, "format": ""}, "n": [1, 2.5, b"x"]})
    scalars.append(literals_pb2.Scalar(binary=literals_pb2.Binary(tag="msgpack", value=inside)))
    scalars[3].primitive.string_value = "words"
    literals = [literals_pb2.Literal(scalar=scalar) for scalar in scalars]
    nested = literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=literals))
    timed = literals_pb2.Literal()
    timed.scalar.primitive.datetime.FromSeconds(1_700_000_000)
    lasting = literals_pb2.Literal()
    lasting.scalar.primitive.duration.FromSeconds(5)
    found = common_pb2.Outputs()
    for number, literal in enumerate([*literals, nested, timed, lasting]):
        found.literals.append(common_pb2.NamedLiteral(name=f"o{number}", value=literal))
    return found.SerializeToString(deterministic=True)


def _error() -> bytes:
    kinds = execution_pb2.ContainerError
    error = kinds(code="ValueError", message="no such thing\nat all", kind=kinds.RECOVERABLE)
    return execution_pb2.ErrorDocument(error=error).SerializeToString(deterministic=True)
