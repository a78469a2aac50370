"""The benchmarks run and report what they promise. What they measure is not tested: no test depends on a clock."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from benchmarks import layers, locking, push, service, sharing
from benchmarks.__main__ import main
from benchmarks.context import Context
from benchmarks.measure import Sample, Series, command, in_turns
from benchmarks.peer import unavailable
from benchmarks.report import Case, Ratio, as_text
from tests.support.tools import need

ROOT = Path(__file__).resolve().parent.parent


def run(
    cache: Path, *arguments: str, path: str | None = None, patience: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--cache", str(cache), *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=patience, check=False,
        env={**os.environ, "PATH": os.environ["PATH"] if path is None else path},
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bench")
    out = folder / "report.json"
    done = run(folder / "cache", "--quick", "--no-peers", "--json", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(folder / "cache") == []
    found = json.loads(out.read_text())
    assert isinstance(found, dict)
    return found


def cases(report: dict[str, Any], name: str) -> dict[str, Any]:
    return {case["title"]: case for case in report["benchmarks"][name]}


def test_quick_runs_everything_once(report: dict[str, Any]) -> None:
    assert (report["schema"], report["quick"], report["rounds"]) == (1, True, 1)
    assert list(report["benchmarks"]) == ["layers", "images", "noop", "closure", "memory", "push"]
    for name, found in report["benchmarks"].items():
        for case in found:
            for series in case["series"]:
                assert len(series["wall_seconds"]) == 1
                assert series["wall_median"] > 0
                # The closure runs in the benchmark's own process, whose peak says nothing.
                assert (series["peak_bytes"] > 1 << 20) is (name != "closure")


def test_the_machine_is_described(report: dict[str, Any]) -> None:
    machine = report["machine"]
    assert machine["python"] == ".".join(map(str, sys.version_info[:3]))
    assert machine["cores"] == len(os.sched_getaffinity(0))
    assert machine["zlib"].startswith("zlib")
    assert len(machine["load_average"]) == 3
    assert machine["file_system"] not in ("", "unknown")
    assert list(machine["busy_elsewhere"]) == list(report["benchmarks"])
    assert all(0 <= share <= 1 for share in machine["busy_elsewhere"].values())


def test_layers_are_compared_with_the_floor(report: dict[str, Any]) -> None:
    case = cases(report, "layers")["synthetic: blob and diff_id of its wheels"]
    floor, first, *_ = case["series"]
    ratio = case["ratios"][0]
    assert ratio["goal"] == 1.5
    assert ratio["value"] == pytest.approx(first["wall_median"] / floor["wall_median"], rel=0.05)
    assert ratio["met"] == (ratio["value"] <= 1.5)
    assert case["facts"]["wheels"].startswith("1, 5.2")


def test_a_changed_package_is_a_case_of_its_own(report: dict[str, Any]) -> None:
    assert list(cases(report, "images")) == [
        "synthetic: cold",
        "synthetic: a small wheel changed",
        "synthetic: nothing changed",
    ]
    for name in ("images", "noop"):
        assert {case["skipped"] for case in report["benchmarks"][name]} == {"peer not measured: --no-peers"}


def test_a_peer_that_is_missing_is_said_in_a_line(tmp_path: Path) -> None:
    """The SDK's own command is always there, and runs without a network and without our plug-in."""
    out = tmp_path / "report.json"
    done = run(tmp_path / "cache", "--quick", "noop", "images", "--json", str(out), path=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(out.read_text())["benchmarks"]
    assert [series["label"] for series in found["noop"][0]["series"]][3:] == ["flyte build"]
    assert {case["skipped"] for case in found["images"]} == {"peer not measured: no `buildah` on PATH"}
    assert "\n    peer not measured: no `buildah` on PATH\n" in done.stdout


def test_a_push_needs_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [case] = push.cases(Context(tmp_path, tmp_path, 1, quick=False))
    assert case.skipped == "not measured: no `docker-registry` on PATH"


def test_uv_is_found_beside_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buildah = tmp_path / "buildah"
    buildah.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert unavailable() is None


def test_what_cannot_be_measured_is_said_and_the_rest_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(context: object) -> Iterator[Case]:
        yield Case("the first", [])
        raise RuntimeError("pip: no network\nwhat pip said")

    monkeypatch.setattr(layers, "cases", broken)
    out = tmp_path / "report.json"
    words = ("--cache", str(tmp_path / "cache"), "--quick", "--no-peers", "--json", str(out))
    assert main(["layers", "closure", *words]) == 1
    printed = capsys.readouterr()
    assert "    not measured: pip: no network\n" in printed.out
    assert printed.err == "what pip said\n"
    found = json.loads(out.read_text())["benchmarks"]
    assert [case["title"] for case in found["layers"]] == ["the first", "layers"]
    assert len(found["closure"]) == 1


def test_an_unknown_benchmark_is_named(tmp_path: Path) -> None:
    done = run(tmp_path / "cache", "speed")
    assert done.returncode == 2
    assert "no benchmark `speed`; there are: layers, images, noop, closure, memory, push" in done.stderr


def test_the_peak_is_the_commands_not_the_starters() -> None:
    ballast = bytearray(80 << 20)
    small = command([sys.executable, "-c", "pass"])
    large = command([sys.executable, "-c", "bytes(bytearray(60 << 20)); print('done')"])
    del ballast
    assert small.peak < 40 << 20
    assert large.peak > 60 << 20
    assert large.output == "done\n"


def test_a_grandchild_counts() -> None:
    inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'bytearray(60 << 20)'])"
    assert command([sys.executable, "-c", inner]).peak > 60 << 20


