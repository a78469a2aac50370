"""Which modules a wheel brings, and where the list of its files is had from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import Artifact
from flyte_build.locks.nouns import LockedWheel
from flyte_build.planning.checks.wheels.contents import Contents, ImageModules
from flyte_build.planning.checks.wheels.modules import modules_among
from flyte_build.sources.indexes import Index, IndexSettings
from flyte_build.sources.locators import FileLocator, WheelLocator
from flyte_build.store import Store
from flyte_build.store.files import hash_file
from tests.support.index import SimpleIndex
from tests.support.wheels import build_wheel


def locked(path: Path, name: str | None = None) -> LockedWheel:
    sha256, size = hash_file(path)
    distribution = path.name.split("-")[0].replace("_", "-").lower()
    return LockedWheel(name or distribution, path.name.split("-")[1], path.name, size, sha256, 1)


@pytest.mark.parametrize(
    ("member", "module"),
    [
        ("a/__init__.py", "a"),
        ("a/b.py", "a.b"),
        ("single.py", "single"),
        ("google/cloud/storage/__init__.py", "google.cloud.storage"),
        ("a/_c.cpython-311-x86_64-linux-gnu.so", "a._c"),
        ("a/_c.abi3.so", "a._c"),
        ("_c.so", "_c"),
        ("a/only.pyc", "a.only"),
        ("a-1.0.data/purelib/b/__init__.py", "b"),
        ("a-1.0.data/platlib/_d.abi3.so", "_d"),
        ("nvidia/cuda_runtime/lib/libcudart.so.12", "nvidia.cuda_runtime.lib/ nvidia.cuda_runtime/ nvidia/"),
        ("a-1.0.data/scripts/tool.py", None),
        ("a-1.0.data/data/x.py", None),
        ("a-1.0.dist-info/METADATA", None),
        ("a/data.txt", "a/"),
        ("a/data-files/x.py", None),
        ("a/__pycache__/b.cpython-311.pyc", None),
        ("numpy.libs/libopenblas64.so", None),
        ("a.pth", None),
        ("a/", "a/"),
        ("__init__.py", None),
    ],
)
def test_a_file_is_a_module_or_not(member: str, module: str | None) -> None:
    assert modules_among([member]) == frozenset(module.split(" ") if module else ())


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


@pytest.fixture
def index(wheels: Path) -> Iterator[SimpleIndex]:
    with SimpleIndex(wheels) as served:
        yield served


def over(index: SimpleIndex) -> WheelLocator:
    return WheelLocator([IndexSettings(Index(index.url))])


@pytest.fixture
def many(wheels: Path) -> LockedWheel:
    """A wheel whose list of files alone is longer than what is asked for first."""
    files = {f"big/m{i:05}.py": "" for i in range(3000)}
    return locked(build_wheel(wheels, "big", files=files, data={}, method=0))


def test_from_the_store_without_a_network(wheels: Path, tmp_path: Path) -> None:
    path = build_wheel(wheels, "bio-python", "1.86", {"Bio/__init__.py": "", "Bio/Seq.py": ""})
    wheel = locked(path)
    store = Store(tmp_path / "cache")
    store.artifacts.mkdir(parents=True)
    store.artifact_path(wheel.sha256).write_bytes(path.read_bytes())
    contents = Contents(tmp_path / "cache", store, None)
    assert contents([wheel]) == {wheel.sha256: frozenset(["Bio", "Bio.Seq"])}


def test_by_ranges_of_the_file_where_the_index_has_it(index: SimpleIndex, many: LockedWheel, tmp_path: Path) -> None:
    contents = Contents(tmp_path / "cache", Store(tmp_path / "cache"), over(index))
    found = contents([many])[many.sha256]
    assert len(found) == 3000
    asked = [r for r in index.asked if r.startswith("GET /files/")]
    assert 1 < len(asked) < 5
    assert not (tmp_path / "cache" / "artifacts").exists()


def test_what_was_read_once_is_kept(index: SimpleIndex, many: LockedWheel, tmp_path: Path) -> None:
    first = Contents(tmp_path / "cache", None, over(index))([many])
    index.asked.clear()
    assert Contents(tmp_path / "cache", None, over(index))([many]) == first
    assert index.asked == []
    (kept,) = (tmp_path / "cache" / "modules").iterdir()
    assert kept.name == f"{many.sha256}.json"
    assert len(json.loads(kept.read_text())["modules"]) == 3000


def test_a_broken_cache_is_none(index: SimpleIndex, many: LockedWheel, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "modules"
    folder.mkdir(parents=True)
    for text in ("{", "[]", '{"schema": 99, "modules": []}', '{"schema": 1}'):
        (folder / f"{many.sha256}.json").write_text(text)
        assert len(Contents(tmp_path / "cache", None, over(index))([many])[many.sha256]) == 3000


def test_an_index_without_ranges_gives_a_small_wheel_whole(
    index: SimpleIndex, many: LockedWheel, tmp_path: Path
) -> None:
    index.ranges = False
    assert len(Contents(tmp_path / "cache", None, over(index))([many])[many.sha256]) == 3000


def test_a_wheel_that_cannot_be_had_is_left_out(index: SimpleIndex, wheels: Path, tmp_path: Path) -> None:
    gone = LockedWheel("gone", "1.0", "gone-1.0-py3-none-any.whl", 100, "0" * 64, 1)
    here = locked(build_wheel(wheels, "here"))
    assert set(Contents(tmp_path / "cache", None, over(index))([gone, here])) == {here.sha256}
    assert Contents(tmp_path / "other", None, None)([gone, here]) == {}


def test_a_file_of_another_size_is_not_the_one_that_was_locked(
    index: SimpleIndex, wheels: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    wheel = locked(build_wheel(wheels, "here"))
    index.hashes = False
    assert Contents(tmp_path / "cache", None, over(index))([replace(wheel, size=wheel.size + 1)]) == {}


def test_a_local_wheel_must_have_the_locked_hash(wheels: Path, tmp_path: Path) -> None:
    path = build_wheel(wheels, "here", files={"here/__init__.py": ""})
    wheel = locked(path)
    assert Contents(tmp_path / "a", None, FileLocator([path]))([wheel]) == {wheel.sha256: frozenset(["here"])}
    path.write_bytes(path.read_bytes() + b"x")
    assert Contents(tmp_path / "b", None, FileLocator([path]))([wheel]) == {}
    assert list(FileLocator([path]).places(Artifact(wheel.sha256, wheel.size, wheel.file, wheel)))


@pytest.mark.parametrize("mutation", ["truncated", "not-a-zip"])
def test_a_wheel_that_is_none_is_left_out(index: SimpleIndex, wheels: Path, tmp_path: Path, mutation: str) -> None:
    wheel = locked(build_wheel(wheels, "bad", mutate=mutation))
    assert Contents(tmp_path / "cache", None, over(index))([wheel]) == {}


def test_what_an_image_answers(wheels: Path, tmp_path: Path) -> None:
    paths = [
        build_wheel(wheels, "google-cloud-storage", files={"google/cloud/storage/__init__.py": ""}),
        build_wheel(wheels, "protobuf", files={"google/protobuf/__init__.py": ""}),
        build_wheel(wheels, "opencv-python", files={"cv2/__init__.py": "", "cv2/cv2.abi3.so": ""}),
    ]
    locks = [locked(p) for p in paths]
    image = ImageModules(locks, Contents(tmp_path / "cache", None, FileLocator(paths)))
    answers = {
        name: (image.find(name).state, [w.name for w in image.find(name).wheels])
        for name in ("cv2", "cv2.cv2", "cv2.gone", "google", "google.cloud.storage", "google.gone", "sklearn")
    }
    assert answers == {
        "cv2": ("found", ["opencv-python"]),
        "cv2.cv2": ("found", ["opencv-python"]),
        "cv2.gone": ("inside", ["opencv-python"]),
        "google": ("namespace", ["google-cloud-storage", "protobuf"]),
        "google.cloud.storage": ("found", ["google-cloud-storage"]),
        "google.gone": ("absent", []),
        "sklearn": ("absent", []),
    }


def test_the_client_is_closed_when_it_is_done(index: SimpleIndex, many: LockedWheel, tmp_path: Path) -> None:
    closed: list[bool] = []

    class Watching(WheelLocator):
        def close(self) -> None:
            closed.append(True)
            super().close()

    Contents(tmp_path / "cache", None, Watching([IndexSettings(Index(index.url))]))([many])
    assert closed == [True]
