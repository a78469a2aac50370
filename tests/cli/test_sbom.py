"""``sbom`` from the command line: a table for people, documents for machines, from code or from a lock alone."""

from __future__ import annotations

import json
from typing import Any

from ..support.documents import cyclonedx_mistake
from ..support.offline import FLYTE, Offline, snapshot


def built(offline: Offline) -> dict[str, str]:
    offline.locked()
    images = offline.ok("build", "flow.py", "--json").json()["images"]
    return {image["environment"]: image["digest"] for image in images}


def names(document: dict[str, Any]) -> set[str]:
    return {c["name"] for c in document["components"]}


def test_a_table_before_anything_is_built(offline: Offline) -> None:
    offline.locked()
    before = snapshot(offline.home)
    done = offline.ok("sbom", "flow.py", "--env", "top")
    assert snapshot(offline.home) == before, "nothing is built, fetched or written"
    first, titles, *rows = done.out.splitlines()
    assert first == "top linux/amd64 not built yet"
    assert titles.split() == ["package", "version", "kind", "source", "sha256", "licence"]
    assert ["flyte", FLYTE, "wheel"] in [row.split()[:3] for row in rows]
    assert rows[-1] == "3 Python packages, 19 Debian packages; licence known of 0"
    assert "licences are not known of 22 packages" in done.err


def test_a_task_means_its_own_image_alone(offline: Offline) -> None:
    offline.locked()
    assert offline.ok("sbom", "flow.py", "main").out.count("linux/amd64") == 1
    assert offline.ok("sbom", "flow.py", "--env", "top").out.startswith("top ")
    every = offline.ok("sbom", "flow.py").out
    assert [line.split()[0] for line in every.splitlines() if "linux/amd64" in line] == ["low", "top"]


def test_cyclonedx_is_about_the_image_that_was_built(offline: Offline) -> None:
    digests = built(offline)
    done = offline.ok("sbom", "flow.py", "--env", "low", "--format", "cyclonedx")
    assert cyclonedx_mistake(done.out) is None
    document = done.json()
    assert document["metadata"]["component"]["version"] == digests["low"]
    assert {"alpha", "flyte", "python3.11"} <= names(document)
    assert "beta" not in names(document)
    assert offline.ok("sbom", "flow.py", "--env", "low", "--format", "cyclonedx").out == done.out


def test_a_lock_alone_says_the_same(offline: Offline) -> None:
    digests = built(offline)
    for format in ("cyclonedx", "spdx", "provenance"):
        told = offline.ok("sbom", "flow.py", "--env", "top", "--format", format).out
        (offline.project / "flow.py").rename(offline.project / "away.py")
        assert offline.ok("sbom", offline.lockfiles / "top.json", "--format", format).out == told
        (offline.project / "away.py").rename(offline.project / "flow.py")
        assert digests["top"].removeprefix("sha256:") in told


def test_the_digest_of_what_is_not_the_pinned_image_is_left_out(offline: Offline) -> None:
    built(offline)
    path = offline.lockfiles / "low.json"
    lock = json.loads(path.read_text())
    lock["pins"]["linux/amd64"]["derivation"] = "sha256:" + "0" * 64
    lock["pins"]["linux/amd64"]["digest"] = "sha256:" + "1" * 64
    path.write_text(json.dumps(lock))
    document = offline.ok("sbom", "flow.py", "--env", "low", "--format", "cyclonedx").json()
    assert document["metadata"]["component"]["version"] != "sha256:" + "1" * 64
    for image in (offline.store / "realisations").iterdir():
        image.unlink()
    document = offline.ok("sbom", "flow.py", "--env", "low", "--format", "cyclonedx").json()
    assert "version" not in document["metadata"]["component"]


def test_a_file_is_named_by_its_format(offline: Offline) -> None:
    built(offline)
    for name, key in (("a.cdx.json", "bomFormat"), ("a.spdx.json", "spdxVersion"), ("a.intoto.json", "_type")):
        done = offline.ok("sbom", "flow.py", "--env", "low", "-o", name)
        assert done.out == ""
        assert key in json.loads((offline.project / name).read_text())
    offline.ok("sbom", "flow.py", "--env", "low", "-o", "a.txt", "--format", "spdx")
    assert (offline.project / "a.txt").read_bytes() == (offline.project / "a.spdx.json").read_bytes()


def test_copied_files_are_materials_and_no_packages(offline: Offline) -> None:
    offline.write("data\n", "data/a.txt")
    text = (offline.project / "flow.py").read_text()
    offline.write(text.replace("image=base.", 'image=base.with_source_folder(__import__("pathlib").Path("data")).', 1))
    digests = built(offline)
    statement = offline.ok("sbom", "flow.py", "--env", "low", "--format", "provenance").json()
    assert statement["subject"][0]["digest"]["sha256"] == digests["low"].removeprefix("sha256:")
    copied = [
        m["name"] for m in statement["predicate"]["buildDefinition"]["resolvedDependencies"] if "annotations" in m
    ]
    assert [name.rpartition("/")[2] for name in copied] == ["a.txt"]
    document = offline.ok("sbom", "flow.py", "--env", "low", "--format", "cyclonedx").json()
    assert document["compositions"][0]["aggregate"] == "incomplete"
    assert "copied files are not listed" in offline.ok("sbom", "flow.py", "--env", "low").out


def test_what_is_refused(offline: Offline) -> None:
    said = offline.refused(4, "sbom", "flow.py")
    assert "flyte-build lock flow.py" in said
    offline.locked()
    said = offline.refused(2, "sbom", "flow.py", "--format", "spdx")
    assert "a document is about one image, and these are 2: low on linux/amd64, top on linux/amd64" in said
    assert "not known yet" in offline.refused(2, "sbom", "flow.py", "--env", "low", "--format", "provenance")
    assert "expected --format with it, or a name" in offline.refused(2, "sbom", "flow.py", "-o", "a.json")
    assert "a table is for a terminal" in offline.refused(2, "sbom", "flow.py", "-o", "a", "--format", "table")
    lock = offline.lockfiles / "low.json"
    assert "expected no task and no --env" in offline.refused(2, "sbom", lock, "main")
    assert "not for linux/arm64, but for linux/amd64" in offline.refused(2, "sbom", lock, "--platform", "linux/arm64")
    assert "cannot be read" in offline.refused(4, "sbom", "missing.json")
    assert "no environment `other`" in offline.refused(3, "sbom", "flow.py", "--env", "other")
    assert "cannot be written" in offline.refused(9, "sbom", lock, "-o", "flow.py/a.cdx.json")