def test_a_command_that_fails_is_not_a_measurement() -> None:
    with pytest.raises(RuntimeError, match="it broke"):
        command([sys.executable, "-c", "import sys; sys.exit('it broke')"])


def test_sides_take_turns() -> None:
    order: list[str] = []

    def side(name: str) -> Sample:
        order.append(name)
        return Sample(len(order), 0)

    one, two = in_turns(3, {"a": lambda: side("a"), "b": lambda: side("b")})
    assert "".join(order) == "abbaab"
    assert (one.wall, two.wall) == (4, 3)


@pytest.mark.parametrize(
    ("ratio", "met"),
    [
        (Ratio("r", 1.5, 1.5), True),
        (Ratio("r", 1.6, 1.5), False),
        (Ratio("r", 10, 10, "at least"), True),
        (Ratio("r", 9, 10, "at least"), False),
        (Ratio("r", 9), None),
    ],
)
def test_goals(ratio: Ratio, met: bool | None) -> None:
    assert ratio.met is met
    text = "\n".join(as_text(Case("c", [Series("s", [Sample(1, 1)])], [ratio])))
    assert ("MISSED" in text, ": met" in text) == (met is False, met is True)


def test_the_closure_is_compared_with_graphlib_on_a_graph_of_very_many_paths(report: dict[str, Any]) -> None:
    (case,) = cases(report, "closure").values()
    assert [s["label"] for s in case["series"]] == ["graphlib alone", "flyte-build's closure"]
    assert case["title"] == "1,000 environments in stacked diamonds"


def traffic(report: dict[str, Any], title: str, label: str) -> tuple[int, float, float]:
    """Requests, kilobytes up and kilobytes down."""
    said = cases(report, "push")[f"synthetic: {title}"]["facts"][label]
    found = re.fullmatch(r"(\d+) requests?, ([\d.]+) (kB|MB) up, ([\d.]+) (kB|MB) down", said)
    assert found is not None, said
    up, down = (float(found[i]) * (1000 if found[i + 1] == "MB" else 1) for i in (2, 4))
    return int(found[1]), up, down


def test_what_a_push_sends_is_counted(report: dict[str, Any]) -> None:
    assert [title.removeprefix("synthetic: ") for title in cases(report, "push")] == [
        "cold",
        "nothing changed",
        "one package changed",
        "a fresh machine",
    ]
    ours = "flyte-build push"
    _, cold, _ = traffic(report, "cold", ours)
    assert cold > 5 * 1000, "the image holds five megabytes that cannot be compressed"
    requests, same, _ = traffic(report, "nothing changed", ours)
    assert (requests, same < 1) == (1, True)
    assert same < traffic(report, "one package changed", ours)[1] < cold / 50
    # A machine that has nothing, beside a warm cache: three questions, and no layer in either direction.
    requests, up, down = traffic(report, "a fresh machine", "warm cache")
    assert (requests, up < 3, down < 4) == (3, True, True)
    assert traffic(report, "a fresh machine", "warm cache, other repositories")[1] < cold / 50
    facts = cases(report, "push")["synthetic: a fresh machine"]["facts"]
    fetched = {label: facts[f"{label}: artifacts fetched"].split(",")[0] for label in ("warm cache", "no cache")}
    assert fetched == {"warm cache": "0", "no cache": "3"}


def test_without_the_cache_is_compared_with_having_it(report: dict[str, Any]) -> None:
    case = cases(report, "push")["synthetic: a fresh machine"]
    by_label = {series["label"]: series["wall_median"] for series in case["series"]}
    values = {ratio["name"]: ratio["value"] for ratio in case["ratios"]}
    assert values["wall: no cache / warm cache"] == pytest.approx(
        by_label["no cache"] / by_label["warm cache"], rel=0.05
    )
    assert len(values) == 2


