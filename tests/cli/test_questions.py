"""``why``, ``tree``, ``outdated``: everyday questions about locks, from the command line."""

from __future__ import annotations

import json
import shutil

import pytest

from ..support.offline import Offline, snapshot, workflow


def metadata(name: str, *requires: str, version: str = "1.0") -> dict[str, str]:
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    return {"METADATA": "\n".join([*lines, "", ""])}


@pytest.fixture
def asked(offline: Offline) -> Offline:
    """``low`` asks for top-thing, which requires middle, which requires deep; ``high`` asks for other alone."""
    offline.publish("top-thing", metadata=metadata("top-thing", "middle>=1", "colour; sys_platform == 'win32'"))
    offline.publish("middle", metadata=metadata("middle", "deep<3"))
    offline.publish("deep", metadata=metadata("deep"))
    offline.publish("other", metadata=metadata("other"))
    offline.write(workflow("low: top-thing", "high(low): other"))
    offline.locked()
    return offline


def test_why_asks_the_index_where_the_store_has_nothing(asked: Offline) -> None:
    done = asked.ok("why", "deep", "flow.py")
    assert done.out.splitlines() == [
        "deep 1.0 (wheel, layer of pip step 1) in low",
        "  top-thing   (with_pip_packages, step 1)",
        "  └ middle>=1",
        "    └ deep<3",
        "",
        "not in high",
    ]
    # Read once: nobody is asked again.
    asked.index.folder.rename(asked.home / "away")
    assert asked.ok("why", "deep", "flow.py", "--env", "low").out.splitlines()[0] == done.out.splitlines()[0]


def test_why_offline_says_what_it_does_not_know(asked: Offline) -> None:
    done = asked.ok("why", "deep", "flow.py", "--offline")
    assert "nothing that is known here requires it" in done.out
    assert "require is not known: they are not in this machine's store" in done.err


def test_why_for_machines(asked: Offline) -> None:
    said = asked.ok("why", "middle", "flow.py", "--json").json()
    (reason,) = said["reasons"]
    assert (reason["environment"], reason["version"], reason["step"]) == ("low", "1.0", 1)
    assert reason["asked"] == {"name": "top-thing", "by": "with_pip_packages, step 1", "as": "top-thing"}
    assert reason["chain"] == [{"by": "top-thing", "name": "middle", "as": "middle>=1"}]
    assert said["without"] == ["high"]


def test_why_of_a_package_that_is_not_there(asked: Offline) -> None:
    said = asked.refused(2, "why", "midle", "flow.py")
    assert "no image here has a package `midle`: looked in low, high" in said
    assert "did you mean `middle`?" in said


def test_tree(asked: Offline) -> None:
    lines = asked.ok("tree", "flow.py", "--env", "low").out.splitlines()
    assert lines[0] == "low linux/amd64"
    assert lines[-3:] == [
        "top-thing 1.0  top-thing: with_pip_packages, step 1",
        "└─ middle 1.0  middle>=1",
        "   └─ deep 1.0  deep<3",
    ]
    short = asked.ok("tree", "flow.py", "--env", "low", "--depth", "1").out.splitlines()
    assert short == lines[:-1]
    said = asked.ok("tree", "flow.py", "--json").json()
    packages = {p["name"]: p for p in said["images"][0]["packages"]}
    assert packages["top-thing"]["requires"] == [{"name": "middle", "as": "middle>=1"}]
    assert "colour" not in packages
    assert "libc6" in packages
    assert "libc6" in asked.ok("tree", "flow.py", "--env", "low", "--debian").out


