"""What holds for every test, which of them run, and in which order.

Without ``--all`` the fast ones run: neither ``integration`` nor ``slow``. A file that is named runs with its slow
ones, and ``-m`` chooses for itself. Tests run beside each other, one process a core, unless some are named.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.going_on import gone_on, times

# A property is true or false, and never late.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).parents[1]
# A file system in memory, and what has to be free of it (bytes); nothing of a test that passed is kept.
MEMORY, ROOM = "/dev/shm", 4 << 30
# Files and folders whose tests take seconds each.
SLOW = (
    "tests/cli/test_bad_artifact.py",
    "tests/cli/test_bad_machine.py",
    "tests/cli/test_bad_solution.py",
    "tests/cli/test_builds_elsewhere.py",
    "tests/cli/test_checked_elsewhere.py",
    "tests/cli/test_configured_packages.py",
    "tests/cli/test_dockerfiles.py",
    "tests/cli/test_added.py",
    "tests/cli/test_onbuild.py",
    "tests/cli/test_export.py::test_pip_installs",
    "tests/cli/test_interrupted.py",
    "tests/cli/test_lent.py",
    "tests/cli/test_located_files.py",
    "tests/cli/test_outputs.py",
    "tests/cli/test_poetry.py",
    "tests/cli/test_sealed.py",
    "tests/cli/test_signed_run.py",
    "tests/cli/test_source_builds.py",
    "tests/cli/test_source_trees.py",
    "tests/cli/test_threaded.py",
    "tests/cli/test_verify_registry.py",
    "tests/equality/test_one_digest.py::test_any_image",
    "tests/hostile/test_fuzz.py",
    "tests/hostile/test_nothing_left.py",
    "tests/hostile/test_odd_machines.py",
    "tests/hostile/test_swapped_bytes.py",
    "tests/locking/test_pypi_resolvers.py",
    "tests/locking/test_uv_builds.py",
    "tests/locking/test_uv_projects.py",
    "tests/planning/checks/test_calls_against_execution.py",
    "tests/plugin/contract/",
    "tests/registry/test_any_faults.py",
    "tests/sealing/test_copies.py",
    "tests/sealing/test_limits.py",
    "tests/submit/kubernetes/test_many.py",
    "tests/submit/test_resolving.py::test_what_is_gone",
    "tests/test_benchmarks.py",
    "tests/test_ci_recipe.py",
    "tests/workbench/test_bench.py::test_a_notebook",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("flyte-build")
    group.addoption("--all", action="store_true", help="the slow tests and those with real tools, too")
    group.addoption("--shuffle", type=int, metavar="SEED", help="run files, and the tests of each, in a random order")


def pytest_configure(config: pytest.Config) -> None:
    """The fast tests write to memory where there is room: a third of their time was files made, synced and removed."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores interrupts, and so would every command that a test interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(OSError):
        if not (config.option.all or config.option.markexpr) and shutil.disk_usage(MEMORY).free > ROOM:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A part runs at once; all others on every core, and one more while others wait for a disk or a child."""
    return 0 if _named(config) else (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SLOW):
            item.add_marker("slow")
    if not (config.option.all or config.option.markexpr):
        _only_fast(config, items)
    if config.option.shuffle is not None:
        _shuffle(items, random.Random(config.option.shuffle))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not read it again and again."""
    gc.collect()
    gc.freeze()


def _named(config: pytest.Config) -> set[Path]:
    """The files and folders that the command line names; none where it names no part of the tests."""
    places = {(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args}
    return places - {ROOT, ROOT / "tests"}


def _only_fast(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = _named(config)
    chosen: list[pytest.Item] = []
    rest: list[pytest.Item] = []
    for item in items:
        integration, slow = (item.get_closest_marker(name) is not None for name in ("integration", "slow"))
        (rest if integration or (slow and item.path not in named) else chosen).append(item)
    items[:] = chosen
    if rest:
        config.hook.pytest_deselected(items=rest)


def _shuffle(items: list[pytest.Item], chance: random.Random) -> None:
    files = [list(tests) for _, tests in groupby(items, lambda item: item.path)]
    chance.shuffle(files)
    for tests in files:
        chance.shuffle(tests)
    items[:] = [item for tests in files for item in tests]


@pytest.fixture(autouse=True)
def _as_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test imports from a user's file is forgotten after it, and the environment is as it was."""
    path, variables, folder = list(sys.path), dict(os.environ), Path.cwd()
    yield
    below = f"{tmp_path_factory.getbasetemp()}{os.sep}"
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__dict__", {}).get("__file__")).startswith(below):
            del sys.modules[name]
    sys.path[:] = path
    if os.environ != variables:
        for name in os.environ.keys() - variables.keys() - {"PYTEST_CURRENT_TEST"}:
            del os.environ[name]
        os.environ.update({k: v for k, v in variables.items() if k != "PYTEST_CURRENT_TEST"})
    os.chdir(folder)


@pytest.fixture(scope="module", autouse=True)
def _nothing_goes_on() -> Iterator[None]:
    """What the tests of files before this one left behind does nothing any more."""
    before = times()
    yield
    busy = gone_on(before)
    assert not busy, f"threads of tests in other files, which ran before, still work: {', '.join(busy)}"
