"""The figures that are shown are those that were measured: picture and tables are what the kept report gives."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.figures import Row, groups, seconds, table, times
from benchmarks.picture import RESULTS, rendered, svg


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    found = json.loads(RESULTS.read_text())
    assert isinstance(found, dict)
    return found


def test_what_is_committed_is_what_the_report_gives(report: dict[str, Any]) -> None:
    made = rendered(report)
    assert [path.name for path in made] == ["how-fast.svg", "README.md", "README.md", "README.md"]
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name}: run `./dev bench picture`"


def test_the_report_is_of_a_full_run(report: dict[str, Any]) -> None:
    assert (report["schema"], report["quick"]) == (1, False)
    assert list(report["benchmarks"]) == ["layers", "images", "noop", "closure", "memory", "push"]
    skipped = [case["skipped"] for cases in report["benchmarks"].values() for case in cases]
    assert set(skipped) == {None}


def test_medians_are_those_of_the_runs(report: dict[str, Any]) -> None:
    for cases in report["benchmarks"].values():
        for case in cases:
            for series in case["series"]:
                walls = sorted(series["wall_seconds"])
                assert len(walls) == report["rounds"]
                assert series["wall_median"] == pytest.approx(walls[len(walls) // 2], abs=0.001)
                assert series["wall_spread"] == [walls[0], walls[-1]]


def test_every_comparison_has_its_bar(report: dict[str, Any]) -> None:
    drawn = ElementTree.fromstring(svg(report))
    space = "{http://www.w3.org/2000/svg}"
    bars = [bar for bar in drawn.iter(f"{space}rect") if bar.get("class") in ("less", "more")]
    rows = [row for group in groups(report) for row in group.rows]
    assert [bar.get("class") for bar in bars] == ["less" if row.cpu_ratio >= 1 else "more" for row in rows]
    values = [text.text for text in drawn.iter(f"{space}text") if text.get("class") == "value"]
    assert values == [times(row.cpu_ratio) for row in rows]
    width = float(drawn.attrib["width"])
    for bar in bars:
        assert 0 < float(bar.attrib["x"]) < float(bar.attrib["x"]) + float(bar.attrib["width"]) < width


def test_the_picture_says_what_the_table_says(report: dict[str, Any]) -> None:
    bold = [found[1] for line in table(report) if (found := re.search(r"\*\*([\d.]+×)\*\*", line))]
    assert bold == re.findall(r'class="value"[^>]*>([^<]+)<', svg(report))


def test_a_report_without_a_peer_is_not_shown(report: dict[str, Any]) -> None:
    less = {**report, "benchmarks": {**report["benchmarks"], "noop": []}}
    with pytest.raises(RuntimeError, match="found no `flyte-build plan` in `three images, nothing to do`"):
        groups(less)


@pytest.mark.parametrize(("ratio", "shown"), [(0.042, "0.04×"), (0.994, "0.99×"), (4.06, "4.1×"), (9.96, "10×")])
def test_ratios_have_two_digits(ratio: float, shown: str) -> None:
    assert times(ratio) == shown


def test_times_are_short() -> None:
    assert [seconds(x) for x in (0.0358, 0.9949, 1.04, 18.2)] == ["36 ms", "995 ms", "1.0 s", "18 s"]


def test_ratios_are_the_others_over_ours() -> None:
    row = Row("r", (2, 4), (1, 8))
    assert (row.wall_ratio, row.cpu_ratio) == (2, 8)
