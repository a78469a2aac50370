"""The picture of a plan: what is in it, where it lies, and that it is legible for three and for sixty environments."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flyte_build.deriving.derivation import derive
from flyte_build.planning.graph import Graph, make_graph, render_dot, render_html, render_svg
from flyte_build.planning.graph.grouped import route
from flyte_build.planning.graph.layout import Box, place, treemap
from flyte_build.planning.graph.model import Layer
from flyte_build.planning.graph.svg import amount
from flyte_build.planning.plan import make_plan
from tests.planning.test_plan import FOLD, MSA, MULTI, FakeCache
from tests.support.recipes import AMD64, lock_of, recipe_of, wheel
from tests.support.tools import need

DEPENDS = {"multi_env": ["fold_env", "msa_env"]}


def three(cached: tuple[str, ...] = (), failing: tuple[str, ...] = ()) -> Graph:
    cache = FakeCache()
    cache.images = {d.hash for d in (FOLD, MSA, MULTI) if d.environment in cached}
    return make_graph(make_plan([FOLD, MSA, MULTI], cache), DEPENDS, failing, "af2 main")


def many(count: int) -> Graph:
    """A star of levels: `count` environments with long names, shared and own wheels of very different sizes."""
    derivations = []
    for i in range(count):
        recipe = recipe_of("common", f"own{i}")
        wheels = [
            wheel("flyte", "2.12.1", step=0, size=9 << 20),
            wheel("common", size=80 << 20),
            wheel(f"own{i}", step=2, size=(i * i + 1) << 16),
        ]
        name = f"domain-{i % 5}-a-rather-long-environment-name-{i}"
        derivations.append(derive(lock_of(recipe, wheels, environment=name), recipe, AMD64))
    names = [d.environment for d in derivations]
    depends = {names[-1]: names[:-1], names[-2]: names[: count // 3]}
    return make_graph(make_plan(derivations, FakeCache()), depends, names[:2], "monorepo nightly")


def grouped(count: int) -> Graph:
    """The same, made by nine modules."""
    graph = many(count)
    nodes = (replace(n, group=f"flows/domain_{i * 7 % 9}/main.py") for i, n in enumerate(graph.nodes))
    return replace(graph, nodes=tuple(nodes))


def test_environments_states_and_inheritance() -> None:
    graph = three(cached=("fold_env",), failing=("msa_env",))
    nodes = {n.name: n for n in graph.nodes}
    assert {n: nodes[n].state for n in nodes} == {"fold_env": "cached", "msa_env": "failing", "multi_env": "build"}
    assert {n: nodes[n].depth for n in nodes} == {"fold_env": 1, "msa_env": 1, "multi_env": 0}
    assert nodes["multi_env"].extends == "fold_env", "it has all of its layers, and more"
    assert nodes["fold_env"].extends is None
    assert graph.stored < graph.sum


def test_shared_layers_are_ranked_by_size_and_own_ones_are_not() -> None:
    graph = many(4)
    shared = sorted((x for x in graph.layers.values() if x.rank is not None), key=lambda x: x.rank or 0)
    assert [x.title for x in shared][:2] == ["common 1.0", "flyte runtime 2.12.1"]
    assert all(len(x.holders) == 1 for x in graph.layers.values() if x.rank is None)


@given(st.lists(st.integers(0, 1 << 34), min_size=1, max_size=40))
@example([0, 2147483246])
def test_tiles_have_areas_as_sizes_stay_inside_and_do_not_overlap(sizes: list[int]) -> None:
    layers = [Layer(str(i), "", "", size, True, ()) for i, size in enumerate(sorted(sizes, reverse=True))]
    area = Box(10, 20, 800, 300)
    tiles = treemap(layers, area)
    total = sum(max(s, 1) for s in sizes)
    for layer in layers:
        box = tiles[layer.key]
        assert box.w * box.h == pytest.approx(max(layer.size, 1) / total * area.w * area.h, rel=1e-6, abs=1e-6)
        assert box.x >= area.x - 1e-6
        assert box.y >= area.y - 1e-6
        assert box.x + box.w <= area.x + area.w + 1e-6
        assert box.y + box.h <= area.y + area.h + 1e-6
    for a, b in itertools.combinations(tiles.values(), 2):
        apart = a.x + a.w <= b.x + 1e-6 or b.x + b.w <= a.x + 1e-6
        assert apart or a.y + a.h <= b.y + 1e-6 or b.y + b.h <= a.y + 1e-6 or 0 in (a.w, a.h, b.w, b.h)


@pytest.mark.parametrize("graph", [three(), many(60)], ids=["three", "sixty"])
def test_cards_do_not_overlap_and_dependencies_are_below(graph: Graph) -> None:
    layout = place(graph)
    for a, b in itertools.combinations(layout.cards.values(), 2):
        assert abs(a.x - b.x) >= a.w or abs(a.y - b.y) >= a.h
    for node in graph.nodes:
        for dependency in node.depends_on:
            assert layout.cards[dependency].y > layout.cards[node.name].y
    assert all(c.x >= 0 and c.x + c.w <= layout.width and c.y + c.h < layout.map_top for c in layout.cards.values())


@pytest.mark.parametrize("graph", [three(("msa_env",), ("fold_env",)), many(60)], ids=["three", "sixty"])
def test_the_svg_is_well_formed_and_shows_everything(graph: Graph) -> None:
    root = ET.fromstring(render_svg(graph))
    space = "{http://www.w3.org/2000/svg}"
    cards = {g.get("data-name"): g for g in root.iter(f"{space}g") if g.get("class") == "env"}
    assert set(cards) == {n.name for n in graph.nodes}
    for node in graph.nodes:
        bars = [r for r in cards[node.name].iter(f"{space}rect") if r.get("class") == "layer"]
        assert [r.get("data-layer") for r in bars] == [key[7:19] for key in node.layers]
    tiles = [g for g in root.iter(f"{space}g") if g.get("class") == "tile-group"]
    assert len(tiles) == len(graph.layers)
    edges = {(p.get("data-from"), p.get("data-to")) for p in root.iter(f"{space}path") if p.get("class") == "edge"}
    assert edges == {(n.name, d) for n in graph.nodes for d in n.depends_on}


def test_groups_have_blocks_and_lines_cross_no_card() -> None:
    graph = grouped(40)
    layout = place(graph)
    assert sorted(b.name for b in layout.blocks) == sorted({n.group for n in graph.nodes})
    boxes = {b.name: b.box for b in layout.blocks}
    for a, b in itertools.combinations(boxes.values(), 2):
        assert a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y
    for node in graph.nodes:
        card, box = layout.cards[node.name], boxes[node.group]
        assert box.x < card.x
        assert card.x + card.w < box.x + box.w <= layout.width
        assert box.y < card.y < card.y + card.h < box.y + box.h < layout.map_top
        for dependency in node.depends_on:
            path = route(card, layout.cards[dependency], 3)
            # Corner to corner; a curve's end counts as the corner that it rounds off.
            points = [tuple(map(float, p.split(","))) for p in re.findall(r"(?<=[MLQ ])[-0-9.]+,[-0-9.]+", path)]
            for (x1, y1), (x2, y2) in itertools.pairwise(points):
                for other in layout.cards.values():
                    inside = min(x1, x2) < other.x + other.w - 0.1 and max(x1, x2) > other.x + 0.1
                    assert not (inside and min(y1, y2) < other.y + other.h - 0.1 and max(y1, y2) > other.y + 0.1)
    assert layout.width < 2400
    assert layout.width / layout.height > 1.2, "as wide as a screen, so that it is legible when all of it is in sight"


def test_names_are_whole() -> None:
    picture = ET.fromstring(render_svg(grouped(40)))
    for card in picture.iter("{http://www.w3.org/2000/svg}g"):
        if card.get("class") == "env":
            words = [t.text or "" for t in card.iter("{http://www.w3.org/2000/svg}text") if t.get("class") == "name"]
            assert "".join(words) == card.get("data-name")


def test_dot() -> None:
    said = render_dot(three(("fold_env",), ("msa_env",)))
    assert said.startswith('digraph "af2 main" {\n')
    assert '  "multi_env" -> "fold_env";\n' in said
    assert '"multi_env" -> "fold_env" [style=dashed' in said
    assert '  "msa_env" [label="msa_env\\n4 layers, 1.1 MB", color="#b91c1c"' in said
    assert render_dot(grouped(40)).count("subgraph cluster_") == 9
    odd = make_graph(make_plan([FOLD], FakeCache()), {}, (), 'a "b" \\')
    assert render_dot(odd).startswith('digraph "a \\"b\\" \\\\" {\n')


def test_names_are_escaped() -> None:
    graph = make_graph(make_plan([FOLD], FakeCache()), {}, (), '<script>alert("1")</script>')
    assert "<script>alert" not in render_svg(graph)
    assert "<script>alert" not in render_html(graph)


def test_the_page_is_self_contained() -> None:
    page = render_html(many(5))
    assert re.findall(r'(?:src|href)\s*=\s*"(?!#)[^"]+"', page) == []
    assert "import(" not in page
    assert "fetch(" not in page


def test_sizes_are_in_decimal_units() -> None:
    assert [amount(n) for n in (0, 999, 1500, 64_900_000, 539_100_000, 3_000_000_000)] == [
        "0 B", "999 B", "1.5 kB", "64.9 MB", "539 MB", "3.0 GB",
    ]  # fmt: skip


# What a browser says of the page: every text's box, in the card or tile it belongs to, and its size on the screen.
_PROBE = """
<script>
const wrong = [];
for (const group of document.querySelectorAll(".env, .tile-group")) {
  const frame = group.querySelector("rect").getBoundingClientRect();
  for (const text of group.querySelectorAll("text")) {
    const box = text.getBoundingClientRect();
    const size = parseFloat(getComputedStyle(text).fontSize);
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1 || size < 10.5)
      wrong.push([group.dataset.name || group.dataset.layer, text.textContent]);
  }
}
const cards = document.querySelectorAll(".env").length;
document.querySelectorAll(".env")[0].dispatchEvent(new MouseEvent("mouseenter"));
const lit = document.querySelectorAll(".env.on").length;
document.querySelectorAll(".env")[0].dispatchEvent(new MouseEvent("mouseleave"));
const field = document.querySelector("input");
field.value = "common"; field.dispatchEvent(new Event("input"));
const found = document.querySelectorAll(".env.on").length;
const boxed = () => svg.getAttribute("viewBox").split(" ").map(Number);
const key = k => stage.dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true}));
const firstCard = document.querySelectorAll(".card")[0].getBoundingClientRect(), place = stage.getBoundingClientRect();
const inSight = [...document.querySelectorAll(".card")].filter(c => {
  const b = c.getBoundingClientRect();
  return b.left >= place.left && b.right <= place.right && b.top >= place.top && b.bottom <= place.bottom;
}).length;
field.value = ""; field.dispatchEvent(new Event("input"));
const start = {scale: firstCard.width / 248, inSight, said: document.querySelector("#said").textContent};
key("0");
start.after = document.querySelector("#said").textContent;
const whole0 = boxed(), frame = stage.getBoundingClientRect(), shown = svg.getBoundingClientRect();
const moves = [];
key("+"); moves.push(boxed()[2] < whole0[2]);
const before = boxed(); key("ArrowRight"); moves.push(boxed()[0] > before[0]);
const corner = {deltaY: -200, clientX: frame.left + 5, clientY: frame.top + 5, cancelable: true};
stage.dispatchEvent(new WheelEvent("wheel", corner));
moves.push(boxed()[2] < before[2]);
key("0"); moves.push(String(boxed()) === String(whole0));
const fits = document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight
  && shown.right <= innerWidth + 1 && shown.bottom <= innerHeight + 1;
