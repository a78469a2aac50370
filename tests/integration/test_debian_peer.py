"""Debian in an image beside Debian installed: the same commands give the same answers, and the trees differ in what a
table of ``docs/debian.md`` explains. And what dpkg makes is the same with another clock, other ids and file system.

Takes minutes a group of packages, so that ``FLYTE_BUILD_TEST_PEER`` names which: ``java tex``, or ``all``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.platforms import host_platform
from tests.support import elsewhen
from tests.support.cli import Cli
from tests.support.daemons import shell
from tests.support.debian_peer import SECONDS, ask, bootstrap, grown, installed
from tests.support.peer_groups import FILES, GROUPS, OWN, Group
from tests.support.tools import lacking, need, need_root
from tests.support.trees import differences, owned, rows, unexplained

pytestmark = pytest.mark.integration

CHOSEN = os.environ.get("FLYTE_BUILD_TEST_PEER", "").split()
PAGE, HEADING = Path(__file__).parents[2] / "docs" / "debian.md", "What differs"
FLOW = """\
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False, platform=("linux/amd64",))
image = image.with_apt_packages({packages}){more}
env = flyte.TaskEnvironment("peer", image=image)


@env.task
def main() -> None: ...
"""
# LuaTeX draws its hashes' seed from the clock: its formats come out otherwise each time, and `lock` says so.
UNSTEADY = frozenset({"tex"})


def written(packages: Sequence[str], folder: Path, more: str = "") -> Path:
    """A project's file whose image has ``packages``, and ``more`` steps."""
    folder.mkdir(parents=True)
    (folder / "flow.py").write_text(FLOW.format(packages=", ".join(map(repr, packages)), more=more))
    return folder / "flow.py"


def sealed(cli: Cli, flow: Path) -> list[dict[str, Any]]:
    """Lock the project, in a folder of locks beside its file: the lock's seals."""
    locks = flow.parent / "lockfiles"
    locks.mkdir()
    cli.ok("lock", flow, "--lockfiles", locks)
    seals: list[dict[str, Any]] = json.loads((locks / "peer.json").read_text())["platforms"]["linux/amd64"]["seals"]
    return seals


def unpacked(cli: Cli, flow: Path) -> Path:
    """The tree of the image of a locked project."""
    layout, image = flow.parent / "oci", flow.parent / "image"
    cli.ok("build", flow, "--lockfiles", flow.parent / "lockfiles", "--no-check", "--output", f"oci:{layout}")
    shell(need("umoci"), "raw", "unpack", "--image", f"{layout}:peer-linux-amd64", image)
    return image


def otherwise(image: Path, peer: Path, group: Group, files: Path) -> list[str]:
    """The commands that do not answer alike in both, or not as they should, with what they say."""
    found = []
    for command, part in group.questions:
        ours, theirs = ask(image, command, files), ask(peer, command, files)
        if ours != theirs or part not in ours or not ours.endswith("exit code 0\n"):
            found.append(f"$ {command}\n{ours}--- and in the peer (expected in both: {part!r})\n{theirs}")
    return found


def not_on_the_page(image: Path, peer: Path) -> list[str]:
    """The differences that no row of the page's table explains."""
    table = rows(PAGE.read_text(), HEADING)
    left, _ = unexplained(differences(image, peer), table, owned(image, peer))
    return [f"{one.kind} {one.path}: {one.what}" for one in left]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    need_root("a Debian of its own")
    folder = tmp_path_factory.mktemp("peer") / "base"
    bootstrap(folder, "bookworm")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    if host_platform() != "linux/amd64":
        lacking("programs of linux/amd64 are run, and this machine is another")
    home = tmp_path_factory.mktemp("peer-home")
    yield Cli(home, seconds=SECONDS)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with a cache in memory, whose steps see another clock, other ids and one processor."""
    need_root("ids of one's choice")
    folder = tmp_path_factory.mktemp("peer-clock")
    home = Path(tempfile.mkdtemp(prefix="flyte-build-peer-", dir="/dev/shm"))
    home.chmod(0o755)
    wrapper = (sys.executable, "-P", elsewhen.__file__, str(elsewhen.clock(folder)))
    yield Cli(home, wrapper=wrapper, variables={"PYTHONPATH": str(PAGE.parents[1])}, seconds=SECONDS)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def seals(here: Cli, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, dict[str, Any]]]:
    """The project of a group by its name, locked once, and its seal."""
    known: dict[str, tuple[Path, dict[str, Any]]] = {}

    def of(name: str) -> tuple[Path, dict[str, Any]]:
        if name not in known:
            flow = written(GROUPS[name].packages, tmp_path_factory.mktemp("peer-group") / name)
            (seal,) = sealed(here, flow)
            known[name] = flow, seal
        return known[name]

    return of


def asked(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not {name, "all"} & set(CHOSEN), reason=f"FLYTE_BUILD_TEST_PEER does not name {name}")


each_group = pytest.mark.parametrize("name", [pytest.param(name, marks=asked(name)) for name in GROUPS])


@each_group
def test_it_answers_as_debian_does(name: str, base: Path, here: Cli, seals: Callable[..., Any], tmp_path: Path) -> None:
    group, files, peer = GROUPS[name], tmp_path / "files", tmp_path / "peer"
    files.mkdir()
    for file, text in FILES.items():
        (files / file).write_text(text)
    flow, _ = seals(name)
    try:
        image = unpacked(here, flow)
        grown(base, peer, [*OWN, *group.packages])
        ours, theirs = installed(image), installed(peer)
        assert {n: v for n, v in ours.items() if theirs.get(n, v) != v} == {}
        assert not {*group.packages, *OWN} - ours.keys()
        assert otherwise(image, peer, group, files) == []
        assert not_on_the_page(image, peer) == []
    finally:
        for tree in (peer, flow.parent / "image", flow.parent / "oci"):
            shutil.rmtree(tree, ignore_errors=True)


@each_group
def test_it_is_the_same_bytes_elsewhere(name: str, elsewhere: Cli, seals: Callable[..., Any], tmp_path: Path) -> None:
    _, mine = seals(name)
    (other,) = sealed(elsewhere, written(GROUPS[name].packages, tmp_path / "theirs"))
    steady = name not in UNSTEADY
    assert (mine["reproducible"], other["reproducible"]) == (steady, steady)
    assert mine["on"] == other["on"]
    assert (mine["digest"] == other["digest"]) == steady


@pytest.mark.skipif(not CHOSEN, reason="FLYTE_BUILD_TEST_PEER names nothing")
def test_elsewhere_is_elsewhere(elsewhere: Cli, tmp_path: Path) -> None:
    """What the test above depends on: a step there sees what is otherwise."""
    alone = replace(elsewhere, home=elsewhere.home / "alone")
    says = "date -u +%Y-%m; head -n 1 /proc/self/uid_map; nproc"
    sealed(alone, written(OWN, tmp_path / "theirs", f".with_commands([{says!r}])"))
    (log,) = (alone.home / "state" / "sealed").glob("peer-*.log")
    said = log.read_text()
    then = time.time() + elsewhen.AHEAD
    assert any(time.strftime("%Y-%m", time.gmtime(at)) in said for at in (then, then - 3600))
    assert re.search(rf"^ +0 +{elsewhen.FIRST} +65536$", said, re.MULTILINE)
    assert re.search(r"^1$", said, re.MULTILINE)
