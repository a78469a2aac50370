"""Locking the example for real: both resolvers, one universe, pins that stay, a cut-off, one package chosen anew."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from flyte_build.kernel.platforms import host_platform
from flyte_build.locks.lockfile import Lock, LockedWheel, read
from tests.support.cli import Cli

from .conftest import ENVIRONMENTS, EXAMPLE, LOCKFILES
from .test_runs import FOLDED, MAIN

pytestmark = pytest.mark.integration

ARGUMENTS = MAIN[1:]


def copy_of_example(folder: Path, *changes: tuple[str, str]) -> Path:
    """The example's main file in a copy below ``folder``, with ``changes`` (old, new) made wherever they apply."""
    shutil.copytree(EXAMPLE.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for source in folder.rglob("*.py"):
        text = source.read_text()
        for old, new in changes:
            text = text.replace(old, new)
        source.write_text(text)
    return folder / "main.py"


def locks(folder: Path) -> dict[str, Lock]:
    found = {name: read(folder, name) for name in ENVIRONMENTS}
    return {name: lock for name, lock in found.items() if lock is not None}


def wheels(lock: Lock) -> dict[str, LockedWheel]:
    return {w.name: w for w in lock.platforms[host_platform()].wheels}


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def fresh(cli: Cli, home: Path) -> Path:
    """Today's locks of the example, made by uv from nothing."""
    folder = home / "fresh"
    report = cli.ok("lock", "--json", "--lockfiles", folder, EXAMPLE).json()
    assert (sorted(report["written"]), report["unchanged"]) == (list(ENVIRONMENTS), [])
    return folder


def test_locks_hold_what_they_should(fresh: Path) -> None:
    made = locks(fresh)
    assert made.keys() == set(ENVIRONMENTS)
    for lock in made.values():
        assert (lock.resolver, lock.apart, lock.cutoff) == ("uv", None, None)
        assert set(lock.platforms) == {"linux/amd64", "linux/arm64"}
        for platform in lock.platforms.values():
            assert platform.suite == "bookworm"
            assert re.fullmatch(r"\d{8}T\d{6}Z", platform.snapshot)
            archives = {d.archive for d in platform.debs}
            assert archives == {"debian", "debian-security"}, "security updates are in"
            assert {"flyte", "python3.11"} <= {x.name for x in [*platform.wheels, *platform.debs]}


def test_one_universe(fresh: Path) -> None:
    """multi_env holds the very artifacts of the two environments it joins, and nothing else."""
    made = locks(fresh)
    fold, msa, multi = (made[name] for name in ENVIRONMENTS)
    for platform in multi.platforms:
        held = {w.name: w.sha256 for w in multi.platforms[platform].wheels}
        parts = [{w.name: w.sha256 for w in lock.platforms[platform].wheels} for lock in (fold, msa)]
        assert held == parts[0] | parts[1]
        assert held["ruff"] == parts[0]["ruff"]
        assert held["pytest"] == parts[1]["pytest"]
        assert "ruff" not in parts[1]
        assert "pytest" not in parts[0]
        assert len({tuple(lock.platforms[platform].debs) for lock in made.values()}) == 1


def test_nothing_changes_where_nothing_changed(cli: Cli, fresh: Path, tmp_path: Path) -> None:
    """A second lock writes no byte; one recipe that changes moves no pin of another, nor of its own."""
    folder = tmp_path / "lockfiles"
    shutil.copytree(fresh, folder)
    before = contents(folder)
    report = cli.ok("lock", "--json", "--lockfiles", folder, EXAMPLE).json()
    assert (report["written"], sorted(report["unchanged"])) == ([], list(ENVIRONMENTS))
    assert contents(folder) == before

    changed = copy_of_example(tmp_path / "af2", ('MSA_PACKAGES = ["pytest"]', 'MSA_PACKAGES = ["pytest", "six"]'))
    report = cli.ok("lock", "--json", "--lockfiles", folder, changed).json()
    assert (sorted(report["written"]), report["unchanged"]) == (["msa_env", "multi_env"], ["fold_env"])
    assert contents(folder)["fold_env.json"] == before["fold_env.json"]
    old, new = locks(fresh), locks(folder)
    for name in ("msa_env", "multi_env"):
        added = wheels(new[name]).keys() - wheels(old[name]).keys()
        assert added == {"six"}
        assert {n: w.sha256 for n, w in wheels(old[name]).items()}.items() <= {
            n: w.sha256 for n, w in wheels(new[name]).items()
        }.items()
        assert new[name].platforms[host_platform()].debs == old[name].platforms[host_platform()].debs


def test_one_package_is_chosen_anew(cli: Cli, fresh: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lockfiles"
    held_back = copy_of_example(tmp_path / "af2", ('FOLD_PACKAGES = ["ruff"]', 'FOLD_PACKAGES = ["ruff<0.17"]'))
    cli.ok("lock", "--lockfiles", folder, held_back)
    before = {name: wheels(lock) for name, lock in locks(folder).items()}
    assert Version(before["fold_env"]["ruff"].version) < Version("0.17")
    assert before["multi_env"]["ruff"] == before["fold_env"]["ruff"]
    # The requirement is lifted, and the pin stays: it is still an answer.
    cli.ok("lock", "--lockfiles", folder, EXAMPLE)
    assert {name: wheels(lock) for name, lock in locks(folder).items()} == before
    unchanged = contents(folder)["msa_env.json"]

    cli.ok("lock", "--lockfiles", folder, "--upgrade-package", "ruff", EXAMPLE)
    after = {name: wheels(lock) for name, lock in locks(folder).items()}
    newest = wheels(locks(fresh)["fold_env"])["ruff"]
    assert after["fold_env"]["ruff"] == after["multi_env"]["ruff"] == newest
    for name in ENVIRONMENTS:
        assert {n for n in after[name] if after[name][n] != before[name][n]} <= {"ruff"}
    assert contents(folder)["msa_env.json"] == unchanged


def test_a_cut_off(cli: Cli, tmp_path: Path) -> None:
    """What was the newest at an instant that is past stays it for ever."""
    (tmp_path / "cool.py").write_text(
        "import flyte\n"
        "base = flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False)\n"
        "env = flyte.TaskEnvironment('cool', image=base.with_pip_packages('ruff'))\n"
    )
    command = ("lock", "--lockfiles", tmp_path / "lockfiles", tmp_path / "cool.py")
    cli.ok(*command, "--exclude-newer", "2026-06-01")
    lock = read(tmp_path / "lockfiles", "cool")
    assert lock is not None
    assert {n: w.version for n, w in wheels(lock).items()} == {"ruff": "0.15.15"}
    assert lock.cutoff == "2026-06-01T23:59:59Z"
    # It holds until it is changed or dropped.
    before = contents(tmp_path / "lockfiles")
    cli.ok(*command)
    assert contents(tmp_path / "lockfiles") == before
    said = cli.ok(*command, "--upgrade")
    lock = read(tmp_path / "lockfiles", "cool")
    assert lock is not None
    assert lock.cutoff is None
    assert Version(wheels(lock)["ruff"].version) > Version("0.15.15")
    assert "the cut-off 2026-06-01T23:59:59Z no longer holds" in said.out + said.err


def test_both_resolvers_lock_the_same_packages(cli: Cli, tmp_path: Path) -> None:
    """pip-tools resolves for the machine and the Python that it runs on, so that is what is asked for."""
    if sys.version_info[:2] not in ((3, 11), (3, 13)):
        pytest.skip("no image has this Python")
    wanted = f"python_version={sys.version_info[:2]}"
    asked = ("python_version=(3, 11)", f'{wanted}, platform=("{host_platform()}",)')
    example = copy_of_example(tmp_path / "af2", asked)
    made = {}
    for resolver in ("uv", "pip-tools"):
        folder = tmp_path / resolver
        cli.ok("lock", "--lockfiles", folder, "--resolver", resolver, example)
        made[resolver] = locks(folder)
        assert {lock.resolver for lock in made[resolver].values()} == {resolver}
    for name in ENVIRONMENTS:
        assert made["uv"][name].platforms == made["pip-tools"][name].platforms
    refused = cli("lock", "--lockfiles", tmp_path / "none", "--resolver", "pip-tools", EXAMPLE)
    assert refused.code == 7
    assert "pip-tools" in refused.err
    assert not (tmp_path / "none").exists()


# -- commands that need locks --------------------------------------------------------------------------


def test_without_any_lock_a_run_makes_them_and_says_so(cli: Cli, tmp_path: Path) -> None:
    copy = copy_of_example(tmp_path / "af2")
    refused = cli("run", "--locked", copy, *ARGUMENTS)
    assert refused.code == 4
    assert "fold_env: no lock" in refused.err
    assert "flyte-build lock" in refused.err
    assert list(copy.parent.glob("lockfiles/*")) == []

    done = cli.ok("run", copy, *ARGUMENTS)
    assert json.loads(done.out)[:2] == FOLDED[:2]
    assert "no lock yet" in done.err
    made = sorted((copy.parent / "lockfiles").iterdir())
    assert [p.name for p in made] == ["fold_env.json", "msa_env.json", "multi_env.json"]
    assert cli.ok("lock", "--check", copy).code == 0


def test_a_stale_lock_says_what_changed(cli: Cli, tmp_path: Path) -> None:
    copy = copy_of_example(tmp_path / "af2", ('FOLD_PACKAGES = ["ruff"]', 'FOLD_PACKAGES = ["ruff", "iniconfig"]'))
    shutil.copytree(LOCKFILES, copy.parent / "lockfiles")
    before = {p.name: p.read_bytes() for p in (copy.parent / "lockfiles").iterdir()}
    for command in (("plan", copy), ("build", copy), ("run", copy, *ARGUMENTS), ("lock", "--check", copy)):
        done = cli(*command)
        assert done.code == 4, command
        assert "fold_env: step 1 (pip), requirements: +iniconfig" in done.err
        assert "multi_env: step 1 (pip), requirements: +iniconfig" in done.err
        assert "msa_env:" not in done.err
        assert "flyte-build lock" in done.err
    assert {p.name: p.read_bytes() for p in (copy.parent / "lockfiles").iterdir()} == before