def test_outdated_writes_nothing_and_shows_what_would_move(asked: Offline) -> None:
    assert asked.ok("outdated", "flow.py").out == "everything locked is the newest that the requirements allow\n"
    asked.publish("deep", "2.0", metadata=metadata("deep", version="2.0"))
    asked.publish("deep", "3.0", metadata=metadata("deep", version="3.0"))
    before = snapshot(asked.lockfiles)
    rows = [line.split() for line in asked.ok("outdated", "flow.py").out.splitlines()]
    assert rows == [["package", "kind", "locked", "new", "environments"], ["deep", "wheel", "1.0", "2.0", "low"]]
    assert asked("outdated", "flow.py", "--exit-code").code == 13
    (move,) = asked.ok("outdated", "flow.py", "--json").json()["moves"]
    assert (move["old"], move["new"], move["environments"]) == ("1.0", "2.0", ["low"])
    assert snapshot(asked.lockfiles) == before
    assert asked.ok("lock", "flow.py", "--upgrade").code == 0
    assert asked.ok("outdated", "flow.py").out.startswith("everything")


def test_a_cooldown_holds_for_what_is_chosen_anew(offline: Offline) -> None:
    offline.write('[tool.flyte-build]\nexclude-newer = "7 days"\n', "pyproject.toml")
    offline.publish("old", "1.0")
    said = offline.refused(5, "lock", "flow.py")
    assert "alpha" in said, "what this project's index has was all published just now"
    assert not offline.lockfiles.exists()
    own = f'exclude-newer-index = {{ "{offline.index.url}" = "none", debian = "none" }}'
    offline.write(f'[tool.flyte-build]\nexclude-newer = "7 days"\n{own}\n', "pyproject.toml")
    assert "of debian everything was taken whatever its age" in offline.ok("lock", "flow.py").out
    assert '"debian": "none"' in (offline.lockfiles / "low.json").read_text()
    offline.ok("lock", "flow.py", "--check")
    shutil.rmtree(offline.lockfiles)
    offline.write("[tool.flyte-build]\n", "pyproject.toml")
    offline.locked()
    before = snapshot(offline.lockfiles)
    offline.write('[tool.flyte-build]\nexclude-newer = "7 days"\n', "pyproject.toml")
    assert offline.ok("lock", "flow.py").out.startswith("nothing changed")
    assert snapshot(offline.lockfiles) == before
    offline.write('[tool.flyte-build]\nexclude-newer = "soon"\n', "pyproject.toml")
    assert "exclude-newer: cut-off date" in offline.refused(2, "lock", "flow.py")
    offline.write('[tool.flyte-build]\nexclude-newer-index = { internal = "soon" }\n', "pyproject.toml")
    for check in ((), ("--check",)):
        assert "exclude-newer-index.internal: cut-off date" in offline.refused(2, "lock", "flow.py", *check)


def test_check_takes_no_date(offline: Offline) -> None:
    assert "`--check` writes nothing" in offline.refused(2, "lock", "flow.py", "--check", "--exclude-newer", "nonsense")


def test_outdated_says_what_advisories_are_about_and_what_mends_it(asked: Offline) -> None:
    advisories = asked.home / "advisories"
    advisories.mkdir()
    for number, name, last in ((1, "deep", "1.0"), (2, "other", "9")):
        about = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"last_affected": last}]}]
        affected = [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": about}]
        (advisories / f"{number}.json").write_text(json.dumps({"id": f"GHSA-{number}", "affected": affected}))
    asked.publish("deep", "2.0", metadata=metadata("deep", version="2.0"))
    before = snapshot(asked.lockfiles)
    said = asked.ok("outdated", "flow.py", "--osv", str(advisories)).out
    rows = [line.split() for line in said.splitlines()]
    assert ["deep", "wheel", "1.0", "2.0", "security", "low"] in rows
    assert ["deep", "1.0", "2.0", "mended", "low", "GHSA-1"] in rows
    assert ["other", "1.0", "nothing", "newer", "fits", "high", "GHSA-2"] in rows
    found = asked.ok("outdated", "flow.py", "--osv", str(advisories), "--json").json()["affected"]
    assert [(a["name"], a["new"], a["left"]) for a in found] == [("deep", "2.0", []), ("other", None, ["GHSA-2"])]
    assert "affected" not in asked.ok("outdated", "flow.py", "--json").json()
    assert asked("outdated", "flow.py", "--osv", str(advisories), "--exit-code").code == 13
    assert snapshot(asked.lockfiles) == before
    assert "expected the address of a service" in asked.refused(2, "outdated", "flow.py", "--osv", "no-such-folder")
