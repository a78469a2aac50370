"""Packages become one tree: merged /usr, no conflicts, nothing that images do not need."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from flyte_build.assemble.debian import Tree, debian_entries, merge, open_debs, place, read
from flyte_build.assemble.entries import Entry
from flyte_build.assemble.errors import AssembleError
from tests.support.debs import Directory, Hardlink, Symlink, build_deb


def spec_of(paths: Sequence[Path]) -> tuple[dict[str, object], dict[str, str]]:
    """A layer's spec naming the packages, and where each lies."""
    rows, where = [], {}
    for path in paths:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append({"file": path.name, "sha256": sha256})
        where[sha256] = str(path)
    return {"kind": "debian", "debs": rows}, where


def layer(tmp_path: Path, *paths: Path) -> dict[str, Entry]:
    spec, where = spec_of(paths)
    entries = debian_entries(spec, where.__getitem__, tmp_path)
    assert [e.path for e in entries] == sorted({e.path for e in entries})
    return {e.path: e for e in entries}


def test_everything_below_usr(tmp_path: Path) -> None:
    files = {
        "bin/sh": Symlink("dash"),
        "bin/dash": (0o755, b"dash"),
        "sbin/ldconfig": (0o755, b"ld"),
        "lib/x86_64-linux-gnu/libc.so.6": b"c",
        "lib64/ld.so": Symlink("/lib/x86_64-linux-gnu/ld.so"),
        "libexec/kept": b"",
        "var/run/tool/pid": b"1",
        "var/lock": Directory(0o1777),
    }
    found = layer(tmp_path, build_deb(tmp_path, "base", "1", files))
    assert list(found) == [
        "libexec",
        "libexec/kept",
        "run",
        "run/lock",
        "run/tool",
        "run/tool/pid",
        "usr",
        "usr/bin",
        "usr/bin/dash",
        "usr/bin/sh",
        "usr/lib",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib64",
        "usr/lib64/ld.so",
        "usr/sbin",
        "usr/sbin/ldconfig",
        "var",
    ]
    assert found["usr/bin/sh"].link == "dash"
    assert found["run/lock"].mode == 0o1777
    assert found["libexec/kept"].content == ()
    assert read(found["usr/bin/dash"].content) == b"dash"


def test_a_package_that_ships_the_links_itself(tmp_path: Path) -> None:
    good = build_deb(tmp_path, "base-files", "1", {"bin": Symlink("usr/bin"), "lib": Symlink("/usr/lib"), "usr/x": b""})
    assert list(layer(tmp_path, good)) == ["usr", "usr/x"]
    bad = build_deb(tmp_path, "base-files", "2", {"bin": Symlink("elsewhere")})
    with pytest.raises(AssembleError, match="`bin` leads to elsewhere, expected /usr/bin"):
        layer(tmp_path, bad)


def test_modes_and_owners_are_kept(tmp_path: Path) -> None:
    files = {"usr/bin/su": (0o4755, b"su"), "var/mail": Directory(0o2775), "etc/shadow": (0o640, b"s")}
    owners = {"var/mail": (0, 8), "etc/shadow": (0, 42)}
    found = layer(tmp_path, build_deb(tmp_path, "a", "1", files, owners=owners))
    assert found["usr/bin/su"].mode == 0o4755
    assert (found["var/mail"].mode, found["var/mail"].gid) == (0o2775, 8)
    assert (found["etc/shadow"].mode, found["etc/shadow"].gid) == (0o640, 42)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("usr/share/man/man1/a.1.gz", False),
        ("usr/share/info/a.info.gz", False),
        ("usr/share/locale/de/LC_MESSAGES/a.mo", False),
        ("usr/share/lintian/overrides/a", False),
        ("usr/share/bug/a/script", False),
        ("usr/share/doc-base/a", False),
        ("usr/share/doc/a/README", False),
        ("usr/share/doc/a/changelog.Debian.gz", False),
        ("usr/share/doc/a/copyright", True),
        ("usr/share/doc/a/NOTICE.gz", True),
        ("usr/share/doc/a/sub/LICENSE.txt", True),
        ("usr/share/common-licenses/GPL-3", True),
        ("usr/share/manuals/a", True),
        ("usr/share/mime/a", True),
    ],
)
def test_what_images_need(tmp_path: Path, path: str, kept: bool) -> None:
    found = layer(tmp_path, build_deb(tmp_path, "a", "1", {path: b"x"}))
    assert (path in found) is kept
    if not kept:
        assert not any(e.startswith(("usr/share/man", "usr/share/doc/a")) for e in found)


def test_a_link_from_one_doc_folder_to_another_stays(tmp_path: Path) -> None:
    found = layer(tmp_path, build_deb(tmp_path, "a", "1", {"usr/share/doc/a": Symlink("b")}))
    assert found["usr/share/doc/a"].link == "b"


def test_hard_links_have_the_first_name_as_their_file(tmp_path: Path) -> None:
    files = {"usr/bin/z": (0o755, b"tool"), "usr/bin/m": Hardlink("usr/bin/z"), "bin/a": Hardlink("usr/bin/m")}
    found = layer(tmp_path, build_deb(tmp_path, "a", "1", files))
    kinds = {path: (e.kind, e.link) for path, e in found.items() if e.kind != "dir"}
    assert kinds == {
        "usr/bin/a": ("file", ""),
        "usr/bin/m": ("hardlink", "usr/bin/a"),
        "usr/bin/z": ("hardlink", "usr/bin/a"),
    }
    assert read(found["usr/bin/a"].content) == b"tool"
    assert found["usr/bin/a"].mode == 0o755


