"""``python -m benchmarks [NAMES…]``: run benchmarks, print what they say, and keep it as JSON where asked."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import machine
from .context import Context, default_cache
from .report import Case, as_json, as_text

NAMES = ("layers", "images", "noop", "closure", "memory", "push")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (default: all): {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="small synthetic wheels, one round, no network, no peer")
    parser.add_argument("--rounds", type=int, help="how often each side is measured (default: 5; with --quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--cache", type=Path, help="where wheels and artifacts are kept between runs")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"no benchmark `{name}`; there are: {', '.join(NAMES)}")
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    cache = (arguments.cache or default_cache()).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    found: dict[str, list[Case]] = {}
    described = machine.describe()
    print("machine", *machine.lines(described), sep="\n", flush=True)
    try:
        context = Context(cache, scratch, rounds, arguments.quick)
        for name in arguments.names or NAMES:
            print(f"\n{name} (median of {rounds}; least to most)", flush=True)
            found[name] = []
            for case in importlib.import_module(f"{__package__}.{name}").cases(context):
                found[name].append(case)
                print(*as_text(case), "", sep="\n", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if arguments.json is not None:
        report = as_json(described, arguments.quick, rounds, found)
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
