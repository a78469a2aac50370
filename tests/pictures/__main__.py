"""``./dev pictures``: the README's pictures of a plan and of a run, made of real output. Needs chromium for the run.

The plan is of `examples/monorepo` in an empty store; the run is of `examples/af2`, with this user's images. Where the
checkout lies is left out of the page.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from flyte_build.kernel.paths import cache_dir
from tests.support.cli import Cli

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
_WINDOW = "1280,300"


def draw_plan(cli: Cli, target: Path) -> None:
    cli.ok("plan", ROOT / "examples" / "monorepo" / "main.py", "--graph", target, cwd=ROOT)


def draw_run(cli: Cli, folder: Path, target: Path) -> None:
    page = folder / "run.html"
    cli = replace(cli, variables={"FLYTE_BUILD_CACHE": str(cache_dir())})
    cli.ok("run", "--page", page, ROOT / "examples" / "af2" / "main.py", "main", "--sequence", "AAGGTTCCAA", cwd=ROOT)
    page.write_text(page.read_text(encoding="utf-8").replace(f"{ROOT}/", ""), encoding="utf-8")
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("expected chromium, which shows the page, found none (`apt install chromium`)")
    flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking"
    subprocess.run(
        [
            chromium, *flags.split(), f"--user-data-dir={folder / 'profile'}", f"--window-size={_WINDOW}",
            "--virtual-time-budget=5000", f"--screenshot={target}", page.as_uri(),
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip


def main() -> None:
    wanted = sys.argv[1:] or ["plan", "run"]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        cli = replace(Cli(folder), variables={"NO_COLOR": "1"})
        if "plan" in wanted:
            draw_plan(cli, IMAGES / "plan.svg")
        if "run" in wanted:
            draw_run(cli, folder, IMAGES / "run.png")
    for path in sorted(IMAGES.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    main()
