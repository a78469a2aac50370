"""``./dev docs``: the site of the documentation, made in ``build/site`` and served here; ``build``: only made."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .compose import ROOT, compose

__all__ = ["build"]


def build(folder: Path) -> tuple[int, str]:
    """Makes the site in ``folder/site`` of pages in ``folder/site-source``; the exit code, and what was said."""
    source = folder / "site-source"
    compose(source)
    # Every link and anchor that leads nowhere is a warning, and a warning is an error.
    said = ["-q", "-W", "--keep-going", "-E", "-c", str(Path(__file__).parent), "-b", "html"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *said, str(source), str(folder / "site")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.replace(f"{source}/", "")


def main() -> int:
    code, said = build(ROOT / "build")
    sys.stderr.write(said)
    site = ROOT / "build" / "site"
    if code or sys.argv[1:] == ["build"]:
        print(f"{'failed' if code else 'built'}: {site}/index.html")
        return code
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(site))) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/ until Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
