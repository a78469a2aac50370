"""The README, followed on a bare Debian machine that has Python and git: one command sets up and runs the example."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.support.machine import Machine, bare_machine

from .conftest import ROOT
from .test_runs import FOLDED

pytestmark = pytest.mark.integration


def commands() -> tuple[str, str]:
    """The two commands of the README: the example's, and the tests'."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    first, second = (block.strip() for block in blocks[:2])
    return first, second


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("machine")
    folder.chmod(0o755)
    yield bare_machine(folder / "root", ["ca-certificates", "git", "python3"])
    shutil.rmtree(folder, ignore_errors=True)


def test_the_readme_says_two_commands() -> None:
    assert commands() == (
        "./dev flyte-build run examples/af2/main.py main --sequence AAGGTTCCAA",
        "./dev test",
    )


@pytest.mark.parametrize("user", ["root", "dev"])
def test_one_command_on_a_bare_machine(machine: Machine, user: str) -> None:
    code, _, _ = machine.run("python3 -c 'import ensurepip'")
    assert code, "Debian's Python comes without pip and ensurepip"
    assert machine.run("command -v bwrap || command -v docker || command -v pip")[0]
    checkout = machine.clone(ROOT, user)
    code, out, err = machine.run(commands()[0], user=user, cwd=checkout)
    assert code == 0, err
    assert json.loads(out) == FOLDED
    assert "dev: setting up .venv with Python 3.11" in err
    assert "3 of 3 images to build" in err

    # Again: nothing is set up, nothing is built.
    code, out, err = machine.run(commands()[0], user=user, cwd=checkout)
    assert (code, json.loads(out)) == (0, FOLDED), err
    assert "setting up" not in err
    assert "nothing to build" in err
    # The other command runs the tests: a few of them, for the time that all take.
    some = "tests/laws/test_law_2_structure.py tests/laws/test_law_3_pure_bytes.py tests/store"
    code, out, err = machine.run(f"{commands()[1]} -q {some}", user=user, cwd=checkout)
    assert code == 0, out + err
    status = machine.run("git status --porcelain", user=user, cwd=checkout)
    assert status == (0, "", "")


def test_setting_up_leaves_nothing_behind_and_says_what_is_missing(machine: Machine) -> None:
    checkout = machine.clone(ROOT, "root", "again")
    code, out, err = machine.run("./dev flyte-build --version && ls -A /tmp", cwd=checkout)
    assert (code, len(out.splitlines())) == (0, 1), out + err
    few = "mkdir /tmp/bin && cd /tmp/bin && ln -s /usr/bin/cat /usr/bin/cksum /usr/bin/dirname /bin/sh ."
    code, _, err = machine.run(f"({few}) && rm -r .venv && PATH=/tmp/bin ./dev setup", cwd=checkout)
    assert code == 1
    assert "expected Python 3.11 or newer" in err
    assert "apt-get install python3" in err
