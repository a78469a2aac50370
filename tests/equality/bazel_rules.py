"""``rules/bazel/grouping.bzl`` in a Starlark interpreter: what Bazel computes before it builds, without Bazel."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte_build.kernel.canonical import Json
from tests.support.tools import lacking

if TYPE_CHECKING:
    from starlark import FrozenModule

__all__ = ["copies", "image_layers"]

RULES = Path(__file__).parents[2] / "rules"
# What crosses into Starlark and back is JSON, as in the rules, where locks are decoded with json.decode.
_ENTRY = """
def for_test_layers(lock, platform, layout):
    found = image_layers(whole(json.decode(lock)), platform, json.decode(layout))
    return json.encode([[layer.spec, layer.artifacts] for layer in found])

def for_test_copies(lock):
    return json.encode(copies(json.decode(lock)))
"""


@functools.cache
def _module() -> FrozenModule:
    try:
        import starlark
    except ImportError:
        lacking("starlark-pyo3 is not installed (it has no wheel for this Python)")
    built_in = starlark.Globals.extended_by([starlark.LibraryExtension.StructType, starlark.LibraryExtension.Json])
    file = RULES / "bazel" / "grouping.bzl"
    text = file.read_text(encoding="utf-8") + _ENTRY
    module = starlark.Module()
    starlark.eval(module, starlark.parse(file.name, text, starlark.Dialect.standard()), built_in)
    return module.freeze()


def image_layers(lock: Mapping[str, Json], platform: str) -> list[tuple[dict[str, Any], list[str]]]:
    """Each layer's spec, and the SHA-256 of each of its artifacts."""
    layout = (RULES / "layout.json").read_text(encoding="utf-8")
    found = json.loads(str(_module().call("for_test_layers", json.dumps(lock), platform, layout)))
    return [(spec, [row["sha256"] for row in artifacts]) for spec, artifacts in found]


def copies(lock: Mapping[str, Json]) -> list[int]:
    """The indexes of the recipe's steps that copy local files."""
    found: list[int] = json.loads(str(_module().call("for_test_copies", json.dumps(lock))))
    return found
