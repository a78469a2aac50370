"""``./dev corpus DIR``: see the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .drive import STAGES, as_json, flyte_files, table, try_all
from .generate import generate


def main(arguments: list[str]) -> int:
    """0: every file ended in an outcome that a user can act on; 1: one hung, or was a fault of ours."""
    parser = argparse.ArgumentParser(prog="./dev corpus", description="Try every Flyte file below a folder.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder; nothing is written into it")
    parser.add_argument("--generate", type=int, metavar="N", help="write a corpus of some N projects into DIR first")
    parser.add_argument("--read", action="store_true", help="only read the files and their images: needs no network")
    parser.add_argument("--build", action="store_true", help="also build the images")
    parser.add_argument("--run", action="store_true", help="also run a task of each file that needs no arguments")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="files at one time (default: 2)")
    parser.add_argument(
        "--timeout", type=float, default=300, metavar="S", help="seconds for each command (default: 300)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every outcome there")
    asked = parser.parse_args(arguments)
    folder = asked.folder.absolute()
    if asked.generate:
        generate(folder, asked.generate)
    if not folder.is_dir():
        parser.error(f"{asked.folder}: expected a folder")
    files = flyte_files(folder)
    if not files:
        parser.error(f"{asked.folder}: expected Flyte files, found none")
    stages = [
        s
        for s in STAGES
        if s in STAGES[:3] or (s == "build" and (asked.build or asked.run)) or (s == "run" and asked.run)
    ]
    stages = ["read"] if asked.read else stages
    outcomes = try_all(files, folder, jobs=asked.jobs, stages=stages, timeout=asked.timeout)
    print(table(outcomes))
    if asked.json:
        asked.json.write_text(as_json(outcomes))
    return int(any(o.kind in ("hang", "our fault") for o in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
