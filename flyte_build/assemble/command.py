"""The assembler as a command: a plan and its artifacts → an OCI image layout, whole or not at all.

``layer`` and ``image`` are the same in steps, for build systems that keep layers themselves (see ``layer_directory``).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import AssembleError
from .image import verbatim_blobs, write_layout
from .layer import LayerResult, layer_artifacts, write_layer
from .layer_directory import join_layers, make_layer, read_layer
from .paths import printable
from .plan import SCHEMA, parse_plan

__all__ = ["main"]

EPILOG = """\
in steps:
  assemble layer SPEC OUT ...           one layer, as a folder
  assemble image PLAN OUT --layer DIR   the image of finished layers

exit codes:
  0  OUT is complete; the digest of the image's manifest, or of the layer, is printed
  2  the command line is wrong
  6  an artifact is missing, or does not have the SHA-256 that the plan says
  8  the plan or an artifact is corrupt, hostile or in conflict with another
  9  a file cannot be read or written
"""


class _Missing(Exception):
    """An artifact that is not there, or is not what the plan says."""


class _BadMap(Exception):
    """The file given with ``--map`` is no map."""


def _map(path: str) -> dict[str, str]:
    with open(path, "rb") as f:
        try:
            found = json.load(f)
        except ValueError as e:
            raise _BadMap(f"{path}: {e}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _BadMap(path)
    return found


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="assemble",
        description="Assemble the image that PLAN describes from local artifacts. Uses no network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(step=None)
    parser.add_argument("plan", metavar="PLAN", help="an image derivation (JSON)")
    parser.add_argument("out", metavar="OUT", help="the folder to make; must not exist, or be empty")
    _artifact_options(parser)
    _ref_option(parser)
    return parser.parse_args(argv)


def _step_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line of one step; its first word is the step's name."""
    parser = argparse.ArgumentParser(prog="assemble")
    steps = parser.add_subparsers(dest="step")
    layer = steps.add_parser("layer", description="Make one layer, as a folder, from local artifacts.")
    layer.add_argument("plan", metavar="SPEC", help="one of a plan's layers (JSON)")
    layer.add_argument("out", metavar="OUT", help="the folder to make; must not exist, or be empty")
    _artifact_options(layer)
    layer.add_argument("--compiled", metavar="FILE", help="of a layer of bytecode: what `compiling.py` wrote")
    image = steps.add_parser("image", description="Make the image that PLAN describes from finished layers.")
    image.add_argument("plan", metavar="PLAN", help="an image derivation (JSON)")
    image.add_argument("out", metavar="OUT", help="the folder to make; must not exist, or be empty")
    image.add_argument("--layer", metavar="DIR", action="append", default=[], help="a finished layer, in any order")
    image.add_argument("--link", action="store_true", help="link to the layers' blobs instead of copying them")
    _ref_option(image)
    return parser.parse_args(argv)


def _artifact_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--artifacts", metavar="DIR", action="append", default=[], help="a folder of artifacts named by their SHA-256"
    )
    parser.add_argument(
        "--artifact", metavar="SHA256=PATH", action="append", default=[], type=_pair, help="where one artifact is"
    )
    parser.add_argument("--map", metavar="FILE", help="a JSON object from SHA-256 to path")


def _ref_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ref", metavar="NAME", help="the image's name in the layout's index")


def _pair(text: str) -> tuple[str, str]:
    sha256, _, path = text.partition("=")
    if not re.fullmatch("[0-9a-f]{64}", sha256) or not path:
        raise argparse.ArgumentTypeError(f"expected SHA256=PATH, found `{text}`")
    return sha256, path


def _locate(plan: Mapping[str, Any], known: Mapping[str, str], folders: Sequence[str]) -> dict[str, str]:
    """SHA-256 → path of all that ``plan`` needs, each file's hash verified."""
    found: dict[str, str] = {}
    for needed in (*(layer_artifacts(layer) for layer in plan["layers"]), verbatim_blobs(plan)):
        for sha256, name in needed.items():
            if sha256 in found:
                continue
            places = [known[sha256]] if sha256 in known else [os.path.join(folder, sha256) for folder in folders]
            path = next((place for place in places if os.path.isfile(place)), None)
            if path is None:
                looked = f"; looked for {', '.join(places)}" if places else ""
                raise _Missing(f"{name}: expected an artifact with SHA-256 {sha256}, found none{looked}")
            with open(path, "rb") as f:
                actual = hashlib.file_digest(f, "sha256").hexdigest()
            if actual != sha256:
                raise _Missing(f"{name}: expected SHA-256 {sha256}, found {actual} in {path}")
            found[sha256] = path
    return found


