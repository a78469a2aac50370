"""What `run` does first, and what it does without: a first one waits for unpacking, and every one for imports."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from flyte_build.cli.prepared_run import uncollected

_UNTIL = """
import os, sys
from flyte_build.workbench import headstart
def begin(file, task):
    sys.stdout.write(f"{file} {task} {'flyte' in sys.modules}\\n")
    sys.stdout.flush()
    os._exit(0)
headstart.begin = begin
from flyte_build.cli import main
main(["run", "-q", "flow.py", "main", "--n", "1"])
"""
_IMPORTS = """
import sys
import flyte_build.cli.commands.run
from flyte_build.workbench import RunOptions
unwanted = ("httpx", "flyte_build.submit.kubernetes.pod", "flyte_build.planning.checks", "flyte_build.assemble.debian")
print([name for name in unwanted if name in sys.modules])
"""


def python(program: str, cwd: Path) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=True).stdout


def test_unpacking_begins_before_the_sdk_is_imported(tmp_path: Path) -> None:
    assert python(_UNTIL, tmp_path) == "flow.py main False\n"


def test_what_only_other_runs_need_is_not_imported(tmp_path: Path) -> None:
    assert python(_IMPORTS, tmp_path) == "[]\n"


@pytest.mark.parametrize("was", [True, False])
def test_garbage_is_looked_for_afterwards_as_before(was: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if was else gc.disable)()
        meanwhile = None
        with suppress(ZeroDivisionError), uncollected():
            meanwhile = gc.isenabled()
            raise ZeroDivisionError
        assert (meanwhile, gc.isenabled()) == (False, was)
    finally:
        (gc.enable if before else gc.disable)()
