"""``./dev bench picture``: the picture and the tables that are shown, from the report that is kept. Never measures.

The report is ``results/full.json``. What is made of it is committed, and a test holds it to be exactly that: the
picture, a page of all figures, and what stands between markers in two READMEs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

from .figures import Group, Report, every, groups, limits, machine, table, times

__all__ = ["PICTURE", "RESULTS", "main", "rendered", "svg"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "full.json"
PICTURE = ROOT / "docs" / "images" / "how-fast.svg"

_WIDTH, _LABELS, _LEFT, _RIGHT = 820, 280, 326, 56
_ROW, _BAR, _HEADING, _TOP, _BOTTOM = 22, 14, 34, 66, 46
_THIN = 1.5  # of a bar that says: the same
# From a thirty-second of our processor time to sixty-four times as much: every doubling is as wide as any other.
_LEAST, _MOST = -5, 6
_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .heading, .value { font-weight: 600; }
  .soft { fill: #59636e; font-size: 12px; }
  .panel { fill: #ffffff; stroke: #d1d9e0; }
  .grid { stroke: #e3e7eb; }
  .one { stroke: #59636e; stroke-width: 1.5; }
  .less { fill: #1a7f53; }
  .more { fill: #bc5a1c; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .soft { fill: #9da7b1; }
    .panel { fill: #0d1117; stroke: #3d444d; }
    .grid { stroke: #262c34; }
    .one { stroke: #9da7b1; }
    .less { fill: #3fb37f; }
    .more { fill: #e08a4b; }
  }
"""


def main() -> int:
    """Write what :func:`rendered` gives, and say what changed."""
    for path, text in rendered(json.loads(RESULTS.read_text())).items():
        same = path.exists() and path.read_text() == text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"{'unchanged' if same else 'written':<10} {path.relative_to(ROOT)}")
    return 0


def rendered(report: Report) -> dict[Path, str]:
    """Every file that shows figures, as it is with those of ``report``."""
    shown = [
        f"![Processor time of others, as a multiple of flyte-build's]({PICTURE.relative_to(ROOT)})",
        "",
        *table(report),
        "",
        f"Wall time; processor time. {machine(report)}",
    ]
    front, method = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
    return {
        PICTURE: svg(report),
        RESULTS.with_name("README.md"): "\n".join(every(report)) + "\n",
        front: _between(front.read_text(), "how-fast", shown),
        method: _between(method.read_text(), "goals", list(limits(report))),
    }


def _between(text: str, name: str, lines: list[str]) -> str:
    """``text`` with ``lines`` between the two markers of ``name``."""
    begin, end = f"<!-- {name}: made by ./dev bench picture -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise RuntimeError(f"expected the markers `{begin}` and `{end}`, found no such pair")
    return "\n".join([before + begin, *lines, end + after])


def svg(report: Report) -> str:
    """Bars of ratios of processor time, on either side of the line where both need the same."""
    shown = groups(report)
    height = _TOP + sum(_HEADING + _ROW * len(group.rows) for group in shown) + _BOTTOM
    title = "Processor time of others, as a multiple of flyte-build's"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="title">',
        f'<title id="title">{escape(title)}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="panel" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="24" y="32">{escape(title)}</text>',
        '<text class="soft" x="24" y="52">right of the line at 1× flyte-build needs less, left of it more</text>',
        *_grid(height),
        *_bars(shown),
        f'<text class="soft" x="24" y="{height - 16}">{escape(machine(report))}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _grid(height: int) -> Iterator[str]:
    for power in range(-4, _MOST + 1, 2):
        x, name = _x(2.0**power), f"{2**power}×" if power >= 0 else f"1/{2**-power}×"
        kind = "one" if power == 0 else "grid"
        yield f'<line class="{kind}" x1="{x}" y1="{_TOP + 8}" x2="{x}" y2="{height - _BOTTOM + 2}"/>'
        yield f'<text class="soft" x="{x}" y="{_TOP + 2}" text-anchor="middle">{name}</text>'


def _bars(shown: list[Group]) -> Iterator[str]:
    one, y = _x(1), _TOP
    for group in shown:
        y += _HEADING
        yield f'<text class="heading" x="24" y="{y - 8}">{escape(group.heading)}</text>'
        for row in group.rows:
            x, middle = _x(row.cpu_ratio), y + _ROW // 2 + 4
            less = row.cpu_ratio >= 1
            at, anchor = (x + 6, "start") if less else (x - 6, "end")
            yield f'<text x="{_LABELS}" y="{middle}" text-anchor="end">{escape(row.label)}</text>'
            yield (
                f'<rect class="{"less" if less else "more"}" x="{min(x, one):g}" y="{y + (_ROW - _BAR) // 2}" '
                f'width="{max(abs(x - one), _THIN):.1f}" height="{_BAR}" rx="2"/>'
            )
            yield (
                f'<text class="value" x="{at:.1f}" y="{middle}" text-anchor="{anchor}">{times(row.cpu_ratio)}</text>'
            )
            y += _ROW


def _x(ratio: float) -> float:
    """Where a ratio lies; what is beyond the edges, on them."""
    power = min(max(math.log2(ratio), _LEAST), _MOST)
    return round(_LEFT + (power - _LEAST) / (_MOST - _LEAST) * (_WIDTH - _LEFT - _RIGHT), 1)
