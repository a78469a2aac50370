"""Explanations: compared with the last build, else with the committed lock, with a reason for every layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from flyte_build.building.building import build
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.diffing.contents import of_derivation, of_spec
from flyte_build.diffing.locked import of_lock
from flyte_build.kernel.canonical import canonical
from flyte_build.kernel.errors import InputError
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.lockfile import LockedDeb, LockedWheel, Pin, write
from flyte_build.planning.explain import Earlier, Explanation, earlier, explain, explain_plan
from flyte_build.planning.images import StoreCache
from flyte_build.planning.plan import CachedLayer, Plan, make_plan
from flyte_build.store import Store
from tests.planning.test_plan import FakeCache
from tests.support.contents import derivation, derivations, recipe
from tests.support.images import FolderLocator, files_layer, image_of, wheel_layer
from tests.support.recipes import AMD64, deb, lock_of, wheel
from tests.support.repository import Repository, repository

__all__ = ["repository"]


def made(
    *wheels: LockedWheel,
    env: str = "fold_env",
    debs: Sequence[LockedDeb] | None = None,
    files: dict[str, str] | None = None,
) -> ImageDerivation:
    """An image with these wheels, all of one step, and these files."""
    asked = recipe("a", copy=files is not None)
    return derivation(lock_of(asked, wheels, debs, environment=env), asked, files)


def told(now: ImageDerivation, before: ImageDerivation | None = None, cache: FakeCache | None = None) -> Explanation:
    """``now`` explained, where ``before`` was built last and its layers are cached."""
    cache = cache or FakeCache()
    if before is not None:
        cache.layers |= {layer.hash for layer in before.layers}
        cache.last = {before.environment: before.spec}
    (image,) = make_plan([now], cache).images
    spec = before.spec if before is not None else {}
    contents = of_spec(spec, "before", "derivation", identity=before.hash if before else None)
    return explain(image, Earlier("last build", contents) if before is not None else None)


def whys(found: Explanation) -> dict[str, str]:
    return {layer.title: layer.why for layer in found.layers}


PANDAS = wheel("pandas", "3.0.1", size=10 << 20)


def test_one_changed_wheel_is_one_layer_with_its_reason() -> None:
    found = told(made(replace(PANDAS, version="3.0.2", sha256="0" * 64, size=12 << 20)), made(PANDAS))
    assert found.summary == "pandas 3.0.1 → 3.0.2"
    assert found.source == "last build"
    assert whys(found) == {
        "debian bookworm": "as last built",
        "system files, user and venv": "as last built",
        "pandas 3.0.2": "pandas 3.0.1 → 3.0.2",
    }
    assert [(x.title, x.state, x.size, x.artifact_size) for x in found.added] == [
        ("pandas 3.0.2", "build", None, 12 << 20)
    ]
    assert [x.title for x in found.gone] == ["pandas 3.0.1"]


def test_every_package_of_a_common_layer_is_accounted_for() -> None:
    before = made(wheel("a"), wheel("b"), wheel("c"), wheel("grows", "1"))
    after = made(wheel("a"), wheel("b", "2.0"), wheel("new"), wheel("grows", "2", size=5 << 20))
    found = whys(told(after, before))
    assert found["a 1.0, b 2.0, new 1.0"] == "b 1.0 → 2.0; − c 1.0; grows lies in another layer now; + new 1.0"
    assert found["grows 2"] == "a lies in another layer now; b lies in another layer now; − c 1.0; grows 1 → 2"
    merged = whys(told(before, after))
    assert merged["a 1.0, b 1.0, c 1.0, grows 1"].endswith("grows lay in another layer; − new 1.0")


def test_debian_packages_explain_both_of_their_layers() -> None:
    old = [deb("bash", "1"), deb("libc6", "1")]
    found = whys(told(made(debs=[deb("bash", "2"), deb("libc6", "1")]), made(debs=old)))
    assert found["debian bookworm"] == found["system files, user and venv"] == "bash 1 → 2"


def test_long_reasons_are_cut_and_counted() -> None:
    old, new = ([deb(f"lib{i}", version) for i in range(9)] for version in ("1", "2"))
    assert whys(told(made(debs=new), made(debs=old)))["debian bookworm"].endswith("lib2 1 → 2; 6 more")


def test_copied_files_are_named() -> None:
    before, after = made(files={"root/a.py": "1", "root/b.py": "1"}), made(files={"root/a.py": "2", "root/c.py": "1"})
    found = told(after, before)
    assert whys(found)["copy src"] == "root/a.py changed; − root/b.py; + root/c.py"
    assert found.summary == "3 copied files changed"
    assert found.layers[-1].artifact_size == 2


def test_other_rules_of_assembly_explain_every_layer() -> None:
    now = made(wheel("a"))
    layers = [{**dict(layer), "assembler": 0} for layer in now.spec["layers"]]  # type: ignore[union-attr, arg-type]
    (image,) = make_plan([now], FakeCache()).images
    old = of_spec({**now.spec, "layers": layers}, "before", "derivation")  # type: ignore[dict-item]
    found = explain(image, Earlier("last build", old))
    assembler = now.layers[0].spec["assembler"]
    assert set(whys(found).values()) == {f"assembler 0 → {assembler}"}
    assert found.summary == f"assembler 0 → {assembler}"


def test_nothing_before_is_never_built() -> None:
    found = told(made(wheel("a")))
    assert (found.summary, found.source, found.difference) == ("never built here", None, None)
    assert set(whys(found).values()) == {"never built here"}
    assert found.added == found.layers


def test_a_cached_image_has_not_changed_or_was_built_before_the_last_one() -> None:
    one, two = made(wheel("a")), made(wheel("a", "2.0"))
    cache = FakeCache()
    cache.images = {one.hash}
    assert told(one, one, cache).summary == "nothing changed since the last build"
    back = told(one, two, cache)
    assert back.summary == "built here before, and not last: since then a 2.0 → 1.0"
    assert back.layers[-1].state == "cached"


def test_lost_blobs_are_the_reason_where_nothing_else_is() -> None:
    found = told(made(wheel("a")), made(wheel("a")))
    assert found.summary == "its blobs are no longer in the store"
    cold = FakeCache()
    cold.last = {"fold_env": made(wheel("a")).spec}
    (image,) = make_plan([made(wheel("a"))], cold).images
    kept = explain(image, Earlier("last build", of_derivation(made(wheel("a")), "before")))
    assert {x.why for x in kept.layers} == {"as last built, but its blob is not in the store"}


def test_layers_are_counted_by_who_shares_them() -> None:
    cache = FakeCache()
    large = [wheel(name, size=5 << 20) for name in ("torch", "jax")]
    plan = make_plan(
        [made(*large, env="fold_env"), made(large[0], env="msa_env"), made(*large, env="multi_env")], cache
    )  # fmt: skip
    found = explain(plan.images[0], None)
    assert found.sharing == (("multi_env", 4), ("msa_env", 3))
    cache.layers = {plan.images[0].layers[2].derivation}
    assert explain(make_plan([p.derivation for p in plan.images], cache).images[0], None).layers[2].why == (
        "built already for msa_env, multi_env"
        if plan.images[0].layers[2].title.startswith("torch")
        else "built already for multi_env"
    )


@given(derivations(), derivations())
def test_every_layer_has_a_reason_and_json_is_canonical(now: ImageDerivation, before: ImageDerivation) -> None:
    found = told(now, before)
    assert len(found.layers) == len(now.layers)
    assert all(layer.why and layer.why != "arranged differently" for layer in found.layers)
    assert found.summary
    document = found.to_json()
    assert json.loads(canonical(document)) == document
    assert {x.derivation for x in found.layers if x.kept} == {x.hash for x in now.layers} & {
        x.hash for x in before.layers
    }  # fmt: skip


# -- what there was before -------------------------------------------------------------------------


def planned(image: ImageDerivation, store: Store) -> Plan:
    return make_plan([image], StoreCache(store))


def test_the_last_build_comes_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    images = []
    for text in (b"1", b"2"):
        folder = tmp_path / text.decode()
        folder.mkdir()
        images.append(image_of("env", [wheel_layer(folder, "alpha"), files_layer(folder, {"root/a.py": text})]))
        build(images[-1:], store, locator=FolderLocator(folder), reporter=Silent())
    [found] = explain_plan(planned(images[0], store), store, tmp_path / "lockfiles")
    assert found.summary == "built here before, and not last: since then root/a.py changed"
    assert found.difference is not None
    assert found.difference.before.identity == images[1].hash
    assert found.difference.empty is False
    assert [(x.kept, x.size is not None) for x in found.layers] == [(True, True), (False, True)]
    assert found.difference.not_known == (), "what a shared layer holds does not matter"


@pytest.mark.integration
def test_else_the_committed_lock_where_it_changed(repository: Repository, tmp_path: Path) -> None:
    store, folder = Store(tmp_path / "none"), repository.folder / "lockfiles"
    asked = recipe("a")
    old, new = (lock_of(asked, [wheel("a", version)]) for version in ("1.0", "2.0"))
    (image,) = planned(derivation(new, asked), store).images
    write(folder, old)
    assert earlier(image, store, folder) is None, "not committed"
    repository.git("add", ".")
    repository.commit()
    assert earlier(image, store, folder) is None, "unchanged"
    write(folder, replace(old, pins={AMD64: Pin("sha256:" + "d" * 64, "sha256:" + "a" * 64)}))
    assert earlier(image, store, folder) is None, "pinned, and otherwise unchanged"
    write(folder, new)
    before = earlier(image, store, folder)
    assert before is not None
    assert before.source == "lock"
    found = explain(image, before)
    assert found.summary == "never built here; since the last commit: a 1.0 → 2.0"
    assert whys(found)["a 2.0"] == "a 1.0 → 2.0"
    assert whys(found)["debian bookworm"] == "as in the last commit, but its blob is not in the store"
    (folder / "env.json").unlink()
    repository.commit(lockfiles__env="{}")
    write(folder, new)
    assert earlier(image, store, folder) is None, "what was committed is no lock"


def test_a_committed_lock_with_copies_says_what_it_does_not_tell() -> None:
    asked = recipe("a", copy=True)
    lock = lock_of(asked, [wheel("a")])
    cache = FakeCache()
    (image,) = make_plan([derivation(lock, asked, {"root/a.py": "1"})], cache).images
    found = explain(image, Earlier("lock", of_lock(lock, AMD64, "the lock")))
    assert found.summary == "never built here; since the last commit: nothing that its lock tells"
    assert found.layers[-1].kept is False
    assert found.layers[-1].why == "the committed lock does not tell what was copied"


def test_outside_of_git_nothing_was(tmp_path: Path) -> None:
    (image,) = planned(made(wheel("a")), Store(tmp_path / "none")).images
    assert earlier(image, Store(tmp_path / "none"), tmp_path) is None


def test_only_the_environments_asked_for_are_explained(tmp_path: Path) -> None:
    plan = make_plan([made(env="a_env"), made(wheel("a"), env="b_env")], FakeCache())
    store = Store(tmp_path / "none")
    assert [e.environment for e in explain_plan(plan, store, tmp_path)] == ["a_env", "b_env"]
    assert [e.environment for e in explain_plan(plan, store, tmp_path, ["b_env"])] == ["b_env"]
    with pytest.raises(InputError, match="no environment `c_env` in this plan; there are: a_env, b_env"):
        explain_plan(plan, store, tmp_path, ["c_env"])


def test_the_size_of_a_cached_layer_is_its_blobs() -> None:
    cache = FakeCache()
    now = made(wheel("a", size=7))
    cache.layers = {now.layers[-1].hash}
    assert cache.cached_layer(now.layers[-1].hash) == CachedLayer("sha256:" + "0" * 64, 10)
    assert [(x.size, x.artifact_size) for x in told(now, None, cache).layers][-1] == (10, 7)
