"""A recipe with stages: what a copy runs on, what makes it stale, whose files are whose, and the way through a lock."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.deriving import derive, recorded_recipe
from flyte_build.deriving.derivation import base_layers, stage_of, taken_by
from flyte_build.deriving.local_files import snapshot, sources
from flyte_build.deriving.sealed import Question, question
from flyte_build.kernel.errors import LockError
from flyte_build.locks import Lock, LockedSeal, parse
from flyte_build.locks.nouns import LockedPlatform, LockedStage
from flyte_build.recipe import (
    CopyFiles,
    Delegation,
    EnvVars,
    ImageSettings,
    Mount,
    Recipe,
    RegistryBase,
    RunCommands,
    Scratch,
    SecretMount,
    Stage,
    TreeCopy,
    WorkDir,
    differences,
)
from tests.support.recipes import AMD64, sha

from .test_overlay import FACTS, locked_base

BASE = RegistryBase("registry.example/team/base:1")
LOW = Stage("low", BASE, (EnvVars((("A", "1"),)), CopyFiles("x", "/x", False, owner=(0, 0)), RunCommands(("make",))))
FILES = Stage("files", Scratch(), (CopyFiles("dev", "/dev", False, owner=(0, 0)),))
COPY = RunCommands((), copies=(TreeCopy(0, ("/out",), "$DIR/x", "app"),))
BOUND = RunCommands(("use",), user="", mounts=(Mount("bind", "/src", 1, "/dev", False), Mount("cache", "/c")))
RECIPE = Recipe(
    BASE, (AMD64,), None, None,
    (
        EnvVars((("DIR", "/$GPG_KEY"),)), COPY, WorkDir("/w", (5, 6)), BOUND,
        CopyFiles("x", "/w/y", False, owner=(7, 8), mode=0o600),
    ),
    stages=(LOW, FILES),
)  # fmt: skip
D = "sha256:" + "d" * 64


def seal(step: int, on: str) -> LockedSeal:
    return LockedSeal(step, on, "none", D, 7, D, True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("x", "dev"):
        (tmp_path / name).write_text(name)
    return tmp_path


def lock_of(recipe: Recipe = RECIPE, **base: Any) -> Lock:
    stages = (LockedStage(locked_base()), LockedStage(None))[: len(recipe.stages)]
    part = LockedPlatform("", "", (), (), locked_base(**base), stages=stages)
    return Lock("env", recipe.to_json(), "uv", "0.1", None, {AMD64: part})


def asked(lock: Lock, recipe: Recipe, root: Path, index: int) -> Question:
    held = lock.platforms[AMD64]
    files = snapshot(recipe, root, held.base, held.stages)
    below = [layer.hash for layer in derive(lock, recipe, AMD64, files, below=index).layers]
    return question("env", recipe, held, AMD64, index, below, taken_by(lock, recipe, AMD64, files, index) or ())


def sealed(lock: Lock, root: Path, recipe: Recipe = RECIPE) -> Lock:
    """Every step sealed, the stages' first, as locking does it."""
    held = lock.platforms[AMD64]
    low, part, copied = stage_of(lock, recipe, AMD64, snapshot(recipe, root, held.base, held.stages), 0)
    below = [layer.hash for layer in derive(low, part, AMD64, copied, below=2).layers]
    on = question("env", part, low.platforms[AMD64], AMD64, 2, below).on
    stages = (replace(held.stages[0], seals=(seal(2, on),)), *held.stages[1:])
    lock = replace(lock, platforms={AMD64: replace(held, stages=stages)})
    for index in recipe.sealed_steps:
        part_now = lock.platforms[AMD64]
        done = (*part_now.seals, seal(index, asked(lock, recipe, root, index).on))
        lock = replace(lock, platforms={AMD64: replace(part_now, seals=done)})
    return lock


