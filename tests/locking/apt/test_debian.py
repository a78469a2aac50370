"""The real archive, from this host's own sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Recorder
from flyte_build.locking.apt import Debian, index, lock_debian
from flyte_build.locking.apt.omissions import OMISSIONS
from flyte_build.locking.apt.package import Package
from flyte_build.sources import mirrors as mirrors_module
from flyte_build.sources.apt_sources import HostApt
from flyte_build.sources.mirrors import MAIN_MIRROR, SNAPSHOT_MIRROR
from tests.support.tools import need

pytestmark = pytest.mark.integration  # gpg signs, gpgv verifies


@pytest.mark.parametrize(
    ("suite", "architecture", "python"),
    [("bookworm", "amd64", "3.11"), ("trixie", "amd64", "3.13"), ("bookworm", "arm64", "3.11")],
)
def test_debian_itself(suite: str, architecture: str, python: str) -> None:
    need("gpgv")
    index._scanned.clear()
    with TemporaryDirectory() as cache, Debian(cutoff=None, reporter=Recorder(), cache=Path(cache)) as debian:
        found = debian.lock(suite, architecture, python, ["git", "curl"])
        universe = debian._universe(suite, architecture, debian._state(suite))
    names = {d.name for d in found.debs}
    assert {"git", "curl", f"python{python}", "libc6", "ca-certificates"} <= names
    assert not names & OMISSIONS.keys()
    for deb in found.debs:
        assert deb.size > 0
        assert len(deb.sha256) == 64
        assert deb.architecture in (architecture, "all")
    assert not closure_gaps([p for d in found.debs for p in universe.versions(d.name) if p.version == d.version])
    some = [found.debs[0], next(d for d in found.debs if d.name == "git"), found.debs[-1]]
    some += [d for d in found.debs if d.archive == "debian-security"][:2]
    with mirrors_module.configured().client() as client:
        for deb in some:
            urls = mirrors_module.pool_urls(deb, found.snapshot)
            assert any(_answers(client, url) for url in urls[:2]), urls


def _answers(client: httpx.Client, url: str) -> bool:
    return client.head(url).status_code == 200


def closure_gaps(packages: Sequence[Package]) -> list[str]:
    """What is depended on and neither there nor cut: an independent reading of the dependencies."""
    provided = {p.name for p in packages} | {r.name for p in packages for r in p.provides}
    return [
        f"{p.name}: {clause}"
        for p in packages
        for clause in p.depends
        if not any(r.name in provided or r.name in OMISSIONS for r in clause)
    ]


def test_one_image_by_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path))
    with httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(404))) as client:
        monkeypatch.setenv(MAIN_MIRROR, "http://mirror.example/debian")
        monkeypatch.setenv(SNAPSHOT_MIRROR, "off")
        monkeypatch.setattr(mirrors_module, "_host_apt", HostApt)
        with pytest.raises(FetchError, match=r"GET http://mirror.example/debian/dists/bookworm/InRelease: 404"):
            lock_debian("bookworm", "amd64", "3.11", [], cutoff=None, reporter=Recorder(), http=client)
