"""Where artifacts may be: each kind is looked for where configuration says, and nowhere else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import Artifact
from flyte_build.kernel.errors import FetchError
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.lockfile import LockedDeb, LockedWheel
from flyte_build.recipe import PipInstall
from flyte_build.sources.fetching import fetch
from flyte_build.sources.indexes import Index, IndexSettings
from flyte_build.sources.locators import DebLocator, FileLocator, Locators, WheelLocator, project_locator
from flyte_build.sources.mirrors import Mirrors
from flyte_build.store import Store
from tests.support.http import Fault, FileServer, serving
from tests.support.images import noise, wheel_artifact
from tests.support.recipes import lock_of, recipe_of
from tests.support.wheels import build_wheel

DATA = noise(50_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
WHEEL = Artifact(SHA256, len(DATA), "demo-1.0-py3-none-any.whl", LockedWheel("demo", "1.0", "", len(DATA), SHA256, 1))
DEB = Artifact(
    SHA256,
    len(DATA),
    "libdemo_1.0-1_amd64.deb",
    LockedDeb(
        *("libdemo", "1.0-1", "amd64", "libdemo_1.0-1_amd64.deb", len(DATA), SHA256, "libdemo", "debian"), "main", True
    ),
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    with serving() as found:
        yield found


def page(server: FileServer, name: str, sha256: str | None = SHA256, index: str = "simple") -> str:
    """A project's page of the Simple API (PEP 691); the index's URL."""
    file = {"filename": WHEEL.file, "url": f"../../files/{WHEEL.file}", "hashes": {"sha256": sha256} if sha256 else {}}
    body = json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": [file]}).encode()
    server.put(f"{index}/{name}/", body, Fault(headers={"Content-Type": "application/vnd.pypi.simple.v1+json"}))
    return f"{server.url}/{index}/"


def test_a_wheel_is_found_on_its_index_and_resumed_there(server: FileServer, tmp_path: Path) -> None:
    settings = IndexSettings(Index(page(server, "demo")))
    server.put(f"files/{WHEEL.file}", DATA, Fault(cut=20_000))
    found = fetch([WHEEL], Store(tmp_path / "s"), locator=WheelLocator([settings]), reporter=Silent())
    assert found[SHA256].read_bytes() == DATA
    assert [s.start for s in server.seen if s.path.startswith("/files")] == [None, 20_000]


def test_an_index_that_lies_about_a_hash_is_found_out(server: FileServer, tmp_path: Path) -> None:
    settings = IndexSettings(Index(page(server, "demo")))
    server.put(f"files/{WHEEL.file}", DATA, Fault(body=bytes(len(DATA))), forever=True)
    with pytest.raises(FetchError, match=f"expected SHA-256 {SHA256}, found"):
        fetch([WHEEL], Store(tmp_path / "s"), locator=WheelLocator([settings]), reporter=Silent())


@pytest.mark.slow
def test_the_other_indexes_are_asked_when_one_is_down_or_has_it_not(server: FileServer, tmp_path: Path) -> None:
    with serving() as gone:
        down = IndexSettings(Index(f"{gone.url}/simple/"))
    empty = IndexSettings(Index(f"{server.url}/empty/"))
    good = IndexSettings(Index(page(server, "demo")))
    server.put(f"files/{WHEEL.file}", DATA)
    locator = WheelLocator([empty, down, good])
    assert fetch([WHEEL], Store(tmp_path / "s"), locator=locator, reporter=Silent())[SHA256].read_bytes() == DATA


def test_a_wheel_that_no_index_has_names_what_was_asked(server: FileServer, tmp_path: Path) -> None:
    settings = IndexSettings(Index(page(server, "demo", "0" * 64)))
    with pytest.raises(FetchError) as e:
        fetch([WHEEL], Store(tmp_path / "s"), locator=WheelLocator([settings]), reporter=Silent())
    assert WHEEL.file in e.value.message
    assert "0" * 64 in e.value.message
    assert f"{server.url}/simple" in e.value.message


def test_a_package_is_found_on_a_mirror_or_else_in_the_snapshots(server: FileServer, tmp_path: Path) -> None:
    path = "debian/20261101T000000Z/pool/main/libd/libdemo/libdemo_1.0-1_amd64.deb"
    server.put(f"archive/{path}", DATA)
    locator = DebLocator(["20261101T000000Z"], Mirrors((), f"{server.url}/archive"))
    assert fetch([DEB], Store(tmp_path / "s"), locator=locator, reporter=Silent())[SHA256].read_bytes() == DATA
    assert [s.path for s in server.seen] == [f"/archive/{path}"]


def test_local_wheels_are_found_by_name_and_checked_by_hash(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    path = build_wheel(tmp_path / "dist", "own")
    recipe = recipe_of(PipInstall((), wheels=("dist/own-1.0-py3-none-any.whl",)))
    locator = FileLocator.wheels([recipe], tmp_path)
    artifact = wheel_artifact(path)
    assert [p.url for p in locator.places(artifact)] == [path.as_uri()]
    path.write_bytes(b"another build")
    with pytest.raises(FetchError, match=r"own-1\.0.*expected SHA-256"):
        fetch([artifact], Store(tmp_path / "s"), locator=locator, reporter=Silent())


def test_each_kind_is_asked_of_its_own(tmp_path: Path) -> None:
    local = Artifact(SHA256, len(DATA), WHEEL.file)
    settings = IndexSettings(None, find_links=(str(tmp_path),))
    (tmp_path / WHEEL.file).write_bytes(DATA)
    debs = DebLocator(["20261101T000000Z"], Mirrors((), "https://mirror.example/archive"))
    both = Locators(debs, WheelLocator([settings]), FileLocator([tmp_path / WHEEL.file]))
    uri = (tmp_path / WHEEL.file).as_uri()
    assert [p.url for p in both.places(WHEEL)] == [uri, uri]
    assert [p.url.split("/")[2] for p in both.places(DEB)] == ["mirror.example", "mirror.example"]
    assert [p.url for p in both.places(local)] == []
    both.close()


def test_a_projects_locator_asks_the_indexes_its_recipes_name(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/default/")
    named = page(server, "demo", index="gpu")
    server.put(f"files/{WHEEL.file}", DATA)
    recipe = recipe_of(PipInstall(("demo",), extra_indexes=(named,)))
    locator = project_locator({"env": recipe}, {"env": lock_of(recipe)}, tmp_path)
    assert fetch([WHEEL], Store(tmp_path / "s"), locator=locator, reporter=Silent())[SHA256].read_bytes() == DATA


def test_a_build_with_nothing_to_fetch_loads_no_http_client() -> None:
    code = (
        "import sys, flyte_build.building.building; "
        "print([m for m in ('httpx', 'ssl', 'isal', 'flyte') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