def test_what_a_copy_runs_on(root: Path) -> None:
    lock = sealed(lock_of(), root)
    found = asked(lock, RECIPE, root, 1)
    assert found.title == "copy /out $DIR/x"
    assert found.step.copies == (TreeCopy(0, ("/out",), "/a=b/x", "app"),)
    assert [layer.kind for image in found.taken for layer in image.layers] == ["base", "base", "files", "sealed"]
    bound = asked(lock, RECIPE, root, 3)
    assert bound.step.mounts[0].stage == 0, "numbered among those that the step takes from"
    assert [layer.title for image in bound.taken for layer in image.layers] == ["copy dev"]


def test_the_image_and_its_configuration(root: Path) -> None:
    lock = sealed(lock_of(), root)
    held = lock.platforms[AMD64]
    made = derive(lock, RECIPE, AMD64, snapshot(RECIPE, root, held.base, held.stages))
    titles = [layer.title for layer in made.layers[2:]]
    assert titles == ["copy /out $DIR/x", "workdir /w", "run use", "copy x"]
    files = made.layers[3].spec["files"], made.layers[5].spec["files"]
    rows: list[Any] = [row for rows in files if isinstance(rows, list) for row in rows]
    assert [(row["path"], row["mode"], row["uid"], row["gid"]) for row in rows] == [
        ("w", 0o755, 5, 6), ("w/y", 0o600, 7, 8),
    ]  # fmt: skip


def test_a_file_of_a_stage_makes_the_copy_stale(root: Path) -> None:
    lock = sealed(lock_of(), root)
    held = lock.platforms[AMD64]
    (root / "x").write_text("other")
    with pytest.raises(LockError, match=r"the seal of `run make` .* is stale"):
        derive(lock, RECIPE, AMD64, snapshot(RECIPE, root, held.base, held.stages))
    # Who has no files at hand believes the seals.
    assert derive(lock, RECIPE, AMD64, {4: []}).layers[-2].kind == "sealed"


def test_an_image_that_copies_nothing_itself_is_held_against_its_stages_too(root: Path) -> None:
    recipe = replace(RECIPE, steps=RECIPE.steps[:4])
    lock = sealed(lock_of(recipe), root, recipe)
    held = lock.platforms[AMD64]
    derive(lock, recipe, AMD64, snapshot(recipe, root, held.base, held.stages))
    (root / "dev").write_text("other")
    with pytest.raises(LockError, match=r"the seal of `run use` .* is stale"):
        derive(lock, recipe, AMD64, snapshot(recipe, root, held.base, held.stages))


def test_folders_that_a_copy_leaves_alone(root: Path) -> None:
    """The target and what is above it may have been made by a command for somebody; what is in the folder is copied."""
    (root / "tree/in").mkdir(parents=True)
    (root / "tree/in/file").touch()
    to = [((0, 0), ["app/x/in", "app/x/in/file"]), ((5, 5), ["app", "app/x", "app/x/in", "app/x/in/file"])]
    for owner, paths in to:
        step = CopyFiles("tree", "/app/x", True, owner=owner)
        found = snapshot(replace(RECIPE, steps=(step,), stages=()), root, locked_base(replace(FACTS, folders=())))
        assert [entry.path for entry in found[0]] == paths
        known = replace(RECIPE, steps=(WorkDir("/app/x"), step), stages=())
        found = snapshot(known, root, locked_base(replace(FACTS, folders=())))
        assert [entry.path for entry in found[1]] == ["app/x/in", "app/x/in/file"]


def test_the_configuration_of_another_builder(root: Path) -> None:
    whole = Delegation("Dockerfile", D, (1,), 0)
    base = Stage("registry.example/team/base:1", BASE)
    recipe = replace(RECIPE, steps=(RunCommands((), delegation=whole),), stages=(FILES, base))
    held = LockedPlatform("", "", (), (), locked_base(), stages=(LockedStage(None), LockedStage(locked_base())))
    lock = Lock("env", recipe.to_json(), "uv", "0.1", None, {AMD64: held})
    found = asked(lock, recipe, root, 0)
    assert found.title == "build Dockerfile"
    assert found.images == {"registry.example/team/base:1": f"registry.example/team/base@sha256:{sha('manifest')}"}
    made = replace(seal(0, found.on), config={"User": "theirs", "Env": ["A=b"]})
    lock = replace(lock, platforms={AMD64: replace(held, seals=(made,))})
    assert parse(lock.text(), Path("env.json")) == lock
    assert recorded_recipe(lock) == recipe
    image = derive(lock, recipe, AMD64, snapshot(recipe, root, held.base, held.stages))
    assert image.spec["config"] == {"User": "theirs", "Env": ["A=b"]}
    (root / "dev").write_text("other")
    with pytest.raises(LockError, match="is stale"):
        derive(lock, recipe, AMD64, snapshot(recipe, root, held.base, held.stages))


