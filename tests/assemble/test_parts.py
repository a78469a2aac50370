"""A wheel over several layers: which files lie where, and that together they are the wheel in one layer."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.parts import divided
from flyte_build.assemble.plan import parse_plan
from flyte_build.deriving.wheel_layers import parts
from tests.support.layers import Written, fixed_compress, plan, wheel_layer, write
from tests.support.wheels import build_wheel

WEIGHTS = st.lists(st.integers(1, 100), min_size=1, max_size=40)


@given(WEIGHTS, st.integers(1, 40), st.integers(1, 200))
def test_every_run_has_something_and_all_are_in_one(weights: list[int], count: int, ceiling: int) -> None:
    count = min(count, len(weights))
    runs = divided(weights, count, ceiling)
    assert len(runs) == count
    assert [i for start, end in runs for i in range(start, end)] == list(range(len(weights)))
    assert all(start < end for start, end in runs)


@given(WEIGHTS, st.integers(100, 400))
def test_as_many_parts_as_a_size_is_given_are_enough(weights: list[int], ceiling: int) -> None:
    count = parts(sum(weights), ceiling)
    if count <= len(weights):
        assert all(sum(weights[start:end]) <= ceiling for start, end in divided(weights, count, ceiling))


@given(WEIGHTS, st.integers(20, 60))
def test_what_is_above_the_ceiling_by_itself_has_no_companion(weights: list[int], ceiling: int) -> None:
    count = parts(sum(weights), ceiling)
    if 1 < count <= len(weights):
        for start, end in divided(weights, count, ceiling):
            assert end - start == 1 or sum(weights[start:end]) <= ceiling


def test_the_heaviest_is_as_light_as_can_be() -> None:
    assert divided([5, 1, 1, 1, 5, 2], 3, 100) == [(0, 3), (3, 5), (5, 6)]
    assert divided([1, 1, 1, 1], 4, 100) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    # Two runs would do, as one file is more than all others; three are asked for.
    assert divided([90, 1, 1, 1], 3, 1000) == [(0, 1), (1, 2), (2, 4)]


def spread(path: Path, ceiling: int, folder: Path) -> tuple[Written, list[Written]]:
    """The layer of a wheel, and those that it is spread over."""
    whole, count = wheel_layer([path]), parts(path.stat().st_size, ceiling)
    each = [{**whole, "part": {"number": i + 1, "of": count, "ceiling": ceiling}} for i in range(count)]
    return write(whole, [path], folder), [write(spec, [path], folder) for spec in each]


@pytest.mark.parametrize("seed", range(12))
def test_together_they_are_the_one_layer(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    files = {
        "/".join(["pkg", *(chance.choice("abc") for _ in range(chance.randint(0, 2))), f"f{i}.bin"]): chance.randbytes(
            chance.choice([0, 10, 3000, 9000])
        )
        for i in range(chance.randint(12, 30))
    }
    entry_points = "[console_scripts]\nrun = pkg:main\n"
    wheel = build_wheel(tmp_path, "pkg", files=files, entry_points=entry_points, data={"scripts/tool": "#!python\n"})
    whole, some = spread(wheel, 20_000, tmp_path)
    assert len(some) == -(-2 * wheel.stat().st_size // 20_000)
    assert all(part.contents() for part in some), "no layer is empty"
    assert all(part.result.size <= 20_000 for part in some)
    merged: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    listing: dict[str, str] = {}
    for part in some:
        assert not merged.keys() & part.contents().keys(), "no file is in two"
        merged |= part.contents()
        modes |= part.modes()
        listing |= part.result.listing
    assert (merged, modes, listing) == (whole.contents(), whole.modes(), dict(whole.result.listing))


def test_golden(tmp_path: Path) -> None:
    files = {f"pkg/f{i}.bin": bytes([i]) * 4000 for i in range(6)}
    wheel = build_wheel(tmp_path, "pkg", files=files, compress=fixed_compress)
    _, some = spread(wheel, 20_000, tmp_path)
    assert [part.result.digest for part in some] == GOLDEN


GOLDEN = [
    "sha256:fdc446ea9a2d1918cb7cbdb0a1c09694f3ec5480477a32db010b8e76f3364ea9",
    "sha256:91afdfcc41b29278493f059f324692c5230ed94ef19f7385c31e0ab59b7a4ff7",
    "sha256:ac234933aeae685c9b234244a0f80ba1ac8f15f7547500b3fe5f9267a6d37a3b",
]


def test_a_wheel_of_fewer_files_than_parts(tmp_path: Path) -> None:
    chance = random.Random(1)
    wheel = build_wheel(tmp_path, "pkg", files={"pkg/model.bin": chance.randbytes(100_000)})
    with pytest.raises(
        AssembleError,
        match=r"^pkg-1\.0-py3-none-any\.whl: expected 21 files or more for as many layers of 10000 bytes, found 5, "
        r"the largest of 10\d{4}; files are not divided, so `layer-ceiling` has to be higher",
    ):
        spread(wheel, 10_000, tmp_path)


def test_a_file_above_the_ceiling_has_a_layer_of_its_own(tmp_path: Path) -> None:
    chance = random.Random(1)
    files = {"pkg/model.bin": chance.randbytes(50_000)} | {f"pkg/{i}.bin": chance.randbytes(3000) for i in range(20)}
    _, some = spread(build_wheel(tmp_path, "pkg", files=files), 20_000, tmp_path)
    (large,) = [part for part in some if part.result.size > 20_000]
    assert [path.rpartition("/")[2] for path in large.contents()] == ["model.bin"]


@pytest.mark.parametrize("part", [7, {}, {"number": 0, "of": 2, "ceiling": 5}, {"number": 3, "of": 2, "ceiling": 5}])
def test_a_plan_with_another_part_is_refused(part: Any, tmp_path: Path) -> None:
    layer = {**wheel_layer([build_wheel(tmp_path, "pkg")]), "part": part}
    with pytest.raises(AssembleError, match=r"plan\.json: \$\.layers\[0\]\.part"):
        parse_plan(json.dumps(plan([layer])).encode(), "plan.json")


def test_a_part_is_of_one_wheel(tmp_path: Path) -> None:
    wheels = [build_wheel(tmp_path, name) for name in ("one", "two")]
    layer = {**wheel_layer(wheels), "part": {"number": 1, "of": 2, "ceiling": 5}}
    with pytest.raises(AssembleError, match=r"\$\.layers\[0\]\.wheels: expected one wheel"):
        parse_plan(json.dumps(plan([layer])).encode(), "plan.json")
