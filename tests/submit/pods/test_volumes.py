"""Volumes as folders and memory, and what is said of those that come from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.pods.given import Given, Shelf
from flyte_build.submit.pods.volumes import Seen, Volumes
from flyte_build.submit.sandbox.spec import Tmpfs

from .test_values import FACTS

GIVEN = Given(Shelf({}, {"conf": {"mode": "fast", "level": "1"}}), {"API_KEY": "k3y"})


class Tried:
    """One container's view of one volume, and what was said."""

    def __init__(self, folder: Path, volume: dict[str, Any], *mounts: dict[str, Any], users: int = 1) -> None:
        container = {"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/v", **m} for m in mounts or ({},)]}
        pod = {"volumes": [{"name": "v", **volume}], "containers": [container] * users}
        self.said: list[str] = []
        self.scratch = folder
        self.seen: Seen = Volumes(pod, folder, FACTS, GIVEN, self.said.append).seen_by(container, {"PART": "a"})


def test_an_empty_folder_is_everyones_to_write(tmp_path: Path) -> None:
    tried = Tried(tmp_path, {"emptyDir": {}}, {}, {"mountPath": "/w", "subPathExpr": "$(PART)/b", "readOnly": True})
    whole, part = tried.seen.mounts
    assert (whole.target, whole.writable, part.target, part.writable) == ("/v", True, "/w", False)
    assert whole.source.stat().st_mode & 0o777 == part.source.stat().st_mode & 0o777 == 0o777
    assert part.source == whole.source / "a/b"
    assert whole.source.parent == tmp_path
    assert tried.said == []


def test_memory_of_one_container_is_memory(tmp_path: Path) -> None:
    tried = Tried(tmp_path, {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})
    assert tried.seen.memory == [Tmpfs("/v", 64 << 20, 1 << 20)]
    assert tried.said == []


def test_memory_of_several_containers_is_on_disk_and_said(tmp_path: Path) -> None:
    tried = Tried(tmp_path, {"emptyDir": {"medium": "Memory"}}, users=2)
    assert [m.target for m in tried.seen.mounts] == ["/v"]
    assert tried.said == ["an emptyDir in memory that several containers mount is on disk here"]


@pytest.mark.parametrize("kind", ["hostPath", "persistentVolumeClaim", "nfs", "csi", "ephemeral"])
def test_what_comes_from_elsewhere_is_an_empty_folder_and_said(tmp_path: Path, kind: str) -> None:
    tried = Tried(tmp_path, {kind: {"path": "/etc", "claimName": "c"}})
    (mount,) = tried.seen.mounts
    assert list(mount.source.iterdir()) == []
    assert tried.said == [f"{kind} volumes are empty folders here"]


def test_a_config_is_files(tmp_path: Path) -> None:
    (mount,) = Tried(tmp_path, {"configMap": {"name": "conf"}}).seen.mounts
    assert {p.name: p.read_text() for p in mount.source.iterdir()} == {"mode": "fast", "level": "1"}
    assert not mount.writable


def test_one_file_of_a_config_may_be_mounted(tmp_path: Path) -> None:
    items = {"name": "conf", "items": [{"key": "mode", "path": "deep/it"}]}
    (mount,) = Tried(tmp_path, {"configMap": items}, {"mountPath": "/etc/it", "subPath": "deep/it"}).seen.mounts
    assert mount.source.read_text() == "fast"
    assert mount.target == "/etc/it"


def test_a_secret_is_on_no_disk(tmp_path: Path) -> None:
    sources = [
        {"secret": {"name": "api", "items": [{"key": "key", "path": "own.key"}]}},
        {"configMap": {"name": "conf"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    tried = Tried(tmp_path, {"projected": {"sources": sources}})
    assert tried.seen.files == {
        "/v/own.key": "k3y",
        "/v/mode": "fast",
        "/v/level": "1",
        "/v/labels": 'run="r"\nteam="x"',
    }
    assert [t.target for t in tried.seen.memory] == ["/v"]
    assert list(tmp_path.iterdir()) == []
    assert tried.said == ["serviceAccountToken in a projected volume has no meaning here"]


@pytest.mark.parametrize(
    ("volume", "mount", "says"),
    [
        ({"emptyDir": {}}, {"name": "w"}, "there is no such volume"),
        ({"emptyDir": {}}, {"mountPath": "/"}, "which is no place"),
        ({"emptyDir": {}}, {"subPath": "../out"}, "expected a path inside of it"),
        ({"emptyDir": {"medium": "Memory", "sizeLimit": "much"}}, {}, "expected a quantity"),
        ({"configMap": {"name": "gone"}}, {}, "the ConfigMap gone, which is not here"),
        ({"configMap": {"name": "conf", "items": [{"key": "x", "path": "x"}]}}, {}, "key x of the ConfigMap conf"),
        ({"configMap": {"name": "conf", "items": [{"key": "mode", "path": "../x"}]}}, {}, "found ../x"),
        ({"secret": {"secretName": "api"}}, {}, "whose keys are not known here"),
        (
            {"secret": {"secretName": "api", "items": [{"key": "key", "path": "k"}]}},
            {"subPath": "k"},
            "mounted whole",
        ),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, volume: dict[str, Any], mount: dict[str, Any], says: str) -> None:
    with pytest.raises(Unplaceable, match=says):
        Tried(tmp_path, volume, mount)