def test_locking_again_is_measured_without_a_network(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = run(tmp_path / "cache", "locking", "--quick", "--no-peers", "--json", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    [case] = json.loads(out.read_text())["benchmarks"]["locking"]
    assert case["title"] == "three environments, two platforms: nothing changed"
    ours = ["flyte-build lock", "flyte-build lock --check"]
    assert [series["label"] for series in case["series"]] == ["python -c pass", *ours]
    assert [(ratio["name"], ratio["goal"], ratio["unit"]) for ratio in case["ratios"]] == [(n, 100, "ms") for n in ours]


def test_bytecode_is_measured_by_this_python(tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    done = run(tmp_path / "cache", "bytecode", "--quick", "--no-peers", "--json", str(out))
    assert (done.returncode, done.stderr) == (0, "")
    [case] = json.loads(out.read_text())["benchmarks"]["bytecode"]
    assert [series["label"] for series in case["series"]] == ["layers of bytecode", "compileall", "no bytecode"]
    assert [(ratio["name"], ratio.get("goal")) for ratio in case["ratios"]] == [
        ("processor time ÷ compileall's", 1.05), ("without ÷ compileall's", None),
    ]  # fmt: skip
    assert all(series["cpu_median"] > 0 for series in case["series"])


def test_what_locking_is_compared_with() -> None:
    """All that the example's images ask for, once; and requests as `--verbose` tells them, not their answers."""
    project = tomllib.loads(locking._union(ROOT / "lockfiles"))["project"]
    flyte, *others = project["dependencies"]
    assert flyte.startswith("flyte==")
    assert len(others) == len(set(others))
    assert {"pytest", "ruff"} <= {Requirement(text).name for text in others}
    told = "   3.452 s  http    GET http://a/b\n   3.471 s  http    200 GET http://a/b 20 ms\nGET http://c\n"
    assert locking._requests(Sample(1, 1, output=told)) == 1


def test_a_service_is_pushed_where_there_is_a_registry_and_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [quick] = service.cases(Context(tmp_path, tmp_path, 1, quick=True))
    assert quick.skipped == "not measured: --quick, and its packages come from the network"
    monkeypatch.setenv("PATH", str(tmp_path))
    [case] = service.cases(Context(tmp_path, tmp_path, 1, quick=False))
    assert (case.title, case.skipped) == (quick.title, "not measured: no `docker-registry` on PATH")


def test_what_images_share_is_arithmetic_on_their_locks(tmp_path: Path) -> None:
    """The README's table; it changes when an example's lock does."""
    found = {case.title: case for case in sharing.cases(Context(tmp_path, tmp_path, 1, True, False))}
    monorepo, example = found["examples/monorepo: 40 images"], found["examples/af2: 3 images"]
    text = (ROOT / "benchmarks" / "README.md").read_text()
    for case in (monorepo, example):
        assert f"`{case.title.split(':')[0]}`, {case.title.split(': ')[1]}" in text
        ours, wheels, together, whole = (ratio.value for ratio in case.ratios)
        assert wheels <= ours <= together <= whole <= 1
    words = str(monorepo.facts["as flyte-build groups"])
    assert re.fullmatch(r"\d+ of \d+ MB; \d+ layers, at most \d+ an image", words)
    assert f"({words.split()[0]} MB)" in text


@pytest.mark.integration
def test_an_action_is_measured_in_each_way_that_it_can_run(tmp_path: Path) -> None:
    need("bwrap", "bubblewrap")
    out = tmp_path / "report.json"
    done = run(tmp_path / "cache", "actions", "--quick", "--no-peers", "--json", str(out), patience=900)
    assert (done.returncode, done.stderr) == (0, "")
    found = cases(json.loads(out.read_text()), "actions")
    assert list(found) == ["an action, network host", "a map of 4"]
    labels = [series["label"] for series in found["an action, network host"]["series"]]
    assert labels == [f"{side}, {n} actions" for side in ("cold", "forks", "replicas", "a0 alone") for n in (2, 3)]
    ratios = {case: {ratio["name"] for ratio in found[case]["ratios"]} for case in found}
    assert {"cold ÷ a0 alone", "of it the launcher, forks"} <= ratios["an action, network host"]
    assert "replicas ÷ run_task alone" in ratios["a map of 4"]
    goals = {r["name"]: r["goal"] for r in found["a map of 4"]["ratios"] if "goal" in r}
    assert goals == {"processor time an action, forks": 80.0, "processor time an action, replicas": 5.0}
    assert all(series["cpu_median"] > 0 for case in found.values() for series in case["series"])
