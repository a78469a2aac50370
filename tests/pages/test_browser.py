"""The page in a real browser: at three widths, in both schemes, with a thousand actions, by keyboard and axe-core."""

from __future__ import annotations

import html
import json
import re
import subprocess
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from flyte_build.pages import Pages, document_of, render_page
from flyte_build.submit.action import ErrorInfo, Phase

from ..support.runs import Call, make_run
from ..support.tools import need

pytestmark = pytest.mark.integration

# Runs after the page's own script; says what it saw in the title, which `--dump-dom` prints.
_PROBE = """<script>%s
(async () => {
  const said = {};
  const at = () => document.activeElement || document.body;
  const key = k => at().dispatchEvent(new KeyboardEvent("keydown", {key: k, bubbles: true}));
  const rows = () => [...document.querySelectorAll(".row")];
  said.drawn = rows().length;
  said.chosen = document.querySelector('.row[aria-selected="true"] .task')?.textContent;
  said.error = document.querySelector("pre.error")?.textContent;
  said.wide = document.documentElement.scrollWidth > innerWidth + 1;
  const box = e => e.getBoundingClientRect();
  const upon = r => box(r.querySelector(".took")).left < box(r.querySelector(".label")).right - 1;
  said.over = [...document.querySelectorAll(".row")].filter(upon).length;
  said.apart = Math.abs(box($("axis")).left - box(document.querySelector(".track")).left) > 1;
  $("rows").focus();
  key("Home");
  said.first = document.querySelector('.row[aria-selected="true"] .task')?.textContent;
  key("ArrowLeft");
  said.folded = rows().length;
  key("ArrowRight");
  key("End");
  said.last = document.querySelector('.row[aria-selected="true"]')?.getAttribute("aria-posinset");
  $("find").value = "boom";
  $("find").dispatchEvent(new Event("input"));
  said.found = rows().map(r => r.querySelector(".task").textContent);
  said.said = $("said").textContent;
  $("tab-graph").click();
  said.nodes = document.querySelectorAll("svg .node").length;
  $("tab-images").click();
  said.images = $("images").textContent.includes("sha256:");
  $("tab-time").click();
  key("Escape");
  const before = performance.now();
  for (let i = 0; i < 20; i++) { $("rows").scrollTop = i * 1300; draw(); }
  said.draws = rows().length;
  said.dark = getComputedStyle(document.body).backgroundColor;
  choose(RUN.actions.find(a => a.error).name, true);
  await new Promise(done => setTimeout(done, 50));
  const words = v => `${v.id}: ${v.nodes.map(n => n.html).slice(0, 2)}`;
  if (window.axe) said.axe = (await axe.run(document, {iframes: false})).violations.map(words);
  document.title = JSON.stringify(said);
})();
</script>"""


def browsed(address: str, folder: Path, size: str, *flags: str) -> str:
    """The document behind ``address`` after 20 seconds of the browser's own clock, in a window of ``size``."""
    quiet = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
    done = subprocess.run(
        [
            need("chromium"), "--headless", "--no-sandbox", *quiet, f"--user-data-dir={folder / 'profile'}",
            f"--window-size={size}", "--virtual-time-budget=20000", *flags, "--dump-dom", address,
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    return done.stdout


def looked_at(page: str, folder: Path, size: str, *flags: str, axe: str = "") -> dict[str, Any]:
    """What the probe saw of the page in a window of ``size``."""
    file = folder / "run.html"
    file.write_text(page.replace("</body>", _PROBE % axe + "</body>"))
    dumped = browsed(file.as_uri(), folder, size, *flags)
    title = re.search(r"<title>(\{.*?\})</title>", dumped, re.DOTALL)
    assert title is not None, dumped[:2000]
    said: dict[str, Any] = json.loads(html.unescape(title[1]))
    return said


def big(folder: Path, count: int) -> str:
    """A run of ``count`` calls below one, of which one failed."""
    calls = [Call("a0", task="flow.main", times=(0, 0.2, 900.0), phase=Phase.FAILED, inputs={"x": "1"}, log="…\n")]
    calls += [
        Call(f"m{i}", "a0", task="flow.shard", times=(i * 0.5, i * 0.5 + 1, i * 0.5 + 3)) for i in range(count - 2)
    ]
    error = ErrorInfo("BoomError", "BoomError: boom\n" + "at a very long line " * 40)
    calls.append(
        Call("z", "a0", task="flow.last", times=(800, 801, 890), phase=Phase.FAILED, error=error, report="<h1>R</h1>")
    )
    return render_page(document_of(make_run(folder / "runs", calls)))


@pytest.mark.parametrize("size", ["1400,900", "900,700", "500,900"])
def test_a_thousand_actions_at_three_widths(size: str, tmp_path: Path) -> None:
    said = looked_at(big(tmp_path, 1000), tmp_path, size)
    assert 10 < said["drawn"] < 80, "only what is in sight is drawn"
    assert 10 < said["draws"] < 80
    assert not said["wide"], "nothing sticks out sideways"
    assert said["over"] == 0, "no time stands upon a name"
    assert not said["apart"], "the axis begins where the bars do"
    assert (said["chosen"], said["error"].splitlines()[0]) == ("last", "BoomError: boom"), "what failed is opened"
    assert (said["first"], said["folded"], said["last"]) == ("main", 1, "1000")
    assert said["found"] == ["main", "last"], "a hit, below those that called it"
    assert said["said"] == "2 of 1000 actions"
    assert (said["nodes"], said["images"]) == (3, True)


@pytest.mark.parametrize("dark", [False, True])
def test_accessibility_by_axe_core(dark: bool, tmp_path: Path) -> None:
    pytest.importorskip("axe_core_python")
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8").replace("</script>", "<\\/script>")
    flags = ["--blink-settings=preferredColorScheme=0"] if dark else []
    said = looked_at(big(tmp_path, 60), tmp_path, "1400,900", *flags, axe=axe)
    assert said["dark"] == ("rgb(18, 22, 28)" if dark else "rgb(255, 255, 255)")
    assert said["axe"] == []


def test_the_list_of_runs_keeps_itself_up_to_date(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", [Call("a0", task="flow.main")])
    answers = iter([[]])
    with Pages(lambda: next(answers, [run]), lambda name: run) as served:
        threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        seen = browsed(served.url, tmp_path, "900,700")
        served.shutdown()
    assert f">{run.name}</a></td><td>flow.main</td>" in seen.partition("<script>")[0]
    assert '<p id="said" role="status"></p>' in seen
