"""Law 2: a derivation's hash covers everything that can change the bytes, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import random

import flyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.deriving.derivation import FileEntry, derive
from flyte_build.kernel.canonical import canonical, digest
from flyte_build.recipe import AptInstall, CopyFiles, DebianBase, EnvVars, PipInstall, Recipe, WorkDir
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, sha, wheel

words = st.text(min_size=0, max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


def test_the_collision_of_the_sdks_tag_is_none_of_ours() -> None:
    """The SDK hashes concatenated strings, so these two images have one tag there."""
    base = flyte.Image.from_debian_base()
    assert base.with_pip_packages("ab", "c").uri == base.with_pip_packages("a", "bc").uri
    assert recipe_of(PipInstall(("ab", "c"))).fingerprint != recipe_of(PipInstall(("a", "bc"))).fingerprint


def test_platform_and_python_which_the_sdks_tag_leaves_out_are_in_ours() -> None:
    images = [
        flyte.Image.from_debian_base(platform=(p,)).with_pip_packages("a") for p in ("linux/amd64", "linux/arm64")
    ]
    assert images[0].uri == images[1].uri
    amd, arm = recipe_of("a", platform="linux/amd64"), recipe_of("a", platform="linux/arm64")
    assert amd.fingerprint != arm.fingerprint
    assert recipe_of("a", python="3.11").fingerprint != recipe_of("a", python="3.13").fingerprint


@given(json_values, json_values)
def test_canonical_json_is_injective(a: object, b: object) -> None:
    """Equal bytes mean equal values; Python's own JSON reader tells whether they are."""
    if canonical(a) == canonical(b):  # type: ignore[arg-type]
        assert a == b
    else:
        assert a != b or type(a) is not type(b) or json.dumps(a) != json.dumps(b)


@given(st.dictionaries(words, json_values, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, object], rng: random.Random) -> None:
    keys = list(value)
    rng.shuffle(keys)
    assert digest({k: value[k] for k in keys}) == digest(value)  # type: ignore[misc,arg-type]


def test_what_has_no_canonical_form_is_named() -> None:
    with pytest.raises(TypeError, match=r"\$\.a\[1\]: float"):
        canonical({"a": [1, 1.5]})  # type: ignore[list-item]
    with pytest.raises(TypeError, match="key 1 is int"):
        canonical({1: "x"})  # type: ignore[dict-item]


RECIPES = [
    recipe_of(),
    recipe_of(flyte=None),
    recipe_of(flyte="2.12.0"),
    recipe_of("a"),
    recipe_of("a", "b"),
    recipe_of("b", "a"),
    recipe_of(PipInstall(("a", "b"))),
    recipe_of(PipInstall(("a",), pre=True)),
    recipe_of(PipInstall(("a",), index="http://index.example/simple")),
    recipe_of(PipInstall(("a",), extra_indexes=("http://index.example/simple",))),
    recipe_of(PipInstall(("a",), constraints=("b<2",))),
    recipe_of(PipInstall(("a",), wheels=("dist/a-1-py3-none-any.whl",))),
    recipe_of(PipInstall(("a",), hashes=(("a", (sha("a"),)),))),
    recipe_of(AptInstall(("a",))),
    recipe_of(EnvVars((("A", "b"),))),
    recipe_of(EnvVars((("A", "c"),))),
    recipe_of(WorkDir("/a")),
    recipe_of(CopyFiles("a", ".", False)),
    recipe_of(CopyFiles("a", ".", True)),
    recipe_of(CopyFiles("a", ".", True, ignore=("*.pyc",))),
    dataclasses.replace(recipe_of(), base=DebianBase("trixie")),
]


def test_every_part_of_a_recipe_is_in_its_fingerprint() -> None:
    assert len({r.fingerprint for r in RECIPES}) == len(RECIPES)


def _hash(recipe: Recipe, **changes: object) -> str:
    wheels = changes.pop("wheels", [wheel("flyte", "2.12.1", step=0), wheel("a")])
    debs = changes.pop("debs", None)
    files = changes.pop("files", None)
    assert not changes
    return derive(lock_of(recipe, wheels, debs), recipe, AMD64, files).hash  # type: ignore[arg-type]


def test_every_artifact_and_every_setting_is_in_the_derivation() -> None:
    plain = recipe_of("a")
    copied = recipe_of("a", CopyFiles("x", ".", False))
    entry = FileEntry("home/flyte/x", 0o644, sha("x"), 1)
    hashes = [
        _hash(plain),
        _hash(plain, wheels=[wheel("flyte", "2.12.1", step=0), wheel("a", salt="rebuilt")]),
        _hash(plain, wheels=[wheel("flyte", "2.12.1", step=0), wheel("a"), wheel("b")]),
        _hash(plain, debs=[deb("base-files"), deb("python3.11", "1.0-2")]),
        _hash(recipe_of("a", EnvVars((("A", "b"),)))),
        _hash(recipe_of("a", WorkDir("/srv"))),
        _hash(copied, files={1: [entry]}),
        _hash(copied, files={1: [dataclasses.replace(entry, mode=0o755)]}),
        _hash(copied, files={1: [dataclasses.replace(entry, sha256=sha("y"))]}),
        _hash(copied, files={1: [dataclasses.replace(entry, path="home/flyte/y")]}),
    ]
    assert len(set(hashes)) == len(hashes)


def test_nothing_else_is_in_the_derivation() -> None:
    """The environment's name, who resolved, when, in which order the lock lists, and the requirement's wording."""
    recipe = recipe_of("a")
    wheels = [wheel("flyte", "2.12.1", step=0), wheel("a"), wheel("b")]
    lock = lock_of(recipe, wheels)
    same = [
        dataclasses.replace(lock, environment="other"),
        dataclasses.replace(lock, resolver="pip-tools", resolver_version="7", cutoff="2026-01-01T00:00:00Z"),
        lock_of(recipe, wheels[::-1], [deb("python3.11"), deb("base-files")]),
    ]
    expected = derive(lock, recipe, AMD64).hash
    assert [derive(other, recipe, AMD64).hash for other in same] == [expected] * 3
    reworded = recipe_of("a<9")
    assert derive(lock_of(reworded, wheels), reworded, AMD64).hash == expected


def test_a_golden_derivation() -> None:
    """Fails when the derivation's form changes: then every cache in the world is cold, and that has to be meant."""
    recipe = recipe_of("a", EnvVars((("P", "$PATH:/x"),)))
    lock = lock_of(recipe, [wheel("flyte", "2.12.1", step=0), wheel("a")])
    assert derive(lock, recipe, AMD64).hash == "sha256:f10336b789b2acf24c3daddd6e8e4e7221846a9579d57ad04ffffbfad03e4ce2"
