"""A project on its way to a site without network, and what is built there."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ..support.offline import Offline, snapshot, workflow


@pytest.fixture
def made(offline: Offline) -> list[dict[str, Any]]:
    """The project is locked and built; gives its images."""
    offline.locked()
    images: list[dict[str, Any]] = offline.ok("build", "flow.py", "--json").json()["images"]
    return images


def other_site(offline: Offline, monkeypatch: pytest.MonkeyPatch, *, locks: bool = False) -> Path:
    """Another machine: an empty store, the project's own files, and not one socket. Gives its folder."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was asked")

    folder = offline.home / "other"
    (folder / "project").mkdir(parents=True)
    shutil.copy(offline.project / "flow.py", folder / "project")
    (folder / "project" / "pyproject.toml").touch()
    if locks:
        shutil.copytree(offline.lockfiles, folder / "project" / "lockfiles")
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(folder / "cache"))
    monkeypatch.setenv("FLYTE_BUILD_STATE", str(folder / "state"))
    monkeypatch.chdir(folder / "project")
    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return folder


def test_images_are_used_there_and_nothing_is_assembled(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = offline.home / "flow.fbundle"
    done = offline.ok("bundle", "flow.py", "-o", bundle)
    assert f"../{bundle.name}" in done.out
    assert "22 artifacts" in done.out
    there = other_site(offline, monkeypatch)
    said = offline.ok("unbundle", bundle)
    assert "locks written to" in said.out
    assert snapshot(there / "project" / "lockfiles") == snapshot(offline.lockfiles)
    built = offline.ok("build", "flow.py", "--locked", "--json").json()["images"]
    assert [(i["environment"], i["digest"], i["reused"]) for i in built] == [
        (i["environment"], i["digest"], True) for i in made
    ]
    offline.verified()


def test_without_images_the_same_ones_are_made_there(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = offline.home / "flow.fbundle"
    offline.ok("bundle", "flow.py", "-o", bundle, "--no-images", "-q")
    other_site(offline, monkeypatch)
    assert "to be made" in offline.ok("unbundle", bundle).out
    built = offline.ok("build", "flow.py", "--locked", "--json").json()["images"]
    assert [(i["digest"], i["reused"]) for i in built] == [(i["digest"], False) for i in made]
    offline.verified()


def test_a_fresh_machine_bundles_too_and_the_file_is_the_same(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store lacks is built and fetched, the pins are written, and the bytes say nothing of where or when."""
    first = offline.ok("bundle", "flow.py", "-o", offline.home / "one", "--json").json()
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(offline.home / "fresh"))
    second = offline.ok("bundle", "flow.py", "-o", offline.home / "two", "--json").json()
    assert (first["sha256"], first["size"]) == (second["sha256"], second["size"])
    assert (offline.home / "one").read_bytes() == (offline.home / "two").read_bytes()
    assert [i["digest"] for i in first["images"]] == [i["digest"] for i in made]
    assert first["artifacts"] == 22
    assert json.loads((offline.lockfiles / "low.json").read_text())["pins"]


def test_one_environment_is_as_much_as_it_needs(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = offline.ok("bundle", "flow.py", "-o", offline.home / "all", "--json").json()
    low = offline.ok("bundle", "flow.py", "-e", "low", "-o", offline.home / "low", "--no-artifacts", "--json").json()
    assert [i["environment"] for i in low["images"]] == ["low"]
    assert (low["artifacts"], every["artifacts"]) == (0, 22)
    assert low["size"] < every["size"]
    there = other_site(offline, monkeypatch)
    done = offline.ok("unbundle", offline.home / "low", "--json").json()
    assert done["ready"] == done["locks_written"] == ["low"]
    assert done["lockfiles"] == str(there / "project" / "lockfiles")
    assert offline.ok("build", "flow.py", "-e", "low", "--locked", "--json").json()["images"][0]["reused"]


def test_verify_makes_them_again_there(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = offline.home / "flow.fbundle"
    offline.ok("bundle", "flow.py", "-o", bundle)
    other_site(offline, monkeypatch)
    assert "every image is the one that its artifacts make" in offline.ok("unbundle", bundle, "--verify").out
    assert offline.ok("unbundle", bundle, "-q").out == ""


def test_what_is_there_is_not_overwritten(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = offline.home / "flow.fbundle"
    offline.ok("bundle", "flow.py", "-o", bundle, "--no-images")
    there = other_site(offline, monkeypatch, locks=True)
    lock = there / "project" / "lockfiles" / "low.json"
    document = json.loads(lock.read_text())
    del document["pins"]
    lock.write_text(json.dumps(document, indent=2))
    before = snapshot(there)
    said = offline.refused(4, "unbundle", bundle)
    assert "expected no locks, or the bundle's; found others for low" in said
    assert "--force" in said
    assert {k: v for k, v in snapshot(there).items() if k.startswith("project")} == before
    offline.ok("unbundle", bundle, "--force")
    assert snapshot(there / "project" / "lockfiles") == snapshot(offline.lockfiles)


def test_what_is_wrong_is_said(offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = offline.home / "flow.fbundle"
    assert "neither asked for" in offline.refused(2, "bundle", "flow.py", "-o", bundle, "--no-images", "--no-artifacts")
    (offline.home / "thesis.txt").write_text("years of work")
    assert "found another file" in offline.refused(2, "bundle", "flow.py", "-o", offline.home / "thesis.txt")
    assert not bundle.exists()
    offline.ok("bundle", "flow.py", "-o", bundle, "--no-images")
    data = bundle.read_bytes()
    bundle.write_bytes(data[: len(data) // 2])
    other_site(offline, monkeypatch)
    assert "it was cut off" in offline.refused(8, "unbundle", bundle)
    bundle.write_bytes(data.replace(b"low", b"lox", 1))
    offline.refused(8, "unbundle", bundle)
    assert "cannot be read: No such file" in offline.refused(2, "unbundle", "nowhere.fbundle")
    assert "expected a bundle" in offline.refused(2, "unbundle", offline.home / "thesis.txt")


def test_a_project_that_was_not_pinned_is_warned_of(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    offline.locked()
    done = offline.ok("bundle", "flow.py", "-o", offline.home / "x", "--no-images")
    assert "low on linux/amd64 is not pinned" in done.err
    other_site(offline, monkeypatch)
    offline.ok("unbundle", offline.home / "x")
    assert "has no pin" in offline.refused(15, "build", "flow.py", "--locked")


def test_copied_files_are_in_it_and_the_project_still_has_its_own(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = workflow("low: alpha").replace(
        "image=base", 'image=base.with_source_file(Path(__file__).parent / "model.txt")'
    )
    offline.write("from pathlib import Path\n" + text)
    offline.write("weights", "model.txt")
    offline.locked()
    digest = offline.ok("build", "flow.py", "--json").json()["images"][0]["digest"]
    offline.ok("bundle", "flow.py", "-o", offline.home / "x", "--no-images")
    there = other_site(offline, monkeypatch)
    shutil.copy(offline.project / "model.txt", there / "project")
    offline.ok("unbundle", offline.home / "x")
    assert offline.ok("build", "flow.py", "--locked", "--json").json()["images"][0]["digest"] == digest


def test_a_pipe_is_read_as_it_comes(
    offline: Offline, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = offline.home / "flow.fbundle"
    offline.ok("bundle", "flow.py", "-o", bundle)
    other_site(offline, monkeypatch)
    with bundle.open("rb") as f:
        done = subprocess.run(
            [sys.executable, "-m", "flyte_build", "unbundle", "/dev/stdin", "--json"],
            stdin=subprocess.Popen(["cat"], stdin=f, stdout=subprocess.PIPE).stdout,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ready"] == ["low", "top"]
