"""The joined arrows: what a build says beside what it builds."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.building.images import _warn_of_scripts, warn_of_sizes
from flyte_build.deriving.derivation import derive
from flyte_build.kernel.errors import InputError
from flyte_build.kernel.reporting import Recorder
from flyte_build.locks.nouns import LockedDeb
from flyte_build.planning.images import StoreCache, pushed_platforms
from flyte_build.planning.plan import make_plan
from flyte_build.project.nouns import Environment
from flyte_build.recipe import AptInstall, Platform
from flyte_build.store import Store
from flyte_build.store.built import BuiltImage, BuiltLayer
from tests.support.debs import build_deb
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, wheel

SCRIPT = "#!/bin/sh\nset -e\nmake-something-nobody-knows\n"


def stored(store: Store, folder: Path, package: str, *, base: bool) -> LockedDeb:
    """A package with a script, in the store, as a lock names it."""
    path = build_deb(folder, package, "1.0-1", files={f"usr/bin/{package}": b""}, scripts={"postinst": SCRIPT})
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    store.artifact_path(sha256).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, store.artifact_path(sha256))
    return LockedDeb(package, "1.0-1", "amd64", path.name, len(data), sha256, package, "debian", "main", base)


def test_a_script_that_nothing_replaces_is_named_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    recipe = recipe_of("a", AptInstall(("odd",)))
    debs = [deb("base-files"), stored(store, tmp_path, "ours", base=True), stored(store, tmp_path, "odd", base=False)]
    lock = lock_of(recipe, [wheel("a")], debs)
    image = derive(lock, recipe, AMD64)
    said = Recorder()
    _warn_of_scripts(make_plan([image], StoreCache(store)), {"env": lock}, store, said)
    assert len(said.warnings) == 1, "the base's scripts were read and replaced"
    assert said.warnings[0].startswith("env: odd's postinst script is not run")


def test_a_layer_above_the_ceiling_is_named_once() -> None:
    recipe = replace(recipe_of("a"), layer_ceiling=16 << 20)
    rows = [("model", 17 << 20, False, "wheels"), ("base", 99 << 20, False, "base"), ("old", 99 << 20, True, "wheels")]
    layers = tuple(
        BuiltLayer(t, t, t, n, t, reused, kind=kind) for t, n, reused, kind in [*rows, ("b", 9, False, "files")]
    )
    images = [BuiltImage(name, AMD64, "d", "m", 1, layers, 0.0, False) for name in ("one", "two", "three")]
    said = Recorder()
    warn_of_sizes(images, {"one": recipe, "two": recipe, "three": recipe_of("a")}, said)
    assert said.warnings == [
        "one: the layer `model` has 17.8 MB, more than `layer-ceiling` (16.8 MB): only wheels are divided, between "
        "their files"
    ]


def test_the_cache_is_the_store(tmp_path: Path) -> None:
    cache = StoreCache(Store(tmp_path / "store"))
    assert cache.cached_layer("sha256:" + "0" * 64) is None
    assert cache.cached_image("sha256:" + "0" * 64) is None
    assert cache.last_image("env", AMD64) is None
    assert not cache.has_artifact("0" * 64)


def environment(name: str, *platforms: Platform) -> Environment:
    return Environment(name, (), "flow.py", replace(recipe_of("a"), platforms=platforms))


def test_all_platforms_are_pushed_unless_somebody_says_which() -> None:
    both, one = environment("both", "linux/amd64", "linux/arm64"), environment("one", "linux/amd64")
    assert pushed_platforms([both, one], None, ()) == ["linux/amd64", "linux/arm64"]
    assert pushed_platforms([both], None, ("linux/arm64",)) == ["linux/arm64"]
    assert pushed_platforms([both], "linux/amd64", ("linux/arm64",)) == ["linux/amd64"], "the command line wins"
    assert pushed_platforms([both, one], "all", ()) == ["linux/amd64", "linux/arm64"]
    with pytest.raises(InputError, match="one is for linux/amd64, and to push is linux/arm64"):
        pushed_platforms([both, one], None, ("linux/arm64",))
