"""The Nix language groups artifacts into layers as the derivation does: committed locks, and any lock at all."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte_build.assemble.layer_directory import derivation
from flyte_build.deriving.conda import LARGE_PACKAGE
from flyte_build.deriving.derivation import LARGE_WHEEL, MAX_LAYERS, derive
from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.deriving.sealed import question
from flyte_build.exporting.nixstore import store_name, store_path
from flyte_build.locks.lockfile import parse, read
from flyte_build.locks.nouns import Lock, LockedDeb, LockedSeal
from flyte_build.locks.seals import EMPTY
from flyte_build.recipe import AptInstall, CondaInstall, CondaPackage, CopyFiles, PipInstall, RegistryBase, RunCommands
from flyte_build.sources.mirrors import _day_after
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, sha, wheel
from tests.support.tools import need

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rules" / "nix"


def evaluate(expression: str, **values: object) -> Any:
    """The value of an expression of the Nix language, with ``values`` (JSON) as variables; no store is touched."""
    with tempfile.TemporaryDirectory() as folder:
        bound = ""
        for name, value in values.items():
            path = Path(folder) / f"{name}.json"
            path.write_text(json.dumps(value))
            bound += f"{name} = builtins.fromJSON (builtins.readFile {path}); "
        told = subprocess.run(
            [need("nix-instantiate", "nix-bin"), "--eval", "--strict", "--json", "--read-write-mode", "-E", "-"],
            input=f"let {bound} in {expression}",
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": folder, "NIX_STATE_DIR": f"{folder}/state", "NIX_STORE_DIR": f"{folder}/store", "PATH": ""},
            timeout=120,
        )
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def grouped(locks: Sequence[Lock]) -> list[dict[str, list[tuple[str, list[str]]]]]:
    """For each lock, by platform, its layers as Nix has them: derivation, and SHA-256 of the artifacts."""
    each = f"builtins.mapAttrs (p: _: import {RULES}/layers.nix lock p) lock.platforms"
    expression = f"map (stated: let lock = import {RULES}/lock.nix stated; in {each}) locks"
    found = evaluate(expression, locks=[lock.to_json() for lock in locks])
    return [
        {
            p: [(derivation(x["spec"]), [a["sha256"] for a in x["artifacts"]]) for x in layers]
            for p, layers in one.items()
        }
        for one in found
    ]


def derived(lock: Lock) -> dict[str, list[tuple[str, list[str]]]]:
    """The same, as the derivation has them; layers of local files and working directories are not Nix's business."""
    recipe = recorded_recipe(lock)
    files = {i: [] for i, step in enumerate(recipe.steps) if isinstance(step, CopyFiles)}
    return {
        p: [
            (layer.hash, [a.sha256 for a in layer.artifacts])
            for layer in derive(lock, recipe, p, files).layers
            if layer.kind != "files"
        ]
        for p in lock.platforms
    }


def test_committed_locks() -> None:
    paths = sorted(p for p in ROOT.glob("**/lockfiles/*.json"))
    locks = [lock for p in paths if (lock := read(p.parent, p.stem)) is not None]
    locks = [lock for lock in locks if all(x.base is None for x in lock.platforms.values())]
    assert len(locks) > 40
    assert grouped(locks) == [derived(lock) for lock in locks]


names = st.text("abcdefgh0123456789-", min_size=1, max_size=5).map(lambda n: f"p{n}")
sizes = st.sampled_from([1, 1000, LARGE_WHEEL - 1, LARGE_WHEEL, LARGE_WHEEL + 1, 1 << 24, 1 << 33])
wheels = st.lists(
    st.builds(lambda n, step, size: wheel(n, step=step, size=size), names, st.integers(0, 12), sizes),
    max_size=30,
    unique_by=lambda w: w.name,
)
debs = st.lists(
    st.builds(lambda n, base: deb(n, base=base), names, st.booleans()), max_size=8, unique_by=lambda d: d.name
)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    copies = [CopyFiles(f"s{i}", "/srv/", True) for i in range(draw(st.integers(0, 3)))]
    python = draw(st.sampled_from(["3.11", "3.12", "3.13"]))
    recipe = recipe_of(AptInstall(("git",)), *copies, PipInstall(("a", "ü")), python=python)
    ceiling = draw(st.sampled_from([None, None, 1 << 24, 10**9]))
    recipe = dataclasses.replace(recipe, layer_ceiling=ceiling, bytecode=ceiling is None and draw(st.booleans()))
    held = draw(wheels)
    if ceiling is not None:
        # Engines take 125 layers, and an image of more is refused.
        large = [w for w in held if ceiling < w.size < 20 * ceiling][:3]
        held = [w for w in held if w.size <= ceiling or w in large]
    own = [deb(f"python{python}", "3.11.2-6+deb12u9")] if draw(st.booleans()) else []
    return lock_of(recipe, held, [*draw(debs), *own])


@settings(max_examples=15, deadline=None)
@given(st.lists(locks(), min_size=1, max_size=6))
def test_any_lock(some: list[Lock]) -> None:
    assert grouped(some) == [derived(lock) for lock in some]


