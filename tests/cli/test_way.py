"""The way of a project through the command line: lock, plan, build, again. What is printed, where, and what remains."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ..support.offline import FLYTE, Offline, snapshot, workflow

DOC = Path(__file__).parents[2] / "docs" / "plan-json.md"


def test_lock_writes_one_file_an_environment(offline: Offline) -> None:
    done = offline.ok("lock", "flow.py")
    assert sorted(p.name for p in offline.lockfiles.iterdir()) == ["low.json", "top.json"]
    rows = done.out.splitlines()
    assert rows[0].split() == ["environment", "lock", "python", "platform", "wheels", "debs", "size"]
    assert rows[1].split()[:6] == ["low", "written", "3.11", "linux/amd64", "2", "19"]
    assert rows[2].split()[:6] == ["top", "written", "3.11", "linux/amd64", "3", "19"]
    low = json.loads((offline.lockfiles / "low.json").read_text())["platforms"]["linux/amd64"]
    assert {(w["name"], w["version"]) for w in low["wheels"]} == {("flyte", FLYTE), ("alpha", "1.0")}
    again = offline.ok("lock", "flow.py", "--json").json()
    assert again == {"schema": 1, "written": [], "unchanged": ["low", "top"], "moved": [], "sealed": [], "notes": []}
    assert offline.ok("lock", "flow.py", "--check").out == "2 locks answer their recipes\n"


def test_a_later_version_is_taken_when_asked_for(offline: Offline) -> None:
    offline.locked()
    offline.publish("alpha", "2.0")
    assert offline.ok("lock", "flow.py", "--json").json()["written"] == []
    done = offline.ok("lock", "flow.py", "--json", "--upgrade-package", "alpha").json()
    assert done["written"] == ["low", "top"]
    assert [(m["name"], m["old"], m["new"], m["environments"]) for m in done["moved"]] == [
        ("alpha", "1.0", "2.0", ["low", "top"])
    ]
    assert '"version": "2.0"' in (offline.lockfiles / "low.json").read_text()
    assert offline.ok("lock", "flow.py", "-P", "nothing", "--json").json()["notes"] == [
        "no lock holds `nothing`: nothing to upgrade"
    ]


def test_a_lock_shows_what_moved_and_is_one_line_where_nothing_did(offline: Offline) -> None:
    offline.locked()
    assert offline.ok("lock", "flow.py").out == "nothing changed: 2 locks answer their recipes\n"
    offline.publish("alpha", "2.0")
    rows = [line.split() for line in offline.ok("lock", "flow.py", "--upgrade").out.splitlines()]
    assert ["alpha", "wheel", "1.0", "2.0", "low,", "top"] in rows


def test_plan_build_and_again(offline: Offline) -> None:
    offline.locked()
    plan = offline.ok("plan", "flow.py")
    assert plan.err == ""
    assert re.search(
        r"^low +linux/amd64  sha256:[0-9a-f]{64}  build +4 of 4 +3 +21 · \S+ kB  never built here$", plan.out, re.M
    )
    assert "2 of 2 images to build: 5 new layers, 22 artifacts to fetch (" in plan.out
    built = offline.ok("build", "flow.py")
    assert re.search(r"^top +linux/amd64  sha256:[0-9a-f]{64} +4 +\S+ kB  built in ", built.out, re.M)
    assert "\nbuilt 2 of 2 images in " in built.out
    assert "2 of 2 images to build" in built.err, "the plan is no result: it goes to standard error"
    requests = len(offline.index.asked), len(offline.archive.requests)
    again = offline.ok("build", "flow.py")
    assert "nothing to build: 2 images are cached\n" in again.out
    assert again.err == "", "the result says it all"
    assert "nothing to build: all 2 images are cached\n" in offline.ok("plan", "flow.py").out
    assert (len(offline.index.asked), len(offline.archive.requests)) == requests
    digests = re.findall(r"sha256:[0-9a-f]{64}", built.out)
    assert re.findall(r"sha256:[0-9a-f]{64}", again.out) == digests
    assert offline.ok("build", "-q", "flow.py").out == f"low {digests[0]}\ntop {digests[1]}\n"
    offline.verified()


def test_the_plan_says_why(offline: Offline) -> None:
    offline.locked()
    offline.ok("build", "flow.py")
    offline.publish("alpha", "1.1")
    offline.ok("lock", "flow.py", "-P", "alpha")
    assert offline.ok("plan", "flow.py", "-e", "low").out.splitlines()[1].endswith("alpha 1.0 → 1.1")
    low = offline.ok("plan", "flow.py", "-e", "low", "--layers").out
    assert "1 of 1 image to build: 1 new layer, 1 artifact to fetch (" in low
    assert re.search(r"^debian bookworm +cached ", low, re.M)
    assert re.search(r"^alpha 1.1 +build +– ", low, re.M)


def test_a_task_plans_only_what_it_reaches(offline: Offline) -> None:
    offline.locked()
    names = [i["environment"] for i in offline.ok("plan", "flow.py", "do_low", "--json").json()["images"]]
    assert names == ["low"]
    assert [i["environment"] for i in offline.ok("plan", "flow.py", "main", "--json").json()["images"]] == [
        "low",
        "top",
    ]
    assert [i["environment"] for i in offline.ok("build", "flow.py", "-e", "low", "--json").json()["images"]] == ["low"]


def _documented(heading: str) -> dict[str, str]:
    """The fields and types of one table of the document."""
    section = DOC.read_text(encoding="utf-8").partition(heading)[2].partition("\n\n| ")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\|? ?`(\w+)` \| ([^|]+) \|", section, re.M))


TYPES = {
    "integer": int,
    "string": str,
    "array": list,
    "array of strings": list,
    "string or null": (str, type(None)),
    "integer or null": (int, type(None)),
}


def test_the_json_of_plan_is_as_documented(offline: Offline) -> None:
    # A call that would fail, so that there is a finding to look at.
    call = "@top.task\ndef again(x: int) -> int:\n    return aside_task(x)\n"
    aside = "aside = flyte.TaskEnvironment('aside', image=base)\n"
    aside += "@aside.task\ndef aside_task(x: int) -> int:\n    return x\n"
    offline.write(workflow("low: alpha", "top(low): alpha beta") + aside + call)
    offline.locked()
    headings = ("# The JSON", "An object of `images`", "An object of `layers`", "An object of `findings`")
    document, image, layer, finding = map(_documented, headings)
    assert min(map(len, (document, image, layer, finding))) > 5
    fresh = offline.ok("plan", "flow.py", "--json").json()
    offline.ok("build", "flow.py", "--no-check")
    for plan in (fresh, offline.ok("plan", "flow.py", "--json").json()):
        for table, objects in (
            (document, [plan]),
            (image, plan["images"]),
            (layer, [x for i in plan["images"] for x in i["layers"]]),
            (finding, plan["findings"]),
        ):
            assert objects
            for found in objects:
                assert set(found) == set(table)
                for name, value in found.items():
                    assert isinstance(value, TYPES[table[name].strip()]), (name, value)
                    assert not isinstance(value, bool)
        assert plan["schema"] == 1
        assert {i["state"] for i in plan["images"]} <= {"cached", "build"}
        assert {x["kind"] for i in plan["images"] for x in i["layers"]} <= {"debian", "system", "wheels", "files"}


def test_what_a_file_prints_is_no_result(offline: Offline) -> None:
    offline.locked()
    offline.write(workflow("low: alpha", "top(low): alpha beta", body="print('imported')"))
    done = offline.ok("plan", "flow.py", "--json")
    assert done.json()["schema"] == 1
    assert done.err == "imported\n"


def test_output_as_an_oci_layout(offline: Offline) -> None:
    offline.locked()
    done = offline.ok("build", "flow.py", "--output", "oci:out")
    assert "written to out (OCI image layout)\n" in done.out
    out = offline.project / "out"
    assert json.loads((out / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((out / "index.json").read_text())
    digests = {m["digest"] for m in index["manifests"]}
    assert digests == set(re.findall(r"sha256:[0-9a-f]{64}", done.out))
    before = snapshot(out)
    offline.ok("build", "flow.py", "-o", "oci:out", "-q")
    assert snapshot(out) == before


def test_every_platform(offline: Offline) -> None:
    text = workflow("low: alpha").replace('platform=("linux/amd64",)', 'platform=("linux/amd64", "linux/arm64")')
    offline.write(text)
    offline.locked()
    images = offline.ok("build", "flow.py", "--platform", "all", "--json").json()["images"]
    assert [i["platform"] for i in images] == ["linux/amd64", "linux/arm64"]
    assert len({i["digest"] for i in images}) == 2
    assert [
        i["platform"] for i in offline.ok("plan", "flow.py", "--json", "--platform", "linux/arm64").json()["images"]
    ] == ["linux/arm64"]
    said = offline.refused(2, "plan", "flow.py", "--platform", "linux/s390x")
    assert "error: environment low is not for linux/s390x, but for linux/amd64, linux/arm64\n" in said
    assert "hint: name one with --platform" in said


def test_locks_lie_where_they_are_wanted(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    offline.ok("lock", "flow.py", "--lockfiles", "elsewhere")
    assert sorted(p.name for p in (offline.project / "elsewhere").iterdir()) == ["low.json", "top.json"]
    assert not offline.lockfiles.exists()
    offline.ok("plan", "flow.py", "--lockfiles", "elsewhere")
    monkeypatch.setenv("FLYTE_BUILD_LOCKFILES", "elsewhere")
    offline.ok("plan", "flow.py")


def test_the_store_is_looked_after(offline: Offline) -> None:
    assert offline.ok("store", "path").out == f"{offline.store}\n"
    offline.locked()
    offline.ok("build", "flow.py")
    assert re.fullmatch(r"\d+ files, \S+ kB: every one is what its name says\n", offline.ok("store", "verify").out)
    assert offline.ok("store", "verify", "--json").json()["findings"] == []
    kept = offline.ok("store", "gc", "--json").json()
    assert kept["schema"] == 1
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    assert all(i["reused"] for i in images), "what was used lately stays"
    would = offline.ok("store", "gc", "--keep-days", "0", "--dry-run").out
    assert re.fullmatch(r"would free \S+ kB in \d+ files\n", would)
    done = offline.ok("store", "gc", "--keep-days", "0").out
    assert done == would.replace("would free", "freed")
    offline.verified()
    assert not any(i["reused"] for i in offline.ok("build", "flow.py", "--json").json()["images"])
    shutil.rmtree(offline.store)
    again = offline.ok("build", "flow.py", "--json").json()["images"]
    assert [i["digest"] for i in again] == [i["digest"] for i in images]


def test_no_runs_yet(offline: Offline) -> None:
    assert offline.ok("runs").out == f"no runs in {offline.home}/state/runs\n"
    assert offline.ok("runs", "--json").json() == {"schema": 1, "runs": []}
