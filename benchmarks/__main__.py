"""``python -m benchmarks [NAMES…]``: run benchmarks, print what they say, and keep it as JSON where asked.

``python -m benchmarks picture`` measures nothing: it draws what is kept in ``results/``, see ``picture.py``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flyte_build.kernel.errors import FlyteBuildError

from . import machine
from .context import Context, default_cache
from .report import Case, as_json, as_text

NAMES = ("layers", "images", "noop", "closure", "memory", "push")
# Measured where they are named only.
ALSO = ("actions", "bytecode", "first", "locking", "service", "sharing")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    if arguments.names == ["picture"]:
        from .picture import main as draw

        return draw()
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    cache = (arguments.cache or default_cache()).absolute()
    cache.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    found: dict[str, list[Case]] = {}
    others: dict[str, float] = {}
    failed = False
    described = {**machine.describe(), "file_system": machine.file_system(cache)}
    print("machine", *machine.lines(described), sep="\n", flush=True)
    try:
        context = Context(cache, scratch, rounds, arguments.quick, not arguments.no_peers)
        for name in arguments.names or NAMES:
            print(f"\n{name} (median of {rounds}; least to most)", flush=True)
            found[name] = []
            with machine.busy_elsewhere() as share:
                failed |= not _run(name, context, found[name])
            others[name] = share[0]
            print(f"  other work took {share[0]:.0%} of the processors meanwhile", flush=True)
            if arguments.json is not None:
                report = as_json({**described, "busy_elsewhere": others}, arguments.quick, rounds, found)
                arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 1 if failed else 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which ones (default: all): {', '.join(NAMES)}; and {', '.join(ALSO)}",
    )
    parser.add_argument("--quick", action="store_true", help="small synthetic wheels, one round: to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="our side alone; with --quick needs no network")
    parser.add_argument("--rounds", type=int, help="how often each side is measured (default: 5; with --quick 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    parser.add_argument("--cache", type=Path, help="where wheels and artifacts are kept between runs")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in (*NAMES, *ALSO) and arguments.names != ["picture"]:
            parser.error(f"no benchmark `{name}`; there are: {', '.join((*NAMES, *ALSO))}")
    return arguments


def _run(name: str, context: Context, found: list[Case]) -> bool:
    """Add a benchmark's cases to ``found``; one that cannot be measured is said, and the others still run."""
    try:
        for case in importlib.import_module(f"{__package__}.{name}").cases(context):
            found.append(case)
            print(*as_text(case), "", sep="\n", flush=True)
    except (RuntimeError, OSError, FlyteBuildError) as e:
        first, _, rest = str(e).partition("\n")
        found.append(Case(name, [], skipped=f"not measured: {first}"))
        print(*as_text(found[-1]), sep="\n", flush=True)
        print(rest, file=sys.stderr, flush=True)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