def test_where_layers_are_short() -> None:
    """More large wheels than layers: those that stay alone are the largest, and of equal size the first by name."""
    every = [wheel(f"w{i:03}", size=LARGE_WHEEL + i // 3, step=1 + i % 4) for i in range(130)]
    lock = lock_of(recipe_of("a", CopyFiles("x", "/srv/", True)), every)
    assert grouped([lock]) == [derived(lock)]
    # The copied files are one more; room for a layer of packages asked for is kept, and there are none.
    assert len(derived(lock)[AMD64]) == MAX_LAYERS - 2


def with_a_seal(diff_id: str = "sha256:" + "d" * 64) -> Lock:
    """A lock whose sealed step lies between two steps of wheels."""
    recipe = recipe_of("a", RunCommands(("make",)), "b")
    lock = lock_of(recipe, [wheel("a"), wheel("b", step=2)])
    below = [layer.hash for layer in derive(lock, recipe, AMD64, below=1).layers]
    on = question("env", recipe, lock.platforms[AMD64], AMD64, 1, below).on
    seal = LockedSeal(1, on, "none", "sha256:" + "c" * 64, 7, diff_id, True)
    return dataclasses.replace(lock, platforms={AMD64: dataclasses.replace(lock.platforms[AMD64], seals=(seal,))})


def test_a_sealed_layer_is_taken_by_its_digest() -> None:
    lock = with_a_seal()
    ((found),) = grouped([lock])
    assert sorted(found[AMD64]) == sorted(derived(lock)[AMD64])
    assert [used for _, used in found[AMD64]][-1] == ["c" * 64]


def test_a_step_that_changed_nothing_has_no_layer() -> None:
    lock = with_a_seal(EMPTY)
    ((found),) = grouped([lock])
    assert sorted(found[AMD64]) == sorted(derived(lock)[AMD64])
    assert not [used for _, used in found[AMD64] if used == ["c" * 64]]


def with_conda(packages: int = 40) -> Lock:
    """A lock with an environment of conda packages, more of them large than may have a layer of their own."""
    rows = tuple(
        CondaPackage(f"c{i:02}", "1", "h0", "linux-64", f"c{i:02}-1-h0.conda", LARGE_PACKAGE - 5 + i // 2, sha(str(i)))
        for i in range(packages)
    )
    step = CondaInstall("pixi.toml", "pixi.lock", "default", "/opt/pixi-project/.pixi/envs/default", "3.13", "sha256:0")
    every = [wheel(f"w{i:03}", size=LARGE_WHEEL + i // 3) for i in range(130)]
    lock = lock_of(recipe_of(step, "a", flyte=None), every)
    return dataclasses.replace(lock, platforms={AMD64: dataclasses.replace(lock.platforms[AMD64], conda=rows)})


def test_conda_packages_and_what_is_installed_among_them() -> None:
    for lock in (with_conda(), with_conda(3)):
        assert grouped([lock]) == [derived(lock)]
    kinds = [layer.kind for layer in derive(with_conda(), recorded_recipe(with_conda()), AMD64).layers]
    assert kinds.count("conda") == 17


def test_a_registry_base_is_refused_by_name() -> None:
    recipe = dataclasses.replace(recipe_of("a"), base=RegistryBase("registry.example/a:1"))
    with pytest.raises(AssertionError, match="the lock of env: its base is an image of a registry"):
        grouped([lock_of(recipe, [wheel("a")])])


def test_names_in_the_store() -> None:
    files = [
        "a-1.0+cu124-py3-none-any.whl",
        "ca-certificates_20250419~deb12u2_all.deb",
        ".hidden",
        "ü%!x",
        "a" * 300,
        "a b",
    ]
    found = evaluate(f"map (import {RULES}/fetch.nix).storeName files", files=files)
    assert found == [store_name(f) for f in files]


def test_paths_in_the_store() -> None:
    """A golden path, and Nix's own word for others."""
    assert store_path("a.whl", sha("a")) == "/nix/store/kd37fswqnzill16byhxk0j9jxvwkznny-a.whl"
    for file in ("a-1.0-py3-none-any.whl", "b~1.deb"):
        command = [need("nix-store", "nix-bin"), "--print-fixed-path", "sha256", sha(file), store_name(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert store_path(file, sha(file)) == told


def test_days_and_pools() -> None:
    days = "20260101 20260131 20260228 20240228 20240229 20000228 21000228 20261231 20260930 20261130"
    stamps = [f"{day}T235959Z" for day in days.split()]
    assert evaluate(f"map (import {RULES}/fetch.nix).dayAfter stamps", stamps=stamps) == [_day_after(s) for s in stamps]
    some = [deb("zlib1g"), dataclasses.replace(deb("libc6"), source="glibc"), deb("libx"), deb("li")]
    rows = [dataclasses.asdict(d) for d in some]
    assert evaluate(f"map (import {RULES}/fetch.nix).poolPath rows", rows=rows) == [d.pool_path for d in some]


def test_the_locks_text_is_what_nix_reads() -> None:
    """Nothing in a lock is of a kind that Nix's JSON has not: what it writes again is the same lock."""
    lock = lock_of(recipe_of("ü", AptInstall(("git",))), [wheel("a", size=1 << 40)], [deb("x"), deb("y", base=False)])
    again = evaluate("lock", lock=lock.to_json())
    assert parse(json.dumps(again), Path("env.json")) == parse(lock.text(), Path("env.json"))
    assert isinstance(lock.platforms[AMD64].debs[0], LockedDeb)
