"""Programs in the shapes of the public examples give here what they give in the SDK's local mode, and what is written.

All are called by one task of one run. A run of its own has the first of them, and each where
``FLYTE_BUILD_TEST_PROGRAMS=each`` asks for it: that takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flyteidl2.task import common_pb2

from flyte_build.submit.action import Phase, RootAction
from flyte_build.submit.observer import Collector
from flyte_build.submit.run import RunRequest, RunResult, execute
from tests.support.flyte_files import dry_run, host_image

from .programs import Program, modules, parsed, write
from .programs_calls import CALLS
from .programs_errors import ERRORS
from .programs_files import FILES
from .programs_values import VALUES

PROGRAMS = (*VALUES, *FILES, *CALLS, *ERRORS)
EACH = os.environ.get("FLYTE_BUILD_TEST_PROGRAMS") == "each"

LOCAL = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import flyte
import every
flyte.init(root_dir=pathlib.Path(sys.argv[1]))
found = flyte.with_runcontext(mode="local").run(every.every, at_once=4).outputs()
pathlib.Path(sys.argv[2]).write_text(json.dumps(found[0]))
"""


class World:
    """The programs in a folder, and an image for each of their environments that borrows this machine's files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "programs"
        write(PROGRAMS, self.programs)
        self.image = host_image(folder / "images", f"sha256:{7:064x}")
        self.environments = {*(p.name for p in PROGRAMS), "every", "two_environments_low", "variables_named"}

    def run(self, name: str, root: RootAction) -> RunResult:
        images = dict.fromkeys(self.environments, self.image.digest)
        request = RunRequest(
            name, self.folder / "runs", root, images, lambda _: self.image, self.folder / "cache", cpu=4
        )
        return execute(request, Collector())

    def root(self, module: str, **inputs: object) -> RootAction:
        return dry_run(self.programs, module, "every" if module == "every" else "main", self.folder / module, **inputs)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def here(world: World) -> dict[str, str]:
    """What each gives in a run here."""
    result = world.run("all", world.root("every", at_once=6))
    assert result.phase is Phase.SUCCEEDED, result.error
    return {k: v.scalar.primitive.string_value for k, v in _output(result).map.literals.items()}


@pytest.fixture(scope="module")
def locally(world: World) -> dict[str, str]:
    """What each gives in the SDK's local mode."""
    out = world.folder / "local.json"
    words = [sys.executable, "-c", LOCAL, str(world.programs), str(out)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLYTE_")} | {"HOME": str(world.folder)}
    done = subprocess.run(words, cwd=world.folder, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(out.read_text())
    return found


def _output(result: RunResult) -> Any:
    assert result.outputs is not None, result.error
    (named,) = common_pb2.Outputs.FromString(result.outputs).literals
    return named.value


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    assert len({p.name for p in PROGRAMS}) == len(PROGRAMS) >= 60
    assert all(name.isidentifier() and name not in sys.stdlib_module_names for name in modules(PROGRAMS))


def test_the_page_has_all_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "parity.md").read_text(encoding="utf-8")
    assert [p.name for p in PROGRAMS if f"`{p.name}`" not in page] == []
    assert f"has {len(PROGRAMS)} small programs" in page


def test_a_program_is_read_with_what_it_gives() -> None:
    assert parsed("\n#: a -> 1 | 2\nx\n\n#: b -> c\ny\n") == (Program("a", "x\n", "1", "2"), Program("b", "y\n", "c"))


@pytest.mark.integration
def test_here_each_gives_what_is_written(here: dict[str, str]) -> None:
    assert here == {p.name: p.gives for p in PROGRAMS}


@pytest.mark.integration
def test_in_local_mode_each_gives_the_same_but_for_what_is_written(
    here: dict[str, str], locally: dict[str, str]
) -> None:
    assert locally == here | {p.name: p.local for p in PROGRAMS if p.local is not None}


@pytest.mark.integration
@pytest.mark.parametrize("program", PROGRAMS if EACH else PROGRAMS[:1], ids=lambda p: p.name)
def test_in_a_run_of_its_own_each_gives_the_same(world: World, program: Program) -> None:
    result = world.run(program.name, world.root(program.name))
    if program.name == "an_error_ends_it":
        assert result.error is not None
        assert result.error.code == "KeyError"
    else:
        assert _output(result).scalar.primitive.string_value == program.gives
