"""The assembler as a command: a plan and its artifacts → an OCI image layout, whole or not at all."""

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
from .image import write_layout
from .layer import LayerResult, layer_artifacts, write_layer
from .plan import parse_plan

__all__ = ["main"]

EPILOG = """\
exit codes:
  0  OUT is a complete OCI image layout; the manifest's digest is printed
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
    parser.add_argument("plan", metavar="PLAN", help="an image derivation (JSON)")
    parser.add_argument("out", metavar="OUT", help="the folder to make; must not exist, or be empty")
    parser.add_argument(
        "--artifacts", metavar="DIR", action="append", default=[], help="a folder of artifacts named by their SHA-256"
    )
    parser.add_argument(
        "--artifact", metavar="SHA256=PATH", action="append", default=[], type=_pair, help="where one artifact is"
    )
    parser.add_argument("--map", metavar="FILE", help="a JSON object from SHA-256 to path")
    parser.add_argument("--ref", metavar="NAME", help="the image's name in the layout's index")
    return parser.parse_args(argv)


def _pair(text: str) -> tuple[str, str]:
    sha256, _, path = text.partition("=")
    if not re.fullmatch("[0-9a-f]{64}", sha256) or not path:
        raise argparse.ArgumentTypeError(f"expected SHA256=PATH, found `{text}`")
    return sha256, path


def _locate(plan: Mapping[str, Any], known: Mapping[str, str], folders: Sequence[str]) -> dict[str, str]:
    """SHA-256 → path of all that ``plan`` needs, each file's hash verified."""
    found: dict[str, str] = {}
    for layer in plan["layers"]:
        for sha256, name in layer_artifacts(layer).items():
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
                print(f"warning: {warning}", file=sys.stderr)
        digest = write_layout(os.path.join(made, "layout"), plan, results, ref=ref)
        os.replace(os.path.join(made, "layout"), out)
        return digest
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _arguments(argv)
    try:
        known: dict[str, str] = {}
        if arguments.map is not None:
            known.update(_map(arguments.map))
        known.update(arguments.artifact)
        with open(arguments.plan, "rb") as f:
            plan = parse_plan(f.read(), arguments.plan)
        digest = _assemble(plan, _locate(plan, known, arguments.artifacts), arguments.out, arguments.ref)
    except _Missing as e:
        print(f"error: {e}", file=sys.stderr)
        return 6
    except AssembleError as e:
        print(f"error: {e}", file=sys.stderr)
        return 8
    except OSError as e:
        print(f"error: {e.filename or arguments.out}: {e.strerror or e}", file=sys.stderr)
        return 9
    except _BadMap as e:
        print(f"error: {e}: expected a JSON object from SHA-256 to path", file=sys.stderr)
        return 2
    print(digest)
    return 0