def test_another_stage_before_it_changes_nothing(root: Path) -> None:
    """Where a stage stands among the others is no part of what a step runs on."""
    turned = replace(
        RECIPE,
        stages=(FILES, LOW),
        steps=tuple(_turned(step) if isinstance(step, RunCommands) else step for step in RECIPE.steps),
    )
    lock = sealed(lock_of(), root)
    held = lock.platforms[AMD64]
    other = replace(lock, recipe=turned.to_json(), platforms={AMD64: replace(held, stages=held.stages[::-1])})
    assert [asked(other, turned, root, i).on for i in (1, 3)] == [asked(lock, RECIPE, root, i).on for i in (1, 3)]


def _turned(step: RunCommands) -> RunCommands:
    mounts = (replace(m, stage=1 - m.stage) if m.stage is not None else m for m in step.mounts)
    return replace(step, copies=tuple(replace(c, stage=1 - c.stage) for c in step.copies), mounts=tuple(mounts))


def test_files_of_stages_are_found_by_hash(root: Path) -> None:
    assert sources(RECIPE, root) == {sha("x"): root / "x", sha("dev"): root / "dev"}
    held = lock_of().platforms[AMD64]
    copied = snapshot(RECIPE, root, held.base, held.stages)
    assert [[e.path for e in rows] for stage in copied.stages for rows in stage.values()] == [["x"], ["dev"]]


@pytest.mark.parametrize(
    ("user", "base", "then"),
    [
        ("", "", None),
        ("", "app", "app"),
        ("root", "app", None),
        ("0:0", "", None),
        ("0:5", "", "0:5"),
        ("$WHO", "", "me"),
    ],
)
def test_who_runs_commands(user: str, base: str, then: str | None) -> None:
    recipe = replace(RECIPE, steps=(EnvVars((("WHO", "me"),)), RunCommands(("id",), user=user)), stages=())
    settings = {**locked_base().settings, "User": base}
    assert question("env", recipe, lock_of(recipe, settings=settings).platforms[AMD64], AMD64, 1, []).step.user == then


def test_what_runs_commands() -> None:
    """The base's SHELL, for commands that are for a shell; without one, such a step is as any."""
    steps = (RunCommands(("a | b",), based=True), RunCommands(("c d",)))
    recipe = replace(RECIPE, steps=steps, stages=())
    settings = {**locked_base().settings, "Shell": ["/bin/bash", "-o", "pipefail", "-c"]}
    held = lock_of(recipe, settings=settings).platforms[AMD64]
    asked = [question("env", recipe, held, AMD64, index, []) for index in (0, 1)]
    assert [one.step.commands for one in asked] == [("/bin/bash -o pipefail -c 'a | b'",), ("c d",)]
    assert asked[0].title == "run a | b"
    plain = replace(recipe, steps=(RunCommands(("a | b",)), steps[1]))
    held = lock_of(recipe).platforms[AMD64]
    assert question("env", recipe, held, AMD64, 0, []).on == question("env", plain, held, AMD64, 0, []).on
    assert recorded_recipe(lock_of(recipe)) == recipe


