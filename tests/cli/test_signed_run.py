"""``verify-key``: ``run`` starts nothing that is not signed by it in the registry."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from flyte_build.kernel.errors import RunError
from flyte_build.submit.run import RunRequest
from flyte_build.workbench import Ready, running, trying
from tests.supply.pairs import written
from tests.support.offline import Offline
from tests.support.registry import RegistryServer

RUN = ("run", "flow.py", "main", "--x", "1")


@pytest.fixture
def project(offline: Offline, registry: RegistryServer) -> Offline:
    """Locked and built, with the keys ``team`` and ``other`` beside ``pyproject.toml``."""
    for name in ("team", "other"):
        written(offline.project, name, ec.generate_private_key(ec.SECP256R1()))
    offline.locked()
    offline.ok("build", "flow.py")
    return offline


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The images of each run that began; it ends there, as nothing here is a Python that could run."""
    begun: list[dict[str, str]] = []

    def launch(_bench: object, _task: object, ready: Ready, *_: Any) -> None:
        begun.append(dict(ready.images))
        raise RunError("it began")

    monkeypatch.setattr(running, "launch", launch)
    return begun


def configure(project: Offline, registry: RegistryServer, **keys: str) -> None:
    rows = "".join(f'{name.replace("_", "-")} = "{value}"\n' for name, value in keys.items())
    (project.project / "pyproject.toml").write_text(f'[tool.flyte-build]\nregistry = "{registry.host}/team"\n{rows}')


def test_signed_images_run(project: Offline, registry: RegistryServer, started: list[dict[str, str]]) -> None:
    configure(project, registry, sign_key="team.key", verify_key="team.pub")
    pushed = project.ok("push", "flow.py", "--json").json()["pushed"]
    for _ in range(2):
        assert "it began" in project.refused(12, *RUN)
    assert started == [{p["environment"]: p["digest"] for p in pushed}] * 2


def test_one_that_is_not_signed_stops_all(
    project: Offline, registry: RegistryServer, started: list[dict[str, str]]
) -> None:
    configure(project, registry, sign_key="team.key", verify_key="team.pub")
    low = project.ok("push", "flow.py", "--env", "low", "--json").json()["pushed"][0]
    configure(project, registry, verify_key="team.pub")
    top = next(p for p in project.ok("push", "flow.py", "--json").json()["pushed"] if p["environment"] == "top")
    for _ in range(2):  # the second time, the images are known from the record
        error = project.refused(7, *RUN)
        assert "error: 1 image is not signed by team.pub:\n" in error
        assert f"  top: {top['reference']}: not signed\n" in error
        assert low["reference"] not in error
        assert "hint: sign what you trust: " in error
    assert started == []
    configure(project, registry, sign_key="other.key", verify_key="team.pub")
    project.ok("push", "flow.py")
    assert f"  top: {top['reference']}: signed, but not by this key\n" in project.refused(7, *RUN)
    assert started == []


def test_an_image_that_was_never_pushed_is_not_signed(
    project: Offline, registry: RegistryServer, started: list[dict[str, str]]
) -> None:
    configure(project, registry, verify_key="team.pub")
    error = project.refused(7, *RUN)
    assert "2 images are not signed by " in error
    assert started == []


def test_without_a_registry_or_a_key_it_is_said_what_to_set(
    project: Offline, registry: RegistryServer, started: list[dict[str, str]]
) -> None:
    (project.project / "pyproject.toml").write_text('[tool.flyte-build]\nverify-key = "team.pub"\n')
    assert "set `registry` in [tool.flyte-build]" in project.refused(2, *RUN)
    configure(project, registry, verify_key="absent.pub")
    assert "error: absent.pub: the key cannot be read" in project.refused(2, *RUN)
    assert started == []


def test_without_the_setting_no_registry_is_asked(
    project: Offline, registry: RegistryServer, started: list[dict[str, str]]
) -> None:
    configure(project, registry)
    project.refused(12, *RUN)
    assert len(started) == 1
    assert registry.requests == []


def test_what_is_entered_is_what_was_signed(
    project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signature → manifest's digest → configuration → diff_ids → root: whatever somebody did to the unpacked images."""

    def execute(request: RunRequest, *_: object) -> None:
        entered.append({digest: request.image_roots(digest).root for digest in request.images.values()})
        raise RunError("it began")

    entered: list[dict[str, Path]] = []
    monkeypatch.setattr(trying, "entrance", lambda *_: None)
    monkeypatch.setattr(running, "execute", execute)
    configure(project, registry, sign_key="team.key", verify_key="team.pub")
    pushed = project.ok("push", "flow.py", "--json").json()["pushed"]
    signed = {p["digest"] for p in pushed}

    def enter(*options: str) -> str:
        """What is said on the way into the images."""
        said = project.refused(12, RUN[0], *options, *RUN[1:])
        assert "it began" in said
        assert set(entered[-1]) == signed
        return said

    assert "sealed" not in enter()
    root = next(iter(entered[0].values()))
    inside = next(p for p in sorted(root.rglob("*.py")) if p.is_file())
    good, times = inside.read_bytes(), inside.stat()
    assert "sealed" not in enter()
    inside.unlink()
    inside.write_bytes(b"planted")
    assert "its unpacked files are not as they were sealed" in enter()
    assert inside.read_bytes() == good
    inside.write_bytes(good.replace(b"=", b"-"))
    os.utime(inside, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "sealed" in enter("--verify-images")
    assert inside.read_bytes() == good
    # Another tree under the name of the image that was signed, and a listing that says so.
    listing = root.with_name(f"{root.name}.json")
    listing.write_text(listing.read_text().replace('"layers": [', f'"layers": ["sha256:{"0" * 64}", '))
    other = root.with_name("other")
    root.rename(other)
    shutil.copytree(other, root, symlinks=True)
    (root / "planted").write_bytes(b"")
    assert "sealed" in enter()
    assert not (root / "planted").exists()
    # And without the signature nothing of it is looked at.
    configure(project, registry, verify_key="other.pub")
    count = len(entered)
    assert "not by this key" in project.refused(7, *RUN)
    assert len(entered) == count
