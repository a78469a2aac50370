"""(k) Imports in a fresh container: with layers of bytecode, with what Python compiles itself, and with none.

One image with pandas and scikit-learn, made with ``bytecode = "layer"``, in three roots: as it is; with the files that
``compileall`` makes in its place; without any. What is timed is told by the interpreter inside: its processor time from
its start to the last import. Needs the network. With ``--quick`` the same of a synthetic package by this Python,
without an image.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from flyte_build.assemble import compiling
from flyte_build.store import Store
from flyte_build.submit.roots import Roots
from flyte_build.submit.sandbox.engines import available, init_mount, popen
from flyte_build.submit.sandbox.spec import Engine, Mount, Sandbox, Tmpfs

from .context import CLI, Context
from .measure import Sample, command, in_turns
from .report import Case, Ratio

__all__ = ["cases"]

GOAL = 1.05
LAYERS, OWN, NONE = "layers of bytecode", "compileall", "no bytecode"
_TITLE = "importing pandas and scikit-learn in a fresh container"
_TOLD = "import time; {}; print(time.process_time())"
_FILE = """
import flyte

image = flyte.Image.from_debian_base(platform=("linux/amd64",)).with_pip_packages("pandas", "scikit-learn")
env = flyte.TaskEnvironment("science", image=image)
"""
_COMPILE = (
    "-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", "/usr/lib/python3.11", "/opt/venv/lib"
)  # fmt: skip


def cases(context: Context) -> Iterator[Case]:
    if context.quick:
        yield _synthetic(context)
    elif not available():
        yield Case(_TITLE, [], skipped="not measured: neither bwrap nor unshare is on PATH")
    else:
        yield _science(context)


def _compared(title: str, rounds: int, sides: dict[str, Callable[[], Sample]], facts: dict[str, object]) -> Case:
    series = in_turns(rounds, sides)
    cpu = {s.label: s.cpu for s in series}
    ratios = [
        Ratio("processor time ÷ compileall's", cpu[LAYERS] / cpu[OWN], GOAL),
        Ratio("without ÷ compileall's", cpu[NONE] / cpu[OWN]),
    ]
    return Case(title, series, ratios, facts)


# -- an image ------------------------------------------------------------------------------------------


def _science(context: Context) -> Case:
    project, cache = context.fresh("project"), context.cache / "store"
    (project / "main.py").write_text(_FILE)
    env = {"FLYTE_BUILD_CACHE": str(cache), "FLYTE_BUILD_STATE": str(context.fresh("state"))}
    command((*CLI, "lock", "main.py"), env=env, cwd=project)
    command((*CLI, "build", "main.py"), env=env, cwd=project)
    (project / "pyproject.toml").write_text('[tool.flyte-build]\nbytecode = "layer"\n')
    command((*CLI, "lock", "main.py"), env=env, cwd=project)
    store = Store(cache)
    for path in _bytecode_of(store):
        path.unlink(missing_ok=True)
    made = command((*CLI, "build", "main.py", "--json"), env=env, cwd=project)
    (image,) = json.loads(made.output)["images"]
    sizes = _sizes(store, image["digest"])
    (engine, *_) = available()
    roots = context.fresh("roots")
    asis = Roots(roots, store.oci / "blobs" / "sha256").get(image["digest"])
    trees = {LAYERS: asis.root, OWN: roots / "own", NONE: roots / "none"}
    for label in (OWN, NONE):
        shutil.copytree(asis.root, trees[label], symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    started = time.monotonic()
    _inside(engine, trees[OWN], asis.python, *_COMPILE, writable=trees[OWN])
    own = time.monotonic() - started
    facts: dict[str, object] = {
        "layers": f"{sizes[0] / 1e6:.1f} MB, of which bytecode {sizes[1] / 1e6:.1f}",
        "making them": f"{made.wall:.1f} s, {made.cpu:.1f} s of processor time; compileall {own:.1f} s",
    }

    def side(tree: Path) -> Callable[[], Sample]:
        told = _TOLD.format("import pandas, sklearn.linear_model")
        return lambda: _timed(lambda: _inside(engine, tree, asis.python, "-c", told))

    return _compared(_TITLE, context.rounds, {label: side(tree) for label, tree in trees.items()}, facts)


def _bytecode_of(store: Store) -> list[Path]:
    """What the store knows of layers of bytecode of the last run: they are to be made again."""
    found = []
    for path in store.realisations.glob("*.derivation"):
        record = json.loads(zlib.decompress(path.read_bytes()))
        rows = zip(record["layers"], record["spec"]["layers"], strict=True)
        hashes = [row["hash"].removeprefix("sha256:") for row, spec in rows if spec["kind"] == "bytecode"]
        found += [store.realisations / f"{name}.json" for name in hashes]
        found += [path.with_suffix(".json")] if hashes else []
    return found


def _sizes(store: Store, digest: str) -> tuple[int, int]:
    """Bytes of all layers, and of those of bytecode."""
    blobs = store.oci / "blobs" / "sha256"
    document = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    config = json.loads((blobs / document["config"]["digest"].removeprefix("sha256:")).read_bytes())
    every = [row["size"] for row in document["layers"]]
    titles = [row["created_by"] for row in config["history"]]
    return sum(every), sum(s for s, t in zip(every, titles, strict=True) if ": bytecode of " in t)


def _inside(engine: Engine, root: Path, python: str, *words: str, writable: Path | None = None) -> str:
    """What the image's Python prints in a sandbox of its own; raises ``RuntimeError`` where it fails."""
    folders = ("usr/lib/python3.11", "opt/venv/lib")
    mounts = [Mount(writable / f, f"/{f}", writable=True) for f in folders] if writable is not None else []
    box = Sandbox(root, python, (init_mount(), *mounts), (Tmpfs("/run"), Tmpfs("/dev/shm")), network="none")
    header = {"argv": [python, *words], "env": {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}, "cwd": "/"}
    if writable is not None:
        del header["env"]["PYTHONDONTWRITEBYTECODE"]  # type: ignore[attr-defined]
    with popen(engine, box, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(header).encode() + b"\n")
        child.stdin.flush()
        said = child.stdout.read().decode()
        if child.wait() not in (0, 1 if writable is not None else 0):
            raise RuntimeError(f"{words}: the image's Python failed")
    return said


