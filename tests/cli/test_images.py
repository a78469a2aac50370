"""``images``: what this machine's store has, what is shared, and what a later build replaced."""

from __future__ import annotations

import os

from ..support.offline import Offline, workflow
from ..support.verified import Built


def test_nothing_yet(offline: Offline) -> None:
    assert offline.ok("images").out == "no images here: `flyte-build build` makes some\n"
    assert not offline.store.exists(), "asking writes nothing"


def test_images_and_what_each_has_alone(built: Built) -> None:
    offline = built.offline
    said = offline.ok("images", "--json").json()["images"]
    assert {i["environment"]: i["digest"] for i in said} == built.digests
    low, top = sorted(said, key=lambda i: i["environment"])
    shared = {row["digest"] for row in low["layers"]} & {row["digest"] for row in top["layers"]}
    assert shared
    for image in (low, top):
        sizes = {row["digest"]: row["size"] for row in image["layers"]}
        assert image["size"] == sum(sizes.values())
        assert image["alone"] == sum(size for digest, size in sizes.items() if digest not in shared)
        assert image["current"]
        assert not image["unpacked"]
    lines = offline.ok("images").out.splitlines()
    assert lines[0].split()[:3] == ["environment", "platform", "digest"]
    assert built.digests["low"][:19] in offline.ok("images", "low").out
    assert built.digests["low"] in offline.ok("images", "low", "--full").out
    assert "top" not in offline.ok("images", "low").out
    assert offline.ok("images", "zzz").out == "no image here is of an environment whose name holds `zzz`\n"


def test_a_replaced_image_is_hidden_and_counted(built: Built) -> None:
    offline = built.offline
    offline.publish("extra")
    offline.write(workflow("low: alpha extra", "top(low): alpha beta"))
    offline.locked()
    offline.ok("build", "flow.py")
    out = offline.ok("images").out
    assert built.digests["low"][:19] not in out
    assert "1 replaced image not shown (--all)" in out
    row = next(line for line in offline.ok("images", "--all").out.splitlines() if built.digests["low"][:19] in line)
    assert row.rstrip().endswith("replaced")


def test_the_last_use_is_shown(built: Built) -> None:
    offline = built.offline
    old = 1_700_000_000
    for path in (*(offline.store / "used").iterdir(), *(offline.store / "realisations").glob("*.json")):
        os.utime(path, (old, old))
    assert {i["used"] for i in offline.ok("images", "--json").json()["images"]} == {old}
    assert "days ago" in offline.ok("images").out


def test_one_image_of_two_environments_is_listed_as_both(offline: Offline) -> None:
    offline.write(workflow("one: alpha", "two: alpha"))
    offline.locked()
    offline.ok("build", "flow.py")
    said = offline.ok("images", "--json").json()["images"]
    assert sorted(i["environment"] for i in said) == ["one", "two"]
    assert len({i["digest"] for i in said}) == 1
    assert {i["alone"] for i in said} == {said[0]["size"]}
    assert "if each had its own" in offline.ok("images").out
