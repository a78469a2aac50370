"""The lock file: the same text for the same content, and no inconsistent file goes unnoticed."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import LockError, StoreError
from flyte_build.locks.lockfile import Pin, lock_path, parse, read, write, write_all
from flyte_build.recipe import PipInstall
from tests.support.locking import whole_lock
from tests.support.recipes import deb, lock_of, recipe_of, wheel

RECIPE = recipe_of("a", "b>=2")
LOCK = lock_of(RECIPE, [wheel("flyte", "2.12.1", step=0), wheel("b", "2.1", step=2), wheel("a")])


def test_a_lock_survives_writing_and_reading(tmp_path: Path) -> None:
    assert write(tmp_path, LOCK) is True
    again = read(tmp_path, "env")
    assert again is not None
    assert again.to_json() == LOCK.to_json()
    assert again.answers(RECIPE)
    assert write(tmp_path, again) is False, "the same content is not written again"


def test_one_artifact_a_line_in_name_order(tmp_path: Path) -> None:
    write(tmp_path, LOCK)
    lines = lock_path(tmp_path, "env").read_text().splitlines()
    names = [json.loads(line.strip().rstrip(","))["name"] for line in lines if '"sha256"' in line]
    assert names == ["base-files", "python3.11", "a", "b", "flyte"]
    assert max(len(json.loads(line.strip().rstrip(","))) for line in lines if '"sha256"' in line) == 6


def test_a_missing_lock_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, "env") is None


def test_a_lock_says_what_changed_since() -> None:
    changed = recipe_of("a", PipInstall(("b>=3", "c")), python="3.13")
    assert LOCK.staleness(changed) == [
        "python: 3.11 → 3.13",
        "step 2 (pip), requirements: −b>=2, +b>=3, +c",
    ]
    assert LOCK.staleness(recipe_of("a")) == ["step 2: − pip b>=2"]
    assert LOCK.staleness(RECIPE) == []


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    raw = json.loads(LOCK.text())
    change(raw)
    return json.dumps(raw)


def amd(raw: dict[str, Any]) -> dict[str, Any]:
    return raw["platforms"]["linux/amd64"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(schema=99), "lock schema 99 is newer than this flyte-build knows"),
        (lambda r: r.update(schema=0), "$.schema: expected 1 or 2, found 0"),
        (lambda r: r.update(surprise=1), "$.surprise: expected one of"),
        (lambda r: r.pop("environment"), "$.environment: expected str, found null"),
        (lambda r: r["recipe"].update(flyte="9"), "does not have the fingerprint stated"),
        (lambda r: r["recipe"].update(base=True), "$.recipe.base: expected dict, found true"),
        (lambda r: r.update(platforms={}), "$.platforms: expected the recipe's platforms ['linux/amd64'], found []"),
        (lambda r: amd(r)["wheels"][0].update(sha256="abc"), "wheels[0].sha256: expected 64 hexadecimal digits"),
        (lambda r: amd(r)["wheels"][0].update(size="big"), 'wheels[0].size: expected int, found "big"'),
        (lambda r: amd(r)["wheels"][0].update(size=-1), "wheels[0].size: expected a size in bytes, found -1"),
        (lambda r: amd(r)["wheels"][0].update(size=True), "wheels[0].size: expected int, found true"),
        (lambda r: amd(r)["wheels"][0].update(file="../x.whl"), "wheels[0].file: expected a wheel file name"),
        (lambda r: amd(r)["wheels"][0].update(url="http://x"), "wheels[0].url: expected one of"),
        (lambda r: amd(r)["debs"][1].update(base="yes"), 'debs[1].base: expected bool, found "yes"'),
        (lambda r: amd(r)["debs"][0].update(file="/etc/passwd"), "debs[0].file: expected a Debian package file name"),
        (lambda r: amd(r)["wheels"].append(amd(r)["wheels"][0]), 'wheels: expected every name once, found ["a"]'),
    ],
)
def test_a_lock_edited_by_hand_is_an_error_that_says_where(
    change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(LockError, match=re.escape(said)) as e:
        parse(edited(change), Path("lockfiles/env.json"))
    assert e.value.message.startswith("lockfiles/env.json: ")
    assert e.value.exit_code == 4
    assert e.value.hint


def test_a_lock_that_is_no_json_names_the_line() -> None:
    with pytest.raises(LockError, match=r"^lockfiles/env.json:3:"):
        parse('{\n "schema": 1,\n oops }', Path("lockfiles/env.json"))


def test_a_lock_under_another_name_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, LOCK)
    lock_path(tmp_path, "env").rename(lock_path(tmp_path, "other"))
    with pytest.raises(LockError, match="expected the lock of environment other, found that of env"):
        read(tmp_path, "other")


def test_a_failed_write_leaves_every_lock_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [lock_of(RECIPE, [wheel("a", "9")], environment=name) for name in ("one", "env", "two")]
    write(tmp_path, LOCK)
    before = lock_path(tmp_path, "env").read_bytes()
    synced = []

    def broken(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(StoreError, match="the locks cannot be written: No space left"):
        write_all(tmp_path, others)
    assert lock_path(tmp_path, "env").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["env.json"], "neither another lock nor a temporary file is left"
    monkeypatch.undo()
    assert write_all(tmp_path, others) == ["one", "env", "two"]


def test_the_pool_path_follows_debians_rule() -> None:
    assert deb("libssl3").pool_path == "pool/main/libs/libssl3/libssl3_1.0-1_amd64.deb"
    assert deb("bash").pool_path == "pool/main/b/bash/bash_1.0-1_amd64.deb"


# -- pins ------------------------------------------------------------------------------------------

PIN = Pin("sha256:" + "1" * 64, "sha256:" + "2" * 64)


def test_pins_survive_writing_and_reading_and_change_nothing_else(tmp_path: Path) -> None:
    pinned = replace(LOCK, pins={"linux/amd64": PIN})
    write(tmp_path, pinned)
    again = read(tmp_path, "env")
    assert again is not None
    assert again.pins == {"linux/amd64": PIN}
    assert again.fingerprint == LOCK.fingerprint
    assert pinned.text().startswith(LOCK.text().removesuffix("\n}\n"))


@pytest.mark.parametrize(
    ("pins", "says"),
    [
        ([], "$.pins: expected dict"),
        ({"linux/riscv64": {}}, "$.pins.linux/riscv64: expected a platform of the lock (linux/amd64)"),
        ({"linux/amd64": "sha256:x"}, "$.pins.linux/amd64: expected an object"),
        ({"linux/amd64": {"derivation": PIN.derivation}}, "$.pins.linux/amd64.digest: expected str"),
        ({"linux/amd64": {"derivation": "sha256:1", "digest": PIN.digest}}, "expected sha256: and 64 hexadecimal"),
        (
            {"linux/amd64": {"derivation": PIN.derivation, "digest": PIN.digest, "tag": "latest"}},
            "$.pins.linux/amd64.tag: expected one of derivation, digest",
        ),
    ],
)
def test_a_pin_that_is_none_is_an_error(pins: object, says: str) -> None:
    with pytest.raises(LockError) as caught:
        parse(edited(lambda raw: raw.update(pins=pins)), Path("env.json"))
    assert says in caught.value.message


BOTH = ("linux/amd64", "linux/arm64")


def test_what_follows_or_is_everywhere_is_not_said_twice(tmp_path: Path) -> None:
    """Rows that every platform has stand once, and a Debian package's usual fields not at all."""
    recipe = replace(recipe_of("a"), platforms=BOTH)
    base = lock_of(recipe, [wheel("a"), wheel("z")])
    held = base.platforms[BOTH[0]]
    plain = replace(held.debs[0], name="bash", version="1:5.2-1", architecture="amd64", source="bash", archive="debian",
                    component="main", base=True, file="bash_5.2-1_amd64.deb")  # fmt: skip
    odd = replace(plain, name="tzdata", architecture="all", file="tz.data_1_all.deb", source="tz", base=False,
                  archive="debian-security", component="updates/main")  # fmt: skip
    arm = replace(plain, architecture="arm64", file="bash_5.2-1_arm64.deb", size=7)
    other = replace(wheel("native"), file="native-1.0-cp311-cp311-linux_aarch64.whl")
    lock = replace(base, platforms={
        BOTH[0]: replace(held, debs=(odd, plain)),
        BOTH[1]: replace(held, debs=(arm, odd), wheels=(wheel("a"), other, wheel("z"))),
    })  # fmt: skip
    raw = json.loads(lock.text())
    assert [row["name"] for row in raw["wheels"]] == ["a", "z"]
    assert [[row["name"] for row in raw["platforms"][p]["wheels"]] for p in BOTH] == [[], ["native"]]
    assert list(raw["debs"][0]) == [
        "name", "version", "architecture", "file", "size", "sha256", "source", "archive", "component", "base"
    ]  # fmt: skip
    assert list(raw["platforms"][BOTH[0]]["debs"][0]) == ["name", "version", "architecture", "size", "sha256"]
    assert lock.text().count('"tzdata"') == 1
    again = parse(lock.text(), Path("lockfiles/env.json"))
    assert again.platforms[BOTH[0]].debs == (plain, odd)
    assert again.platforms[BOTH[1]].debs == (arm, odd)
    assert again.platforms[BOTH[1]].wheels == (wheel("a"), other, wheel("z"))
    assert again.text() == lock.text()


