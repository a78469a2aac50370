"""Packages from contrib, and from other people's sources: only where the settings allow them, by name and by key."""

from __future__ import annotations

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flyte_build.sources.apt_third_parties import key_bytes

from ..support.archive import Deb, Signer, publish
from ..support.offline import Offline
from .test_source_builds import platform

FLOW = """\
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
low = flyte.TaskEnvironment("low", image=base.with_apt_packages("{}"))
@low.task
def main(x: int) -> int:
    return x
"""
SOURCE = "Types: deb\nURIs: {url}/company\nSuites: stable\nComponents: main\nSigned-By: {key}\n"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Any:
    signer = Signer(tmp_path_factory.mktemp("company"), "Company")
    yield signer
    signer.close()


@pytest.fixture
def project(offline: Offline, company: Signer) -> Offline:
    """A company's archive beside Debian's; it has a driver of its own, and a newer libc6 than Debian."""
    publish(
        offline.home / "www/company",
        company,
        "stable",
        [Deb("driver", "2.0", {"Depends": "libc6"}), Deb("libc6", "99")],
        date=datetime.now(UTC) - timedelta(hours=1),
        valid=None,
        release={"Origin": "Company", "Label": "Company", "Suite": "stable"},
        files=True,
    )
    (offline.project / "apt").mkdir()
    (offline.project / "apt/company.gpg").write_bytes(company.keyring.read_bytes())
    source(offline)
    offline.write(FLOW.format("driver"))
    return offline


def source(project: Offline, key: str = "company.gpg", name: str = "company.sources") -> None:
    (project.project / "apt" / name).write_text(SOURCE.format(url=project.archive.url, key=key))
    (project.project / "pyproject.toml").write_text(f'[tool.flyte-build]\napt-sources = ["apt/{name}"]\n')


def debs(project: Offline) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in platform(project)["debs"]}


def test_a_companys_package_is_locked_and_built(project: Offline) -> None:
    project.ok("lock", "flow.py")
    found = debs(project)
    assert (found["driver"]["archive"], found["driver"]["path"]) == (
        "company",
        "pool/main/d/driver/driver_2.0_amd64.deb",
    )
    # Of a name that both have Debian's is taken, though the other is newer.
    assert (found["libc6"]["version"], found["libc6"]["archive"]) == ("2.36-9", "debian")
    assert "127.0.0.1" not in (project.lockfiles / "low.json").read_text()
    project.ok("build", "flow.py")
    assert "/company/pool/main/d/driver/driver_2.0_amd64.deb" in project.archive.requests
    project.ok("lock", "--check", "flow.py")


def test_not_without_the_setting(project: Offline) -> None:
    (project.project / "pyproject.toml").unlink()
    said = project.refused(5, "lock", "flow.py")
    assert "there is no package `driver`" in said
    assert "`apt-components` and `apt-sources`" in said


def test_only_what_its_key_signed(project: Offline, signer: Signer) -> None:
    (project.project / "apt/company.gpg").write_bytes(signer.keyring.read_bytes())
    said = project.refused(6, "lock", "flow.py")
    assert "apt source `company`" in said
    assert "expected a good signature" in said


def test_a_key_in_the_file(project: Offline, company: Signer) -> None:
    body = base64.encodebytes(company.keyring.read_bytes()).decode().splitlines()
    rows = ["-----BEGIN PGP PUBLIC KEY BLOCK-----", ".", *body, "-----END PGP PUBLIC KEY BLOCK-----"]
    source(project, "\n" + "\n".join(f" {row}" for row in rows))
    project.ok("lock", "flow.py")
    assert "driver" in debs(project)


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("", "company.sources", "expected Signed-By, found none"),
        ("nowhere.gpg", "company.sources", "cannot be read"),
        ("company.gpg", "debian.sources", "expected a file called NAME.sources"),
        ("company.gpg", "company.list", "expected a file called NAME.sources"),
    ],
)
def test_what_is_wrong_in_the_file(project: Offline, key: str, name: str, said: str) -> None:
    source(project, key, name)
    assert said in project.refused(2, "lock", "flow.py")


def test_a_lock_without_its_source(project: Offline) -> None:
    project.ok("lock", "flow.py")
    (project.project / "pyproject.toml").unlink()
    shutil.rmtree(project.store)
    said = project.refused(6, "build", "flow.py")
    assert "is of the apt source `company`, which nothing here says where it is" in said


def test_contrib_by_name(offline: Offline, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    offline.write(FLOW.format("git"))
    (offline.project / "pyproject.toml").write_text('[tool.flyte-build]\napt-components = ["restricted"]\n')
    assert "expected some of contrib, non-free, non-free-firmware" in offline.refused(2, "lock", "flow.py")
    # The archive of these tests lists contrib, and has no index of it: that it is asked for is what counts.
    (offline.project / "pyproject.toml").write_text('[tool.flyte-build]\napt-components = ["contrib"]\n')
    assert "contrib/binary-amd64/Packages" in offline.refused(6, "lock", "flow.py")


def test_armor_with_headers_and_a_checksum(tmp_path: Path) -> None:
    body = base64.b64encode(b"key" * 40).decode()
    text = f"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\n{body}\n=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    assert key_bytes(text.encode(), "here") == b"key" * 40
    assert json.dumps(key_bytes(b"\x98binary", "here").hex()) == '"9862696e617279"'
