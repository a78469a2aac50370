"""``verify``: an image is rebuilt from nothing and held against its pin and the store."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from flyte_build.locks.lockfile import read
from flyte_build.store import Store
from tests.support.tampering import tampered

from ..support.offline import Offline, snapshot
from ..support.verified import AMD64, Built, chmod


def states(document: dict[str, object]) -> dict[str, tuple[str, str]]:
    images = document["images"]
    assert isinstance(images, list)
    return {i["environment"]: (i["pin"]["state"], i["store"]["state"]) for i in images}


def test_an_image_rebuilt_from_nothing_is_what_was_pinned(built: Built) -> None:
    done = built.offline.ok("verify", "flow.py", "--json")
    document = done.json()
    assert document["good"] is True
    assert states(document) == {"low": ("same", "same"), "top": ("same", "same")}
    assert {i["environment"]: i["rebuilt"] for i in document["images"]} == built.digests
    text = built.offline.ok("verify", "flow.py", "main").out
    assert re.search(r"^low +linux/amd64 +sha256:[0-9a-f]{64} +same +same$", text, re.M)
    assert "2 images verified" in text
    assert not list(built.store.tmp.glob("session-*")), "the scratch store is gone"


def test_it_is_rebuilt_indeed_and_nothing_is_asked_of_the_network(built: Built) -> None:
    # Blobs and realisations are worth nothing to it: only artifacts are taken, and these are hashed.
    shutil.rmtree(built.store.oci)
    shutil.rmtree(built.store.realisations)
    asked = len(built.offline.index.asked)
    document = built.offline.ok("verify", "flow.py", "--json").json()
    assert states(document) == {"low": ("same", "absent"), "top": ("same", "absent")}
    assert len(built.offline.index.asked) == asked


def test_fetch_downloads_every_wheel_anew(built: Built) -> None:
    built.offline.index.asked.clear()
    built.offline.ok("verify", "flow.py", "--fetch")
    fetched = [line for line in built.offline.index.asked if ".whl" in line and line.startswith("GET")]
    assert {name for line in fetched for name in ("alpha", "beta", "flyte") if f"/{name}-" in line} == {
        "alpha", "beta", "flyte",
    }  # fmt: skip


def test_a_damaged_artifact_of_the_store_is_not_taken(built: Built) -> None:
    before = snapshot(built.offline.lockfiles)
    lock = read(built.offline.lockfiles, "low")
    assert lock is not None
    wheel = next(w for w in lock.platforms[AMD64].wheels if w.name == "alpha")
    path = built.store.artifact_path(wheel.sha256)
    path.chmod(0o644)
    path.write_bytes(b"x" * wheel.size)
    document = built.offline.ok("verify", "flow.py", "--env", "low", "--json").json()
    assert states(document) == {"low": ("same", "same")}
    shutil.rmtree(built.offline.index.folder)
    built.offline.index.folder.mkdir()
    assert "alpha" in built.offline.refused(6, "verify", "flow.py", "--env", "low")
    assert snapshot(built.offline.lockfiles) == before


def test_a_wrong_pin_is_found_and_kept(built: Built) -> None:
    built.pin("low", digest="sha256:" + "0" * 64)
    before = snapshot(built.offline.lockfiles)
    done = built.offline("verify", "flow.py", "--json")
    assert done.code == 15
    assert states(json.loads(done.out)) == {"low": ("differs", "same"), "top": ("same", "same")}
    said = built.offline.refused(15, "verify", "flow.py")
    assert "error: 1 of 2 images rebuilt from nothing is not what was recorded:" in said
    assert "low on linux/amd64, pin: expected sha256:0000" in said
    assert "no image with the pinned digest is in the store" in said
    assert snapshot(built.offline.lockfiles) == before


def test_an_image_changed_by_hand_is_taken_apart(built: Built) -> None:
    document = json.loads(built.store.blob_path(built.digests["low"]).read_bytes())
    last = len(document["layers"]) - 1
    built.pin("low", digest=tampered(built.store, built.digests["low"], last, chmod))
    done = built.offline("verify", "flow.py", "--env", "low", "--json")
    assert done.code == 15
    [image] = json.loads(done.out)["images"]
    [cause] = image["pin"]["differences"]
    assert cause["part"] == "layer"
    assert cause["layer"] == last + 1
    assert cause["title"].startswith("alpha 1.0")
    assert cause["path"] == "opt/venv/lib/python3.11/site-packages/alpha/__init__.py"
    assert cause["what"] == "mode: expected 0755, found 0644"
    shown = built.offline("verify", "flow.py", "--env", "low")
    assert "low on linux/amd64: pin" in shown.out
    assert "mode: expected 0755, found 0644" in shown.out
    assert "mode: expected 0755, found 0644" in shown.err


def test_a_store_that_says_something_else_is_found(built: Built) -> None:
    def config(settings: dict[str, dict[str, object]]) -> None:
        settings["config"]["User"] = "root"

    wrong = tampered(built.store, built.digests["low"], config=config)
    path = built.store.realisations / f"{built.derivation('low').removeprefix('sha256:')}.json"
    made = json.loads(path.read_bytes())
    size = built.store.blob_path(wrong).stat().st_size
    path.chmod(0o644)
    path.write_text(json.dumps({**made, "manifest": wrong, "size": size}))
    said = built.offline.refused(15, "verify", "flow.py", "--env", "low")
    assert 'low on linux/amd64, store: configuration: `config.User`: expected "root", found "flyte"' in said


def test_a_pin_of_another_derivation(built: Built) -> None:
    built.pin("low", derivation="sha256:" + "1" * 64)
    said = built.offline.refused(15, "verify", "flow.py", "--env", "low")
    assert "low on linux/amd64, pin: the pin is of another derivation: sha256:1111" in said
    assert "without --locked makes new pins" in " ".join(said.split())


def test_without_pin_and_build_nothing_is_claimed(offline: Offline) -> None:
    offline.locked()
    done = offline.ok("verify", "flow.py", "--env", "low")
    assert "nothing is recorded to compare low with" in done.out
    assert "verified" not in done.out
    assert not Store(offline.store).tags(), "what was rebuilt is not left in the store"
    assert not list(Store(offline.store).artifacts.iterdir())


def test_a_stale_lock_is_refused(built: Built) -> None:
    lock = read(built.offline.lockfiles, "low")
    assert lock is not None
    text = (built.offline.project / "flow.py").read_text()
    built.offline.write(text.replace("'alpha'", "'alpha>=1'", 1))
    assert "stale" in built.offline.refused(4, "verify", "flow.py")


def test_an_unknown_environment_is_refused(built: Built) -> None:
    assert "no environment `nope`" in built.offline.refused(3, "verify", "flow.py", "--env", "nope")


def test_the_project_may_lie_elsewhere(built: Built, tmp_path: Path) -> None:
    """Another path, another time, another umask: the same digests."""
    elsewhere = tmp_path / "deep" / "copy"
    shutil.copytree(built.offline.project, elsewhere)
    built.offline.patch.chdir(elsewhere)
    old = os.umask(0o077)
    try:
        document = built.offline.ok("verify", "flow.py", "--json").json()
    finally:
        os.umask(old)
    assert {i["environment"]: i["rebuilt"] for i in document["images"]} == built.digests
