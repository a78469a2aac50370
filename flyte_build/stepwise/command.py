"""The steps as commands: arguments in, one line or an error out, and an exit code for each way to fail."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..assemble.errors import AssembleError
from ..assemble.layer_directory import read_layer
from ..kernel.errors import FlyteBuildError, InputError
from ..locks.lockfile import Lock, parse
from . import steps

__all__ = ["main"]

EPILOG = """\
exit codes: 0 done; otherwise as `flyte-build --help` lists them
(2 usage, 4 lock, 7 refused, 8 artifact, 9 files, 15 pin)
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="stepwise", description="An image from its lock, in steps. Uses no network.", epilog=EPILOG
    )
    commands = parser.add_subparsers(dest="command", required=True)
    files = commands.add_parser("files", help="make the layer of one copy step")
    image = commands.add_parser("image", help="join finished layers to the image")
    check = commands.add_parser("check", help="hold an image against the lock's pin")
    for command in (files, image, check):
        command.add_argument("lock", metavar="LOCK", type=Path, help="lockfiles/<environment>.json")
        command.add_argument("platform", metavar="PLATFORM", help="linux/amd64 or linux/arm64")
    files.add_argument("step", metavar="STEP", type=int, help="the step's index in the recipe")
    files.add_argument("out", metavar="OUT", type=Path, help="the folder to make; must not exist")
    files.add_argument("--root", metavar="DIR", type=Path, required=True, help="the project's root")
    files.add_argument("--follows-links", action="store_true", help="files stand in the place of links to them")
    image.add_argument("out", metavar="OUT", type=Path, help="the folder to make; must not exist")
    image.add_argument("--layer", metavar="DIR", action="append", default=[], help="a finished layer, in any order")
    image.add_argument("--files", metavar="STEP=DIR", action="append", default=[], type=_step, help="a copy step's")
    image.add_argument("--link", action="store_true", help="link to the layers' blobs instead of copying them")
    check.add_argument("layout", metavar="LAYOUT", type=Path, help="an OCI image layout that `image` made")
    check.add_argument("--out", metavar="FILE", type=Path, help="also write what is printed to this file")
    return parser.parse_args(argv)


def _step(text: str) -> tuple[int, str]:
    step, _, folder = text.partition("=")
    if not step.isdecimal() or not folder:
        raise argparse.ArgumentTypeError(f"expected STEP=DIR, found `{text}`")
    return int(step), folder


def _lock(path: Path, platform: str) -> Lock:
    lock = parse(path.read_text(encoding="utf-8"), path)
    if platform not in lock.platforms:
        raise InputError(f"{path}: expected a lock with {platform}, found one for {', '.join(lock.platforms)}")
    return lock


def _run(arguments: argparse.Namespace) -> str:
    lock, platform = _lock(arguments.lock, arguments.platform), arguments.platform
    if arguments.command == "files":
        follows = arguments.follows_links
        made = steps.files_layer(lock, platform, arguments.step, arguments.root, arguments.out, follows_links=follows)
        return made.result.digest
    if arguments.command == "check":
        found = steps.check_pin(lock, platform, arguments.layout)
        if arguments.out is not None:
            arguments.out.write_text(found + "\n", encoding="utf-8")
        return found
    layers = [read_layer(folder) for folder in arguments.layer]
    files = {step: read_layer(folder) for step, folder in arguments.files}
    return steps.image(lock, platform, layers, files, arguments.out, link=arguments.link)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _arguments(argv)
    try:
        print(_run(arguments))
        return 0
    except FlyteBuildError as e:
        print(f"error: {e.message}" + (f"\n{e.hint}" if e.hint else ""), file=sys.stderr)
        return e.exit_code
    except AssembleError as e:
        print(f"error: {e}", file=sys.stderr)
        return 8
    except OSError as e:
        print(f"error: {e.filename}: {e.strerror or e}", file=sys.stderr)
        return 9