def _assemble(plan: Mapping[str, Any], artifacts: Mapping[str, str], out: str, ref: str | None) -> str:
    """Make the layout beside ``out`` and move it there when it is complete; returns the manifest's digest."""
    out = os.path.abspath(out)
    if os.path.isdir(out) and os.listdir(out):
        raise FileExistsError(17, "the folder exists and is not empty", out)
    parent, name = os.path.split(out)
    os.makedirs(parent, exist_ok=True)
    made = tempfile.mkdtemp(prefix=f".{name}.", dir=parent)
    try:
        scratch = os.path.join(made, "scratch")
        blobs = os.path.join(made, "layout", "blobs", "sha256")
        os.makedirs(blobs)
        results: list[LayerResult] = []
        for sha256 in verbatim_blobs(plan):
            shutil.copyfile(artifacts[sha256], os.path.join(blobs, sha256))
        for layer in plan["layers"]:
            os.mkdir(scratch)
            partial = os.path.join(made, "blob")
            with open(partial, "wb", buffering=0) as f:
                result = write_layer(layer, artifacts.__getitem__, f, scratch=scratch)
                os.fsync(f.fileno())
            os.replace(partial, os.path.join(blobs, result.digest.removeprefix("sha256:")))
            shutil.rmtree(scratch)
            results.append(result)
            for warning in result.warnings:
                print(printable(f"warning: {warning}"), file=sys.stderr)
        digest = write_layout(os.path.join(made, "layout"), plan, results, ref=ref)
        os.replace(os.path.join(made, "layout"), out)
        return digest
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _run(arguments: argparse.Namespace) -> str:
    """Do what the command line says; returns the digest to print."""
    with open(arguments.plan, "rb") as f:
        data = f.read()
    if arguments.step == "image":
        layers = [read_layer(folder) for folder in arguments.layer]
        plan = parse_plan(data, arguments.plan)
        return join_layers(plan, layers, arguments.out, ref=arguments.ref, link=arguments.link)
    plan = _plan_of_layer(data, arguments.plan) if arguments.step == "layer" else parse_plan(data, arguments.plan)
    known: dict[str, str] = {}
    if arguments.map is not None:
        known.update(_map(arguments.map))
    known.update(arguments.artifact)
    artifacts = _locate(plan, known, arguments.artifacts)
    if arguments.step is None:
        return _assemble(plan, artifacts, arguments.out, arguments.ref)
    made = make_layer(plan["layers"][0], artifacts.__getitem__, arguments.out, arguments.compiled)
    for warning in made.result.warnings:
        print(printable(f"warning: {warning}"), file=sys.stderr)
    return made.result.digest


def _plan_of_layer(data: bytes, name: str) -> dict[str, Any]:
    """A layer's spec, checked as a plan's only layer is; the platform and the rest play no part in its bytes."""
    try:
        spec = json.loads(data)
    except ValueError as e:
        raise AssembleError(f"not JSON: {e}", name) from None
    whole = {"schema": SCHEMA, "platform": "linux/any", "config": {}, "layers": [spec]}
    return parse_plan(json.dumps(whole).encode(), name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = _step_arguments(words) if words[:1] in (["layer"], ["image"]) else _arguments(words)
    try:
        digest = _run(arguments)
    except _Missing as e:
        print(printable(f"error: {e}"), file=sys.stderr)
        return 6
    except AssembleError as e:
        print(printable(f"error: {e}"), file=sys.stderr)
        return 8
    except OSError as e:
        print(printable(f"error: {e.filename or arguments.out}: {e.strerror or e}"), file=sys.stderr)
        return 9
    except _BadMap as e:
        print(printable(f"error: {e}: expected a JSON object from SHA-256 to path"), file=sys.stderr)
        return 2
    print(digest)
    return 0
