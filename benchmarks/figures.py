"""The figures that are shown, chosen from a report's JSON: pure, so that what is shown can be checked against it.

A report is what ``python -m benchmarks --json`` writes, of all benchmarks with all peers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Group", "Row", "every", "groups", "limits", "machine", "table"]

Report = Mapping[str, Any]

_BUILDAH = ("flyte-build", "buildah + uv")
_PUSH = ("flyte-build push", "skopeo copy")
_ALONE = ("flyte-build, from the locks alone", "skopeo copy")
_EXAMPLE = "the example's three images: "
# Heading; benchmark; then label, case and the two sides.
_SHOWN = (
    (
        "Images, against buildah with uv pip install",
        "images",
        (
            ("the example, three images, cold", f"{_EXAMPLE}cold", _BUILDAH),
            ("pytest (2 MB), cold", "pytest: cold", _BUILDAH),
            ("pytest, a small wheel changed", "pytest: a small wheel changed", _BUILDAH),
            ("scikit-learn (75 MB), cold", "science: cold", _BUILDAH),
            ("scikit-learn, a small wheel changed", "science: a small wheel changed", _BUILDAH),
            ("scikit-learn, a large wheel changed", "science: a large wheel changed", _BUILDAH),
            ("scikit-learn, nothing changed", "science: nothing changed", _BUILDAH),
            ("cuBLAS (583 MB), cold", "large: cold", _BUILDAH),
            ("cuBLAS, a small wheel changed", "large: a small wheel changed", _BUILDAH),
        ),
    ),
    (
        "Nothing to do, against flyte build",
        "noop",
        (("flyte-build plan, three images", "three images, nothing to do", ("flyte-build plan", "flyte build")),),
    ),
    (
        "Push of three images, against skopeo copy",
        "push",
        (
            ("the command, cold", f"{_EXAMPLE}cold", _PUSH),
            ("the command, nothing changed", f"{_EXAMPLE}nothing changed", _PUSH),
            ("the command, one package changed", f"{_EXAMPLE}one package changed", _PUSH),
            ("locks alone, cold", f"{_EXAMPLE}cold", _ALONE),
            ("locks alone, nothing changed", f"{_EXAMPLE}nothing changed", _ALONE),
            ("locks alone, one package changed", f"{_EXAMPLE}one package changed", _ALONE),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: medians in seconds of wall and of processor time, ours and the peer's."""

    label: str
    wall: tuple[float, float]
    cpu: tuple[float, float]

    @property
    def wall_ratio(self) -> float:
        return self.wall[1] / self.wall[0]

    @property
    def cpu_ratio(self) -> float:
        return self.cpu[1] / self.cpu[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Comparisons with one peer."""

    heading: str
    rows: tuple[Row, ...]


def groups(report: Report) -> list[Group]:
    """What is shown, in order. Raises ``RuntimeError`` where the report lacks a part of it."""
    return [Group(heading, tuple(_row(report, name, *shown) for shown in rows)) for heading, name, rows in _SHOWN]


def _row(report: Report, benchmark: str, label: str, title: str, sides: tuple[str, str]) -> Row:
    found = {
        series["label"]: series
        for case in report["benchmarks"].get(benchmark, ())
        if case["title"] == title
        for series in case["series"]
    }
    for side in sides:
        if side not in found:
            raise RuntimeError(f"expected a report of all benchmarks with their peers, found no `{side}` in `{title}`")
    ours, theirs = (found[side] for side in sides)
    return Row(label, (ours["wall_median"], theirs["wall_median"]), (ours["cpu_median"], theirs["cpu_median"]))


def machine(report: Report) -> str:
    """The machine in a line: what it is, and how busy with other work."""
    said = report["machine"]
    shares = [said["busy_elsewhere"][name] for name in ("images", "noop", "push")]
    memory = round(said["memory_bytes"] / (1 << 30))
    return (
        f"{said['cores']} cores, {memory} GiB; other work took {min(shares):.0%} to {max(shares):.0%} of the "
        f"processors. Medians of {report['rounds']} rounds."
    )


# -- Markdown --------------------------------------------------------------------------------------


def table(report: Report) -> Iterator[str]:
    """The comparisons as lines of Markdown."""
    yield "| | flyte-build | the other | processor time | wall time |"
    yield "|---|---|---|---|---|"
    for group in groups(report):
        yield f"| **{group.heading}** | | | | |"
        for row in group.rows:
            ours, theirs = (f"{seconds(w)}; {seconds(c)}" for w, c in zip(row.wall, row.cpu, strict=True))
            yield f"| {row.label} | {ours} | {theirs} | **{times(row.cpu_ratio)}** | {times(row.wall_ratio)} |"


def limits(report: Report) -> Iterator[str]:
    """Every goal that was set, and whether it was met, as lines of Markdown."""
    yield "| benchmark | case | figure | seen | goal | |"
    yield "|---|---|---|---|---|---|"
    for name, cases in report["benchmarks"].items():
        for case in cases:
            for ratio in case["ratios"]:
                if "goal" in ratio:
                    unit = ratio["unit"] if ratio["unit"] == "×" else f" {ratio['unit']}"
                    sense = "≤" if ratio["sense"] == "at most" else "≥"
                    value = _figure(ratio["value"])
                    verdict = "met" if ratio["met"] else "**missed**"
                    yield (
                        f"| `{name}` | {case['title']} | {ratio['name']} | {value}{unit} | "
                        f"{sense} {ratio['goal']:g}{unit} | {verdict} |"
                    )


def every(report: Report) -> Iterator[str]:
    """All of a report as a page of Markdown."""
    yield from ("# Every figure of the run that is kept", "")
    yield from ("Made by `./dev bench picture` from `full.json`; [how it is measured](../README.md).", "", "```")
    yield from (f"{key.replace('_', ' '):<16} {value}" for key, value in _described(report))
    yield "```"
    for name, cases in report["benchmarks"].items():
        busy = report["machine"]["busy_elsewhere"][name]
        yield from ("", f"## `{name}`", "", f"Other work took {busy:.0%} of the processors meanwhile.")
        for case in cases:
            yield from ("", f"**{case['title']}**", "", "| side | wall, median | least to most | processor | peak |")
            yield "|---|---|---|---|---|"
            for s in case["series"]:
                least, most = s["wall_spread"]
                peak = f"{s['peak_bytes'] / 1e6:.0f} MB" if s["peak_bytes"] else ""
                yield (
                    f"| {s['label']} | {s['wall_median']:.3f} s | {least:.3f} to {most:.3f} s | "
                    f"{s['cpu_median']:.3f} s | {peak} |"
                )
            if case["facts"]:
                yield ""
            yield from (f"- {what}: {fact}" for what, fact in case["facts"].items())


def _described(report: Report) -> Iterator[tuple[str, object]]:
    said = report["machine"]
    yield from ((key, value) for key, value in said.items() if key != "busy_elsewhere")
    yield "rounds", report["rounds"]


def times(ratio: float) -> str:
    """A ratio with two digits: ``0.13×``, ``4.1×``, ``53×``."""
    return f"{_figure(ratio)}×"


def seconds(value: float) -> str:
    """A time with two digits: ``36 ms``, ``4.1 s``, ``18 s``."""
    return f"{value * 1000:.0f} ms" if value < 0.995 else f"{_figure(value)} s"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
