"""Places for mounts in roots that have none; nothing here is mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.submit.kubernetes.errors import Unplaceable
from flyte_build.submit.pods.places import with_places
from flyte_build.submit.sandbox.spec import Mount, Sandbox, Tmpfs


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    root = tmp_path / "image"
    for name in ("etc", "usr/bin", "var/lib", "tmp", "proc", "dev", "run", "data"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text("small")
    (root / "usr/large").write_bytes(b"0" * (1 << 19))
    (root / "bin").symlink_to("usr/bin")
    (tmp_path / "tmp").mkdir()
    return Sandbox(root, "/usr/bin/python3", (Mount(tmp_path / "tmp", "/tmp", writable=True),))


def own(tmp_path: Path, name: str, target: str, *, writable: bool = True) -> Mount:
    source = tmp_path / name
    source.mkdir(exist_ok=True)
    return Mount(source, target, writable)


def scratch(tmp_path: Path) -> Path:
    found = tmp_path / "scratch"
    found.mkdir()
    return found


def test_a_place_that_is_there_needs_nothing(box: Sandbox, tmp_path: Path) -> None:
    mount = own(tmp_path, "v", "/data")
    made = with_places(box, scratch(tmp_path), (mount,))
    assert made.root == box.root
    assert made.mounts == (*box.mounts, mount)


def test_a_root_without_the_place_is_shown_in_a_new_one(box: Sandbox, tmp_path: Path) -> None:
    mount, folder = own(tmp_path, "v", "/var/lib/new/deep"), scratch(tmp_path)
    made = with_places(box, folder, (mount,))
    assert made.root == folder / "root"
    assert (made.root / "var/lib/new/deep").is_dir()
    assert (made.root / "bin").readlink() == Path("usr/bin")
    shown = {m.target: m.source for m in made.mounts}
    assert shown == {
        "/etc": box.root / "etc",
        "/usr": box.root / "usr",
        "/data": box.root / "data",
        "/tmp": tmp_path / "tmp",
        "/var/lib/new/deep": mount.source,
    }
    assert not (box.root / "var/lib/new").exists()


def test_files_beside_the_way_are_copied_or_shown(box: Sandbox, tmp_path: Path) -> None:
    made = with_places(box, scratch(tmp_path), (own(tmp_path, "a", "/etc/own"), own(tmp_path, "b", "/usr/share")))
    assert (made.root / "etc/passwd").read_text() == "small"
    assert Mount(box.root / "usr/large", "/usr/large") in made.mounts
    assert Mount(box.root / "usr/bin", "/usr/bin") in made.mounts


def test_a_link_of_the_image_is_followed_inside_of_it(box: Sandbox, tmp_path: Path) -> None:
    (box.root / "out").symlink_to("/etc")
    made = with_places(box, scratch(tmp_path), (own(tmp_path, "v", "/out"),))
    assert made.mounts[-1].target == "/etc"


def test_a_volume_takes_the_place_of_a_fresh_folder(box: Sandbox, tmp_path: Path) -> None:
    mount = own(tmp_path, "v", "/tmp")
    assert with_places(box, scratch(tmp_path), (mount,)).mounts == (mount,)


def test_a_place_in_a_fresh_folder_is_made_there(box: Sandbox, tmp_path: Path) -> None:
    box = with_places(
        Sandbox(box.root, "", box.mounts, late=(Tmpfs("/tmp/secret"),)),
        scratch(tmp_path),
        (own(tmp_path, "v", "/tmp/volume"),),
    )
    assert sorted(p.name for p in (tmp_path / "tmp").iterdir()) == ["secret", "volume"]
    assert box.late == (Tmpfs("/tmp/secret"),)


def test_a_place_in_what_is_read_only_is_refused(box: Sandbox, tmp_path: Path) -> None:
    outer = own(tmp_path, "outer", "/data", writable=False)
    with pytest.raises(Unplaceable, match="mounts at /data/in, in /data, which is read-only"):
        with_places(box, scratch(tmp_path), (outer, own(tmp_path, "inner", "/data/in")))
