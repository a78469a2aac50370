"""Every benchmark with every peer, once and small: that all of it runs. No figure is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import noop
from tests.support.tools import need, need_root

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All benchmarks; the cache lies where it does by default, in a folder whose name begins with a dot."""
    need("buildah")
    need("skopeo")
    registry = need("docker-registry")
    need_root("buildah's fastest storage")
    folder = tmp_path_factory.mktemp("bench")
    out = folder / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(out)],
        cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False,
        env={
            **os.environ,
            "FLYTE_BUILD_BENCH_CACHE": "",
            "XDG_CACHE_HOME": str(folder / ".cache"),
            "PATH": os.pathsep.join((os.environ["PATH"], os.path.dirname(registry))),
        },
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert sorted(path.name for path in (folder / ".cache" / "flyte-build-benchmarks").iterdir()) == ["store"]
    found = json.loads(out.read_text())
    assert isinstance(found, dict)
    return found


def sides(report: dict[str, Any], name: str) -> dict[str, list[str]]:
    return {case["title"]: [s["label"] for s in case["series"]] for case in report["benchmarks"][name]}


def test_nothing_is_left_out(report: dict[str, Any]) -> None:
    assert list(report["benchmarks"]) == ["layers", "images", "noop", "closure", "memory", "push"]
    for name, cases in report["benchmarks"].items():
        assert [case["skipped"] for case in cases] == [None] * len(cases), name
        for case in cases:
            assert case["series"], case["title"]


def test_images_are_compared_with_buildah(report: dict[str, Any]) -> None:
    found = sides(report, "images")
    assert list(found) == [
        "synthetic: cold",
        "synthetic: a small wheel changed",
        "synthetic: nothing changed",
        "the example's three images: cold",
    ]
    assert all("buildah + uv" in labels for labels in found.values())


def test_nothing_to_do_is_compared_with_the_sdk(report: dict[str, Any]) -> None:
    [labels] = sides(report, "noop").values()
    assert labels[2:] == ["flyte-build plan", "flyte build", "flyte-build build"]


def test_the_sdk_is_measured_without_our_plug_in() -> None:
    """The benchmark's own check: had the plug-in been loaded, the run would have failed."""
    tried = [*noop.FLYTE[:2], f"import flyte_build\n{noop.FLYTE[2]}", "--help"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "expected the SDK alone, found flyte_build imported\n")


def test_pushes_are_compared_with_skopeo(report: dict[str, Any]) -> None:
    found = sides(report, "push")
    assert list(found) == [
        f"synthetic: {title}" for title in ("cold", "nothing changed", "one package changed", "a fresh machine")
    ]
    assert ["skopeo copy" in labels for labels in found.values()] == [True, True, True, False]