def test_a_dockerfile_s_settings(root: Path) -> None:
    said = {
        "User": "$WHO", "Labels": {"a": "$WHO-\\$x"}, "Cmd": [], "Entrypoint": ["/go"],
        "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]},
    }  # fmt: skip
    steps = (EnvVars((("WHO", "me"),)), ImageSettings(json.dumps(said)), WorkDir("/$WHO"))
    recipe = replace(RECIPE, steps=steps, stages=())
    settings = {"Labels": {"b": "1"}, "Cmd": ["x"], "Volumes": {"/v": {}}, "User": "root"}
    config = derive(lock_of(recipe, settings=settings), recipe, AMD64, {}).spec["config"]
    assert config == {
        "User": "me", "Labels": {"b": "1", "a": "me-$x"}, "Entrypoint": ["/go"], "Volumes": {"/v": {}},
        "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]}, "Env": ["WHO=me"], "WorkingDir": "/me",
    }  # fmt: skip


def test_written_and_read(root: Path) -> None:
    secret = SecretMount("k", path="/s", mode=0o440, owner=(1, 2))
    more = RunCommands(("x",), (secret,), "app", (Mount("tmpfs", "/t", owner=(3, 4)),), offline=True)
    recipe = replace(RECIPE, steps=(*RECIPE.steps, more, WorkDir("z", made=True), ImageSettings('{"User": "a"}')))
    lock = sealed(lock_of(), root)
    lock = replace(lock, recipe=recipe.to_json())
    read = parse(lock.text(), Path("env.json"))
    assert read == lock
    assert recorded_recipe(read) == recipe


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), r"linux/amd64\.stages: expected the recipe's 2 stages, found 1"),
        (lambda rows: rows[0].update(base=None), r"stages\[0\]\.base: expected a base, found null"),
        (lambda rows: rows[1].update(base={}), r"stages\[1\]\.base: expected nothing, found \{\}"),
        (lambda rows: rows[1].update(more=1), r"stages\[1\]\.more: expected one of base, seals"),
        (lambda rows: rows.insert(0, 7) or rows.pop(), r"stages\[0\]: expected an object, found 7"),
    ],
)
def test_stages_that_do_not_fit(root: Path, change: Any, said: str) -> None:
    document = json.loads(lock_of().text())
    change(document["platforms"][AMD64]["stages"])
    with pytest.raises(LockError, match=said):
        parse(json.dumps(document), Path("env.json"))


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["steps"][1]["copies"][0].update(stage=2),
        lambda raw: raw["steps"][1]["copies"][0].update(stage=-1),
        lambda raw: raw["steps"][3]["mounts"][0].update(stage="0"),
        lambda raw: raw["stages"][0]["steps"].append({"kind": "commands", "commands": [], "copies": [_OF_ITSELF]}),
        lambda raw: raw["steps"][4].update(owner=[]),
        lambda raw: raw["steps"][3].update(secrets=[7]),
        lambda raw: raw["steps"].append({"kind": "settings", "settings": []}),
        lambda raw: raw["steps"].append({"kind": "settings", "settings": {"Labels": {"a": 1}}}),
        lambda raw: raw["steps"].append({"kind": "settings", "settings": {"User": 1}}),
        lambda raw: raw["stages"][0].update(base={"kind": "debian", "suite": "bookworm"}),
    ],
)
def test_a_recipe_that_cannot_be(change: Any) -> None:
    """Whoever writes a lock by hand."""
    raw = json.loads(json.dumps(RECIPE.to_json()))
    change(raw)
    with pytest.raises(LockError, match="the lock's recipe cannot be read"):
        recorded_recipe(replace(lock_of(), recipe=raw))


_OF_ITSELF = {"stage": 0, "sources": ["/x"], "destination": "/y"}


def test_what_changed_of_a_stage_is_said() -> None:
    other = replace(LOW, base=RegistryBase("other:2"), steps=(*LOW.steps[:2], RunCommands(("make it",))))
    assert differences(RECIPE.to_json(), replace(RECIPE, stages=(other, FILES)).to_json()) == [
        "stage 1 (low), base: registry.example/team/base:1 → other:2",
        "stage 1 (low), step 3 (commands), commands: −make, +make it",
    ]
    assert differences(RECIPE.to_json(), replace(RECIPE, stages=(LOW,)).to_json()) == ["stage 2 (files): −"]


def test_the_layers_of_a_base() -> None:
    assert [layer.kind for layer in base_layers(locked_base())] == ["base", "base"]