const box = document.querySelector("#legend").getBoundingClientRect(), legend = box.top >= 0 && box.right <= innerWidth;
document.title = JSON.stringify({wrong, cards, lit, found, moves, fits, legend, start});
</script>
"""


def _chromium(folder: Path, *arguments: str) -> str:
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += f" --disable-component-update --disable-sync --user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [need("chromium"), *flags.split(), *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    ("count", "window"), [(3, "900,700"), (3, "420,800"), (60, "1800,1600"), (40, "1600,1000"), (40, "420,800")]
)
def test_a_browser_renders_it_legibly(count: int, window: str, tmp_path: Path) -> None:
    graph = {3: three, 40: lambda: grouped(40), 60: lambda: many(60)}[count]()
    page = tmp_path / "plan.html"
    page.write_text(render_html(graph).replace("</body>", _PROBE + "</body>"))
    dom = _chromium(tmp_path, f"--window-size={window}", "--dump-dom", page.as_uri())
    title = re.search(r"<title>(\{.*?\})</title>", dom)
    assert title is not None
    said = json.loads(title[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert said["wrong"] == [], "text outside of its box, or too small to read"
    assert said["cards"] == count
    assert said["lit"] == 1, "the card that is pointed at"
    assert said["moves"] == [True, True, True, True], "larger, to the right, larger again, and all of it"
    assert said["fits"], "all of it is in sight, and nothing sticks out"
    assert said["legend"], "the legend stays in view"
    start = said["start"]
    if window.startswith("420"):
        assert start["scale"] >= 0.99, "as large as it was drawn"
        assert start["inSight"] >= 1
        assert (start["said"], start["after"]) == ("drag to see the rest", "")
    else:
        assert (start["inSight"], start["said"]) == (count, ""), "all of it"
    assert said["found"] == (count if count > 3 else 0), "environments with the package that is searched for"


@pytest.mark.integration
def test_a_browser_opens_the_svg_alone(tmp_path: Path) -> None:
    picture, shot = tmp_path / "plan.svg", tmp_path / "plan.png"
    picture.write_text(render_svg(three(("fold_env",), ("msa_env",))))
    _chromium(tmp_path, "--window-size=860,760", f"--screenshot={shot}", picture.as_uri())
    data = shot.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(data[16:20]) == 860
    assert len(data) > 20_000, "an empty page compresses to almost nothing"
