"""Seals in a lock file: written and read as they are, and refused by place where they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import LockError
from flyte_build.locks import Lock, LockedSeal, parse
from flyte_build.recipe import RunCommands

from ..support.recipes import lock_of, recipe_of

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
SEAL = LockedSeal(0, A, "internet", B, 10, C, False, (("etc/x", "0123456789ab"),), ("six",))


def held(*seals: LockedSeal) -> Lock:
    lock = lock_of(recipe_of(RunCommands(("make",))))
    return replace(lock, platforms={name: replace(p, seals=seals) for name, p in lock.platforms.items()})


def test_written_and_read() -> None:
    text = held(SEAL).text()
    assert parse(text, Path("env.json")) == held(SEAL)
    assert sum('"sketch"' in line for line in text.splitlines()) == 1, "one line a seal"


def test_a_lock_without_any_is_as_it_was() -> None:
    assert "seals" not in held().text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": 7}, r"seals\[0\]\.config: expected dict, found 7"),
        ({"config": {"Env": "A=b"}}, r"seals\[0\]\.config\.Env: expected a list of strings"),
        ({"digest": "sha256:1"}, r"seals\[0\]\.digest: expected sha256: and 64 hexadecimal digits"),
        ({"size": -1}, r"seals\[0\]\.size: expected a size in bytes"),
        ({"step": "1"}, r"seals\[0\]\.step: expected int"),
        ({"sketch": [["a"]]}, r"seals\[0\]\.sketch: expected pairs"),
        ({"more": 1}, r"seals\[0\]\.more: expected one of"),
    ],
)
def test_what_was_edited_is_refused_by_place(change: dict[str, Any], said: str) -> None:
    raw = json.loads(held(SEAL).text())
    raw["platforms"]["linux/amd64"]["seals"][0] |= change
    with pytest.raises(LockError, match=said):
        parse(json.dumps(raw), Path("env.json"))


def test_a_step_twice_is_refused() -> None:
    with pytest.raises(LockError, match="expected every step once, in order"):
        parse(held(SEAL, SEAL).text(), Path("env.json"))
