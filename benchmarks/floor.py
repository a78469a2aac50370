"""What of an action is the SDK's own: its runtime by itself, with no sandbox, service or launcher of ours around it.

``python -m benchmarks.floor cold COUNT`` runs the stock ``a0`` that often, one after the other, for a task that returns
a number and calls nothing; ``replica COUNT`` is one process in which ``run_task`` of the runtime for reused containers
does the same that often. Both log errors only, as runs do. What the difference of two counts takes is the least that an
action can take in a process of its own, and in a replica, where another calls it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["main"]

TASK = """
import flyte

env = flyte.TaskEnvironment(name="floor")


@env.task
async def one(x: int) -> int:
    return 2 * x
"""
RESOLVER = "flyte._internal.resolvers.default.DefaultTaskResolver"
LOADER = ("mod", "floor_task", "instance", "one")
NOWHERE = "http://127.0.0.1:1"  # nothing is asked of it


def _inputs(folder: Path) -> Path:
    from flyteidl2.core import literals_pb2
    from flyteidl2.task import common_pb2

    integer = literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=7))
    named = common_pb2.NamedLiteral(name="x", value=literals_pb2.Literal(scalar=integer))
    path = folder / "inputs.pb"
    path.write_bytes(common_pb2.Inputs(literals=[named]).SerializeToString())
    return path


def _cold(folder: Path, count: int) -> None:
    script = Path(sys.executable).with_name("a0")
    for number in range(count):
        out = folder / str(number)
        out.mkdir()
        given = {
            "--inputs": folder / "inputs.pb", "--outputs-path": out, "--version": "0", "--run-base-dir": folder,
            "--run-name": "r", "--name": "a0", "--org": "o", "--project": "p", "--domain": "d",
            "--raw-data-path": out, "--checkpoint-path": out, "--prev-checkpoint": out, "--resolver": RESOLVER,
        }  # fmt: skip
        words = [str(word) for pair in given.items() for word in pair]
        subprocess.run([script, *words, *LOADER], cwd=folder, check=True, capture_output=True)


async def _replica(folder: Path, count: int) -> None:
    from flyte._internal.runtime import rusty

    sys.path.insert(0, str(folder))
    controller = await rusty.create_controller(endpoint=NOWHERE, insecure=True)
    task = rusty.load_task_from_code_bundle(RESOLVER, list(LOADER))
    for number in range(count):
        out = folder / str(number)
        out.mkdir()
        given: dict[str, Any] = dict.fromkeys(("raw_data_path", "checkpoint_path", "prev_checkpoint"), str(out))
        await rusty.run_task(
            task=task, controller=controller, org="o", project="p", domain="d", run_name="r", name=f"a{number}",
            output_path=str(out), run_base_dir=str(folder), version="0", input_path=str(folder / "inputs.pb"), **given,
        )  # fmt: skip


def main(what: str, count: int) -> None:
    """Raises what the runtime raises, and where it gave no outputs."""
    os.environ |= {
        "LOG_LEVEL": "ERROR", "_U_EP_OVERRIDE": NOWHERE, "_U_INSECURE": "true", "_U_USE_ACTIONS": "1",
        "FSSPEC_FILE_AUTO_MKDIR": "1",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "floor_task.py").write_text(TASK)
        _inputs(folder)
        if what == "cold":
            _cold(folder, count)
        else:
            asyncio.run(_replica(folder, count))
        if len(list(folder.glob("*/outputs.pb"))) != count:
            raise SystemExit("the runtime gave no outputs")
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os._exit(0)  # its controller's thread has nothing to end for


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
