"""Bytecode that another process borrows: the same, and whatever becomes of that process."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from flyte_build.submit.lending import MARK
from tests.submit.oci import Made, image

VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
# In a process of its own, for it forks: a layer that has a module of the runtime's, and one that has none.
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from flyte_build.submit.lender import lender
from flyte_build.submit.roots import Roots

store, digest, kill = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "kill"
told = []
with lender() as borrow:
    def asked(layer, locks):
        if kill:
            children = Path("/proc/self/task", str(os.getpid()), "children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
        told.append(borrow(layer, locks))
        return told[-1]
    Roots(store, store / "blobs", borrow=asked).get(digest, anything=True)
print(json.dumps(sorted(len(made) if made is not None else -1 for made in told)))
"""


def _borrowed(store: Path, how: str) -> tuple[str, list[str]]:
    stdlib = Path(sysconfig.get_path("stdlib"))
    # Compiled by whoever imported it, which is this process.
    source = (stdlib / "inspect.py").read_bytes()
    layers = [[Made(f"usr/lib/{VERSION}/inspect.py", source)], [Made("etc/nothing", b"1\n")]]
    digest = image(store / "blobs", layers, env=["PATH=/bin"])
    words = [sys.executable, "-c", PROGRAM, str(store), digest, how]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    root = store / "roots" / digest[7:]
    return done.stdout.strip(), sorted(str(p.relative_to(root)) for p in root.rglob("*.pyc"))


def test_it_is_what_this_process_would_borrow(tmp_path: Path) -> None:
    import inspect  # noqa: F401 - there is bytecode of it

    told, there = _borrowed(tmp_path, "")
    assert told == "[-1, 1]"
    assert there == [f"usr/lib/{VERSION}/__pycache__/inspect.{sys.implementation.cache_tag}.pyc"]
    assert len(list((tmp_path / "layers").glob(f"*.{MARK}"))) == 1


def test_where_it_was_killed_this_process_does_it(tmp_path: Path) -> None:
    told, there = _borrowed(tmp_path, "kill")
    assert told == "[-1, 1]"
    assert there == [f"usr/lib/{VERSION}/__pycache__/inspect.{sys.implementation.cache_tag}.pyc"]