def _timed(run: Callable[[], str]) -> Sample:
    started = time.perf_counter()
    said = run()
    return Sample(time.perf_counter() - started, float(said), 0, said)


# -- a synthetic package -------------------------------------------------------------------------------


def _synthetic(context: Context) -> Case:
    folder = context.fresh("bytecode")
    source = "".join(
        f"def f{n}(x, y={n}):\n    return [x, 'text {n}', ('a', {n}), x in {{1, 'b'}}]\n" for n in range(300)
    )
    trees = {label: folder / label.replace(" ", "-") for label in (LAYERS, OWN, NONE)}
    for tree in trees.values():
        tree.mkdir()
        for number in range(10):
            (tree / f"m{number}.py").write_text(source)
    cache = trees[LAYERS] / "__pycache__"
    cache.mkdir()
    for path in sorted(trees[LAYERS].glob("*.py")):
        made = compiling.bytecode(path.read_bytes(), str(path))
        assert made is not None
        (cache / f"{path.stem}.{sys.implementation.cache_tag}.pyc").write_bytes(made)
    own = (sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(trees[OWN]))
    subprocess.run(own, check=True)
    imports = ", ".join(f"m{number}" for number in range(10))

    def side(tree: Path) -> Callable[[], Sample]:
        told = _TOLD.format(f"import sys; sys.path.insert(0, {str(tree)!r}); import {imports}")
        return lambda: _timed(lambda: command((sys.executable, "-I", "-S", "-B", "-c", told)).output)

    return _compared("importing a synthetic package", context.rounds, {k: side(t) for k, t in trees.items()}, {})