def test_a_lock_of_schema_1_is_read_and_written_anew_as_2(tmp_path: Path) -> None:
    write(tmp_path, LOCK)
    path = lock_path(tmp_path, "env")
    new = path.read_text()
    path.write_text(json.dumps(whole_lock(path)))
    old = read(tmp_path, "env")
    assert old is not None
    assert old.text() == new
    assert write(tmp_path, old) is True
    assert path.read_text() == new
    del (raw := whole_lock(path))["platforms"]["linux/amd64"]["debs"][0]["source"]
    with pytest.raises(LockError, match=re.escape("$.platforms.linux/amd64.debs[0].source: expected str, found null")):
        parse(json.dumps(raw), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["wheels"][0].update(sha256="abc"), "$.wheels[0].sha256: expected 64 hexadecimal digits"),
        (lambda r: r["wheels"].append({**r["wheels"][0]}), 'wheels: expected every name once, found ["a"]'),
        (lambda r: amd(r)["wheels"].append(r["wheels"][0]), 'wheels: expected every name once, found ["a"]'),
        (lambda r: r.update(schema=1), "expected one of"),
    ],
)
def test_shared_rows_are_read_as_strictly(change: Callable[[dict[str, Any]], object], said: str) -> None:
    recipe = replace(recipe_of("a"), platforms=BOTH)
    raw = json.loads(lock_of(recipe, [wheel("a")]).text())
    change(raw)
    with pytest.raises(LockError, match=re.escape(said)):
        parse(json.dumps(raw), Path("lockfiles/env.json"))
