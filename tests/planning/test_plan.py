"""The plan: what is cached, what is to build, what is shared, and the reasons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flyte_build.deriving.derivation import MAX_LAYERS, ImageDerivation, LayerDerivation, derive, expand
from flyte_build.kernel.canonical import Json
from flyte_build.planning.plan import CachedLayer, make_plan, spec_differences
from flyte_build.recipe import CopyFiles, EnvVars, WorkDir
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, wheel


class FakeCache:
    """A cache by sets of hashes."""

    def __init__(self) -> None:
        self.layers: set[str] = set()
        self.images: set[str] = set()
        self.artifacts: set[str] = set()
        self.last: dict[str, Mapping[str, Json]] = {}

    def cached_layer(self, derivation: str) -> CachedLayer | None:
        return CachedLayer("sha256:" + "0" * 64, 10) if derivation in self.layers else None

    def cached_image(self, derivation: str) -> str | None:
        return "sha256:" + "1" * 64 if derivation in self.images else None

    def has_artifact(self, sha256: str) -> bool:
        return sha256 in self.artifacts

    def last_image(self, environment: str, platform: str) -> Mapping[str, Json] | None:
        return self.last.get(environment)


RUNTIME = [wheel("flyte", "2.12.1", step=0, size=500), wheel("httpx", "0.28.1", step=0, size=300)]


def image(environment: str, *extra: str, version: str = "1.0") -> ImageDerivation:
    """An image whose k-th pip step brings the k-th extra."""
    recipe = recipe_of(*extra)
    wheels = [*RUNTIME, *(wheel(name, version, step=i + 1) for i, name in enumerate(extra))]
    return derive(lock_of(recipe, wheels, environment=environment), recipe, AMD64)


FOLD, MSA, MULTI = image("fold_env", "ruff"), image("msa_env", "pytest"), image("multi_env", "ruff", "pytest")


def test_an_image_that_extends_another_has_its_layers_and_one_more() -> None:
    fold, multi = [x.hash for x in FOLD.layers], [x.hash for x in MULTI.layers]
    assert multi[: len(fold)] == fold
    assert len(multi) == len(fold) + 1


def test_a_cold_plan_fetches_every_artifact_once() -> None:
    plan = make_plan([FOLD, MSA, MULTI], FakeCache())
    assert [i.state for i in plan.images] == ["build"] * 3
    assert {i.why for i in plan.images} == {"never built here"}
    assert len(plan.fetch) == 2 + 2 + 2, "debs, runtime wheels, ruff and pytest"
    assert sum(a.size for a in plan.fetch) == 2 * 5000 + 800 + 2 * 1000
    assert plan.new_layers == 3 + 2, "base, system and runtime are shared by all three"
    shared = {x.title: x.shared_with for x in plan.images[0].layers}
    assert shared["debian bookworm"] == ("msa_env", "multi_env")
    assert shared["ruff 1.0"] == ("multi_env",)


def test_a_cached_image_needs_nothing() -> None:
    cache = FakeCache()
    cache.images = {FOLD.hash}
    (planned,) = make_plan([FOLD], cache).images
    assert (planned.state, planned.fetch_bytes) == ("cached", 0)
    assert {x.state for x in planned.layers} == {"cached"}


def test_a_layer_in_the_cache_needs_none_of_its_artifacts() -> None:
    cache = FakeCache()
    cache.layers = {x.hash for x in FOLD.layers}
    (planned,) = make_plan([MULTI], cache).images
    assert [a.file for a in planned.fetch] == ["pytest-1.0-py3-none-any.whl"]
    assert planned.why == "never built here; 1 of 5 layers are new"


def test_an_artifact_in_the_store_is_not_fetched() -> None:
    cache = FakeCache()
    cache.artifacts = set(FOLD.artifacts)
    (planned,) = make_plan([FOLD], cache).images
    assert planned.fetch == ()
    assert planned.state == "build"


def test_the_reason_names_what_changed_since_the_last_build() -> None:
    cache = FakeCache()
    cache.last = {"fold_env": image("fold_env", "ruff", version="0.9").spec}
    (planned,) = make_plan([FOLD], cache).images
    assert planned.why == "ruff 0.9 → 1.0"
    cache.last = {"fold_env": FOLD.spec}
    (planned,) = make_plan([FOLD], cache).images
    assert planned.why == "its blobs are no longer in the store"


def test_differences_cover_additions_removals_debs_and_configuration() -> None:
    recipe = recipe_of("a", EnvVars((("A", "1"),)))
    other = recipe_of("a", EnvVars((("A", "2"),)))
    before = derive(lock_of(recipe, [wheel("a"), wheel("gone")], [deb("bash", "1")]), recipe, AMD64)
    after = derive(lock_of(other, [wheel("a", salt="x"), wheel("new")], [deb("bash", "2")]), other, AMD64)
    assert spec_differences(before.spec, after.spec) == [
        "a 1.0: other bytes",
        "− gone 1.0",
        "+ new 1.0",
        "bash 1 → 2",
        "environment variables or configuration changed",
    ]


def test_a_large_wheel_has_a_layer_of_its_own_that_is_the_same_everywhere() -> None:
    one, two = recipe_of("a"), recipe_of("x", "a")
    torch = wheel("torch", "2.5", size=800 << 20)
    first = derive(lock_of(one, [wheel("a"), torch]), one, AMD64)
    second = derive(lock_of(two, [wheel("x"), wheel("torch", "2.5", step=2, size=800 << 20)]), two, AMD64)
    alone = {x.title: x.hash for x in first.layers}["torch 2.5"]
    assert alone == {x.title: x.hash for x in second.layers}["torch 2.5"]


def test_there_are_never_more_than_a_hundred_layers() -> None:
    recipe = recipe_of(*(f"p{i}" for i in range(40)), *(CopyFiles(f"f{i}", ".", False) for i in range(20)))
    wheels = [wheel(f"w{i:03}", step=1 + i % 40, size=(5 << 20) + i) for i in range(300)]
    wheels += [wheel(f"s{i}", step=i + 1) for i in range(40)]
    made = derive(lock_of(recipe, wheels), recipe, AMD64, {i: [] for i in range(40, 60)})
    assert len(made.layers) <= MAX_LAYERS
    held = [a.file for x in made.layers if x.kind == "wheels" for a in x.artifacts]
    assert sorted(held) == sorted(w.file for w in wheels), "every wheel is in exactly one layer"
    alone = [x.title for x in made.layers if x.kind == "wheels" and len(x.artifacts) == 1]
    assert "w299 1.0" in alone, "the largest keep their own"


def test_environment_values_expand_as_in_a_dockerfile() -> None:
    known = {"PATH": "/bin", "EMPTY": ""}
    assert expand("/x:$PATH", known) == "/x:/bin"
    assert expand("${PATH}/y ${NO:-d} ${EMPTY:-e} ${PATH:+set}${NO:+unset}", known) == "/bin/y d e set"
    assert expand(r"\$PATH $NO.", known) == "$PATH ."
    assert expand("100%$", known) == "100%$"


def test_a_working_directory_that_nothing_fills_is_made_and_is_the_users() -> None:
    recipe = recipe_of("a", WorkDir("/app"), WorkDir("deep"), WorkDir("/srv"))
    made = derive(lock_of(recipe, [wheel("a")]), recipe, AMD64)
    layer = made.layers[-1]
    assert layer.title == "workdir /app /app/deep", "/srv is Debian's"
    owned = {"mode": 0o755, "uid": 1000, "gid": 1000, "dir": True}
    assert layer.spec["files"] == [{"path": "app", **owned}, {"path": "app/deep", **owned}]
    config = made.spec["config"]
    assert isinstance(config, dict)
    assert config["WorkingDir"] == "/srv"


@dataclass
class FakeShared:
    """A shared cache by hashes, and what it was asked."""

    known_images: Sequence[ImageDerivation] = ()
    known_layers: Collection[str] = ()
    asked: list[str] = field(default_factory=list)

    def images(self, wanted: Sequence[ImageDerivation]) -> dict[str, SharedFake]:
        self.asked += [i.hash for i in wanted]
        held = {i.hash for i in self.known_images}
        return {
            i.hash: SharedFake("sha256:" + "2" * 64, [_held(x) for x in i.layers]) for i in wanted if i.hash in held
        }

    def layers(self, wanted: Sequence[LayerDerivation]) -> dict[str, CachedLayer]:
        self.asked += [x.hash for x in wanted]
        return {x.hash: _held(x) for x in wanted if x.hash in self.known_layers}


@dataclass
class SharedFake:
    digest: str
    layers: Sequence[CachedLayer]


def _held(layer: LayerDerivation) -> CachedLayer:
    return CachedLayer(layer.hash, 7)


def test_what_a_registry_has_is_neither_built_nor_fetched() -> None:
    shared = FakeShared([FOLD, MULTI])
    plan = make_plan([FOLD, MSA, MULTI], FakeCache(), shared=shared)
    assert [i.state for i in plan.images] == ["remote", "build", "remote"]
    fold, msa, _ = plan.images
    assert (fold.why, fold.digest) == ("same derivation as in the shared cache", "sha256:" + "2" * 64)
    assert {(x.state, x.size) for x in fold.layers} == {("remote", 7)}
    assert not fold.fetch
    # The layers that it shares with known images are known with them, without another question.
    assert [x.state for x in msa.layers] == ["remote", "remote", "remote", "remote"]
    assert shared.asked == [FOLD.hash, MSA.hash, MULTI.hash]
    assert (len(plan.to_build), len(plan.in_registry), plan.new_layers, plan.cached) == (1, 2, 0, False)
    assert plan.pull_bytes == 7 * len({x.hash for i in (FOLD, MSA, MULTI) for x in i.layers})
    assert msa.why == "never built, but its layers were"
    document = plan.to_json()
    assert (document["in_registry"], document["pull_bytes"]) == (2, plan.pull_bytes)


def test_only_what_the_store_lacks_is_asked_for() -> None:
    cache = FakeCache()
    cache.images, cache.layers = {FOLD.hash}, {x.hash for x in FOLD.layers}
    shared = FakeShared(known_layers={MULTI.layers[-1].hash})
    plan = make_plan([FOLD, MULTI], cache, shared=shared)
    assert shared.asked == [MULTI.hash, MULTI.layers[-1].hash]
    assert [x.state for x in plan.images[1].layers] == ["cached"] * 4 + ["remote"]
    assert plan.fetch == ()
    shared.asked.clear()
    assert make_plan([FOLD], cache, shared=shared).cached
    assert shared.asked == []


def test_a_bases_layer_is_in_its_registry_whoever_asks() -> None:
    spec = {"kind": "base", "assembler": 1, "title": "python", "digest": "sha256:" + "3" * 64, "size": 9}
    base = LayerDerivation({**spec, "diff_id": "sha256:" + "4" * 64, "media_type": "x"}, ())
    image = replace(FOLD, layers=(base, *FOLD.layers[3:]))
    (planned,) = make_plan([image], FakeCache()).images
    assert [(x.state, x.size) for x in planned.layers] == [("remote", 9), ("build", None)]
    assert planned.state == "build"
