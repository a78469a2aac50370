"""Law 1, locks name content, never location: no host, no URL, no path gets into a lock, and the same lock comes
from any index that holds the same files."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path

import pytest

from flyte_build.recipe import PipInstall
from flyte_build.sources.indexes import Index, IndexSettings

from ..support.index import SimpleIndex
from ..support.locking import FakeDebian, project, publish, recipe

ROOT = Path(__file__).parents[2]
_HOST = re.compile(r"\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:org|com|net|io|dev|example|local)\b|\b\d+\.\d+\.\d+\.\d+:\d+")


@pytest.fixture(autouse=True)
def _published(tmp_path: Path, index: SimpleIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    publish(index.folder, "a 1.0: b", "b 1.0", "b 2.0")


def strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [s for k, v in value.items() for s in (k, *strings(v))]
    if isinstance(value, list):
        return [s for v in value for s in strings(v)]
    return [value] if isinstance(value, str) else []


def assert_no_location(text: str) -> None:
    for value in strings(json.loads(text)):
        assert "://" not in value
        assert not _HOST.search(value), value
        assert not value.startswith(("/home", "/tmp", "/root", "file:"))


def test_a_lock_names_no_place(index: SimpleIndex, tmp_path: Path) -> None:
    publish(tmp_path / "own", "mine 1.0: a")
    elsewhere = PipInstall(("b<2",), index=index.url, extra_indexes=(f"{index.url}/",))
    recipes = {
        "plain": recipe("a"),
        "indexed": recipe("a", elsewhere),
        "local": recipe(PipInstall((), wheels=("own/mine-1.0-py3-none-any.whl",))),
        "apart": recipe("b==1.0"),
        "other": recipe("b==2.0"),
    }
    project(recipes, tmp_path / "lockfiles", index)
    for name in recipes:
        text = (tmp_path / "lockfiles" / f"{name}.json").read_text()
        assert_no_location(text)
        for place in (index.host, "127.0.0.1", str(tmp_path), socket.gethostname()):
            assert place not in text
        assert '"sha256": "' in text


def test_the_check_itself_finds_places() -> None:
    for place in ("https://x/y", "files.index.example", "127.0.0.1:80", "/tmp/x.whl"):
        with pytest.raises(AssertionError):
            assert_no_location(json.dumps({"a": [place]}))


def test_any_index_with_the_same_files_gives_the_same_lock(index: SimpleIndex, tmp_path: Path) -> None:
    mirrored = tmp_path / "mirrored"
    shutil.copytree(index.folder, mirrored)
    first, second = tmp_path / "first", tmp_path / "second"
    project({"e": recipe("a")}, first, index)
    with SimpleIndex(mirrored) as mirror:
        mirror.json = mirror.hashes = mirror.ranges = False
        project({"e": recipe("a")}, second, mirror)
        linked = IndexSettings(None, find_links=(str(mirrored),))
        project({"e": recipe("a")}, tmp_path / "third", mirror, settings=linked)
    text = (first / "e.json").read_text()
    assert (second / "e.json").read_text() == text
    assert (tmp_path / "third" / "e.json").read_text() == text


def test_an_indexs_address_is_noticed_but_not_written(index: SimpleIndex, tmp_path: Path) -> None:
    folder = tmp_path / "lockfiles"
    one = recipe(PipInstall(("a",), index=index.url))
    other = recipe(PipInstall(("a",), index="http://127.0.0.1:9/simple"))
    lock = project({"e": one}, folder, index).locks["e"]
    assert lock.answers(one)
    assert not lock.answers(other)
    assert lock.platforms["linux/amd64"].wheels
    assert project({"e": one}, folder, index, settings=IndexSettings(Index("http://127.0.0.1:9/"))).unchanged == ("e",)


def test_committed_locks_name_no_place() -> None:
    for path in sorted((ROOT / "lockfiles").glob("*.json")):
        assert_no_location(path.read_text(encoding="utf-8"))


def test_debian_packages_are_content_too(index: SimpleIndex, tmp_path: Path) -> None:
    debian = FakeDebian()
    project({"e": recipe("a")}, tmp_path / "lockfiles", index, debian=debian)
    text = (tmp_path / "lockfiles" / "e.json").read_text()
    assert_no_location(text)
    locked = json.loads(text)["platforms"]["linux/amd64"]
    assert {tuple(sorted(deb)) for deb in locked["debs"]} == {
        ("architecture", "name", "sha256", "size", "version"),
    }
    assert {tuple(sorted(wheel)) for wheel in locked["wheels"]} == {
        ("file", "name", "sha256", "size", "step", "version")
    }
