"""What a benchmark says: cases, each with the sides that were measured and the ratios that matter; text and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from .measure import Series

__all__ = ["Case", "Ratio", "as_json", "as_text"]


@dataclass(frozen=True, slots=True)
class Ratio:
    """``value`` of what ``name`` says, in ``unit``, and the goal: at most or at least so much."""

    name: str
    value: float
    goal: float | None = None
    sense: Literal["at most", "at least"] = "at most"
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.sense == "at most" else self.value >= self.goal

    def to_json(self) -> dict[str, object]:
        out: dict[str, object] = {"name": self.name, "value": round(self.value, 3), "unit": self.unit}
        if self.goal is not None:
            out |= {"goal": self.goal, "sense": self.sense, "met": self.met}
        return out


@dataclass(slots=True)
class Case:
    """One comparison. ``facts`` are sizes and counts worth knowing, ``skipped`` says why a side is missing."""

    title: str
    series: list[Series]
    ratios: list[Ratio] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    skipped: str | None = None

    def to_json(self) -> dict[str, object]:
        return {
            "title": self.title,
            "series": [s.to_json() for s in self.series],
            "ratios": [r.to_json() for r in self.ratios],
            "facts": self.facts,
            "skipped": self.skipped,
        }


def as_json(machine: dict[str, object], quick: bool, rounds: int, cases: dict[str, list[Case]]) -> dict[str, object]:
    """The whole report; sizes in bytes, times in seconds."""
    return {
        "schema": 1,
        "machine": machine,
        "quick": quick,
        "rounds": rounds,
        "benchmarks": {name: [case.to_json() for case in found] for name, found in cases.items()},
    }


def as_text(case: Case) -> Iterator[str]:
    """A case as lines for a person."""
    yield f"  {case.title}"
    for s in case.series:
        walls = [x.wall for x in s.samples]
        spread = f"{min(walls):.3f} to {max(walls):.3f}"
        peak = f"  {s.peak / 1e6:6.0f} MB" if s.peak else ""
        yield f"    {s.label:<42} {s.wall:8.3f} s ({spread})  cpu {s.cpu:7.3f} s{peak}"
    for r in case.ratios:
        verdict = "" if r.goal is None else f"  goal {r.sense} {r.goal:g}: {'met' if r.met else 'MISSED'}"
        yield f"    {r.name:<42} {r.value:8.2f} {r.unit}{verdict}"
    for name, fact in case.facts.items():
        yield f"    {name:<42} {fact}"
    if case.skipped:
        yield f"    {case.skipped}"