def test_a_hard_link_to_a_file_left_out_gets_the_content(tmp_path: Path) -> None:
    files = {"usr/share/doc/a/big": b"content", "usr/lib/a/big": Hardlink("usr/share/doc/a/big")}
    found = layer(tmp_path, build_deb(tmp_path, "a", "1", files))
    assert found["usr/lib/a/big"].kind == "file"
    assert read(found["usr/lib/a/big"].content) == b"content"


def test_a_hard_link_to_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        AssembleError, match=r"a_1_amd64\.deb: `usr/a` is a hard link to `usr/b`, which is no file before it"
    ):
        layer(tmp_path, build_deb(tmp_path, "a", "1", {"usr/a": Hardlink("usr/b")}))


def test_two_packages_with_one_path(tmp_path: Path) -> None:
    one = build_deb(tmp_path, "one", "1", {"usr/x": b"same", "usr/l": Symlink("x"), "usr/d": Directory()})
    two = build_deb(tmp_path, "two", "1", {"usr/x": b"same", "usr/l": Symlink("x"), "usr/d": Directory()})
    assert list(layer(tmp_path, one, two)) == ["usr", "usr/d", "usr/l", "usr/x"]


@pytest.mark.parametrize(
    "other", [b"differ", (0o755, b"same"), Symlink("y"), Directory(), b"same, but longer"], ids=lambda f: str(f)[:20]
)
def test_two_packages_that_conflict(tmp_path: Path, other) -> None:
    one = build_deb(tmp_path, "one", "1", {"bin/x": b"same"})
    two = build_deb(tmp_path, "two", "1", {"usr/bin/x": other})
    with pytest.raises(AssembleError, match=r"^two_1_amd64\.deb: `usr/bin/x` is a .* in one_1_amd64\.deb"):
        layer(tmp_path, one, two)


def test_a_path_below_another_packages_link(tmp_path: Path) -> None:
    one = build_deb(tmp_path, "one", "1", {"usr/x": Symlink("/etc")})
    two = build_deb(tmp_path, "two", "1", {"usr/x/passwd": b"root::0:0"}, parents=False)
    with pytest.raises(
        AssembleError, match=r"two_1_amd64\.deb: `usr/x/passwd` lies below `usr/x`, a link to /etc of one"
    ):
        layer(tmp_path, one, two)


def test_the_same_path_twice_in_one_package(tmp_path: Path) -> None:
    with pytest.raises(AssembleError, match="`usr/bin/x` is there twice"):
        layer(tmp_path, build_deb(tmp_path, "one", "1", {"bin/x": b"1", "usr/bin/x": b"1"}))


def test_a_package_that_asks_for_a_special_folder_gets_it(tmp_path: Path) -> None:
    special = build_deb(tmp_path, "zz", "1", {"var/tmp": Directory(0o1777)})
    plain = build_deb(tmp_path, "aa", "1", {"var/tmp": Directory()})
    for order in ([special, plain], [plain, special]):
        assert layer(tmp_path, *order)["var/tmp"].mode == 0o1777


def test_the_order_of_the_packages_does_not_matter(tmp_path: Path) -> None:
    debs = [build_deb(tmp_path, name, "1", {f"usr/{name}": name.encode(), "usr/x": b"x"}) for name in "abc"]
    shown = [[(p, e.kind, e.mode, read(e.content)) for p, e in layer(tmp_path, *o).items()] for o in (debs, debs[::-1])]
    assert shown[0] == shown[1]


def test_of_several_bad_packages_the_first_is_named(tmp_path: Path) -> None:
    """They are opened side by side, the largest first: which is met first is chance, what is said is not."""
    paths = []
    for name, size in (("good", 1), ("bad", 10), ("worse", 200_000)):
        path = build_deb(tmp_path, name, "1", {"usr/x": bytes(size)})
        if name != "good":
            path.write_bytes(path.read_bytes()[:-30])
        paths.append(path)
    spec, where = spec_of(paths)
    for _ in range(20):
        with pytest.raises(AssembleError) as caught:
            open_debs(spec, where.__getitem__, tmp_path)
        assert caught.value.artifact == paths[1].name


def test_one_package_in_two_versions(tmp_path: Path) -> None:
    debs = [build_deb(tmp_path, "a", version, {}) for version in ("1", "2")]
    with pytest.raises(AssembleError, match=r"a_2_amd64\.deb: a is there twice: 1 and 2"):
        layer(tmp_path, *debs)


def test_following_links_in_a_tree(tmp_path: Path) -> None:
    files = {
        "etc/alternatives/x": Symlink("/bin/real"),
        "usr/bin/x": Symlink("/etc/alternatives/x"),
        "bin/real": b"program",
        "usr/lib/loop": Symlink("loop"),
        "usr/lib/dir": Symlink("../bin"),
        "usr/bin/zreal": Hardlink("bin/real"),
    }
    spec, where = spec_of([build_deb(tmp_path, "a", "1", files)])
    tree = merge(open_debs(spec, where.__getitem__, tmp_path))
    assert tree.real("/bin/x") == "usr/bin/real"
    assert tree.real("usr/lib/dir/x") == "usr/bin/real"
    assert tree.real("usr/lib/loop") is None
    assert tree.real("nowhere") is None
    for path in ("usr/bin/x", "/bin/zreal"):
        entry = tree.file(path)
        assert entry is not None
        assert read(entry.content) == b"program"
    assert tree.file("usr/bin") is None
    assert Tree().real("x") is None


def test_place() -> None:
    assert [place(p) for p in ("bin", "bin/x", "binary", "lib64/x", "usr/bin", "var/run/x", "var/running")] == [
        "usr/bin",
        "usr/bin/x",
        "binary",
        "usr/lib64/x",
        "usr/bin",
        "run/x",
        "var/running",
    ]
