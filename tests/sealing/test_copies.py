"""What is copied of another tree arrives as BuildKit would copy it; users, mounts and caches of a step."""

from __future__ import annotations

import io
import lzma
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from flyte_build.kernel.errors import SealError
from flyte_build.sealing import Below, Copy, Mount, Secret
from flyte_build.sealing.copying import CannotCopy, changed

from .conftest import Sealed

Tree: TypeAlias = Callable[[Mapping[str, Any]], Below]

TREE = {
    "out": (None, 0o700, 7, 8),
    "out/bin": (None, 0o750, 7, 8),
    "out/bin/run": ("run", 0o755, 7, 8),
    "out/bin/as": ["-> run"],
    "out/away": ["-> /etc/real"],
    "out/twin": ["=> out/bin/run"],
    "etc/real": ("real", 0o600, 5, 5),
    "lib/a.so": ("a", 0o644),
    "lib/b.so": ("b", 0o644),
    "lib/c.txt": ("c", 0o644),
    "named": ["-> /out"],
}


def copied(sealed: Sealed, tree: Tree, *copies: Copy, **more: Any) -> dict[str, str]:
    """Each path of the layer, with what is there: kind, mode, owner, and content or target."""
    step = {"copies": copies, "roots": ((tree(TREE),),)}
    made = sealed(step=step, twice=False, **more)
    found = {}
    with tarfile.open(made.layer) as tar:
        for m in tar:
            reader = tar.extractfile(m) if m.isreg() else None
            what = reader.read().decode() if reader is not None else m.linkname
            kind = "d" if m.isdir() else "f" if m.isreg() else "h" if m.islnk() else "l"
            found[m.name] = f"{kind} {m.mode:o} {m.uid}:{m.gid} {what}".strip()
    return found


def test_a_folder_s_content_with_owners_links_and_modes(sealed: Sealed, tree: Tree) -> None:
    """The folder that is the target itself is a new one, and those below it are as they were."""
    assert copied(sealed, tree, Copy(0, ("/named",), "/opt/x")) == {
        "opt": "d 755 0:0",
        "opt/x": "d 755 0:0",
        "opt/x/away": "l 777 0:0 /etc/real",
        "opt/x/bin": "d 750 7:8",
        "opt/x/bin/as": "l 777 0:0 run",
        "opt/x/bin/run": "f 755 7:8 run",
        "opt/x/twin": "h 755 7:8 opt/x/bin/run",
    }


def test_files_go_into_folders_that_are_there_or_meant(sealed: Sealed, tree: Tree) -> None:
    copies = (
        Copy(0, ("/lib/a.so",), "/tmp"),
        Copy(0, ("/lib/*.so", "/lib/c.tx[st]", "/lib/none*"), "new/"),
        Copy(0, ("/lib/c.txt",), "/srv/other"),
        Copy(0, ("/out/away",), "."),
    )
    found = copied(sealed, tree, *copies, workdir="/root")
    assert {path: what for path, what in found.items() if what[0] == "f"} == {
        "root/away": "f 600 5:5 real",
        "root/new/a.so": "f 644 0:0 a",
        "root/new/b.so": "f 644 0:0 b",
        "root/new/c.txt": "f 644 0:0 c",
        "srv/other": "f 644 0:0 c",
        "tmp/a.so": "f 644 0:0 a",
    }


def test_owners_by_name_and_modes(sealed: Sealed, tree: Tree) -> None:
    copies = (Copy(0, ("/out/bin",), "/a/b", "flyte", "u=rwX,go="), Copy(0, ("/lib/a.so",), "/x", "9:flyte", "4711"))
    below = {"etc/group": b"root:x:0:\nflyte:x:1001:\n"}
    assert copied(sealed, tree, *copies, files=[below]) == {
        "a": "d 755 1000:1000",
        "a/b": "d 755 1000:1000",
        "a/b/as": "l 777 1000:1000 run",
        "a/b/run": "f 700 1000:1000 run",
        "x": "f 4711 9:1001 a",
    }


def test_what_is_there_already(sealed: Sealed, tree: Tree) -> None:
    """Links on the way are followed, one in the target's place is replaced; folders are merged."""
    below = {"way": "srv", "srv/bin/old": b"", "srv/bin/run": b"other", "srv/as": "/etc/passwd"}
    found = copied(sealed, tree, Copy(0, ("/out",), "/way"), Copy(0, ("/lib/c.txt",), "/way/as"), files=[below])
    assert set(found) == {"srv", *(f"srv/{x}" for x in ("as", "away", "bin", "bin/as", "bin/run", "twin"))}
    assert (found["srv/bin"], found["srv/as"]) == ("d 750 7:8", "f 644 0:0 c")


@pytest.mark.parametrize(
    ("copy", "said"),
    [
        (Copy(0, ("/none",), "/x"), "`/none` is not there"),
        (Copy(0, ("/lib/a.so",), "/x", "who"), "the image knows no user `who`"),
        (Copy(0, ("/lib/a.so",), "/x", "0:who"), "the image knows no group `who`"),
        (Copy(0, ("/out",), "/etc/passwd"), "`/etc/passwd` is no folder"),
        (Copy(0, ("/loop/x",), "/x"), "`/loop/x`: its links lead in a circle"),
    ],
)
def test_what_cannot_be_copied_is_said(sealed: Sealed, tree: Tree, copy: Copy, said: str) -> None:
    root = tree({**TREE, "loop": ["-> loop"]})
    with pytest.raises(SealError, match=f"`run it`: {said}"):
        sealed(step={"copies": (copy,), "roots": ((root,),)})


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2", "w"])
def test_an_archive_is_unpacked(sealed: Sealed, tree: Tree, mode: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/f", tarfile.REGTYPE), ("d/l", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.uid, member.gid, member.mode, member.linkname = kind, 3, 4, 0o751, "f"
            tar.addfile(member, io.BytesIO())
    root = tree({"x.tar": out.getvalue(), "plain": lzma.compress(b"no archive")})
    copies = (Copy(0, ("/x.tar",), "/opt", "9", unpack=True), Copy(0, ("/plain",), "/tmp/", unpack=True))
    made = sealed(step={"copies": copies, "roots": ((root,),)})
    assert {path: what.split()[:3] for path, what in made.listing.items() if path != "tmp"} == {
        "opt": ["dir", "0755", "9:9"],
        "opt/d": ["dir", "0751", "3:4"],
        "opt/d/f": ["file", "0751", "3:4"],
        "opt/d/l": ["symlink", "0777", "3:4"],
        "tmp/plain": ["file", "0644", "0:0"],
    }
    assert made.reproducible


def test_a_folder_for_a_user(sealed: Sealed) -> None:
    made = sealed(step={"copies": (Copy(0, (), "a/b", "flyte"),)}, workdir="/tmp")
    assert {path: what.split()[2] for path, what in made.listing.items() if path != "tmp"} == {
        "tmp/a": "1000:1000",
        "tmp/a/b": "1000:1000",
    }


# -- who runs commands, and what they find ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("flyte", "1000 1000 1000,1002 /home/flyte"),
        ("1000", "1000 1000 1000,1002 /home/flyte"),
        ("flyte:staff", "1000 1001 1001 /home/flyte"),
        ("77", "77 0 0 /"),
        ("77:78", "77 78 78 /"),
    ],
)
def test_who_runs_commands(sealed: Sealed, tmp_path: Path, user: str, said: str) -> None:
    groups = b"root:x:0:\nflyte:x:1000:\nstaff:x:1001:\nmore:x:1002:other,flyte\n"
    sealed(
        'set -- $(id -G); IFS=,; echo "$(id -u) $(id -g) $* $HOME"',
        files=[{"etc/group": groups}],
        step={"user": user},
        twice=False,
    )
    assert said in (tmp_path / "log").read_text().splitlines()


def test_nobody(sealed: Sealed) -> None:
    with pytest.raises(SealError, match="`run it`: the image knows no user `who`"):
        sealed("true", step={"user": "who"})


def test_a_user_cannot_write_what_is_root_s(sealed: Sealed) -> None:
    made = sealed("touch /tmp/mine; touch /etc/theirs || true", step={"user": "flyte"})
    assert {path: what.split()[2] for path, what in made.listing.items() if path != "tmp"} == {"tmp/mine": "1000:1000"}


def test_a_cache_is_empty_and_in_no_layer(sealed: Sealed) -> None:
    mounts = (Mount("cache", "/var/new/cache", owner=(1000, 1000)), Mount("tmpfs", "/root"))
    commands = ('test -z "$(ls /var/new/cache)"', "touch /var/new/cache/x /root/y /tmp/z")
    made = sealed(*commands, step={"mounts": mounts})
    assert set(made.listing) - {"tmp"} == {"tmp/z"}
    assert made.reproducible


def test_a_tree_is_there_while_commands_run(sealed: Sealed, tree: Tree) -> None:
    mounts = (
        Mount("bind", "/src", 0, "/named", writable=False),
        Mount("bind", "conf", 0, "/lib/c.txt"),
        Mount("bind", "/more", 0, "/lib", writable=True),
    )
    commands = (
        "cat /src/bin/run conf > /tmp/got",
        "if touch /src/x; then exit 9; fi",
        "echo > /more/new; test -e /more/new",
        "test ! -e /run/.from/0/lib",
    )
    made = sealed(*commands, step={"mounts": mounts, "roots": ((tree(TREE),),)}, workdir="/tmp")
    assert set(made.listing) - {"tmp"} == {"tmp/got"}
    with tarfile.open(made.layer) as tar:
        content = tar.extractfile("tmp/got")
        assert content is not None
        assert content.read() == b"runc"


def test_a_secret_of_a_user(sealed: Sealed) -> None:
    """It is the user's to read, and neither in the layer nor in the log."""
    secret = Secret("token", b"c4n4ry-in-a-mine", path="/run/secrets/token", owner=(1000, 0))
    made = sealed("cat /run/secrets/token && touch /tmp/used", secrets=(secret,), step={"user": "flyte"})
    assert set(made.listing) - {"tmp"} == {"tmp/used"}
    assert b"c4n4ry" not in (made.layer.parent.parent / "log").read_bytes()


@pytest.mark.parametrize(
    ("mode", "said", "folder", "then"),
    [
        (0o640, "", False, 0o640),
        (0o640, "755", True, 0o755),
        (0o640, "+x", False, 0o751),
        (0o640, "u+x,go-r", False, 0o700),
        (0o640, "a=rX", False, 0o444),
        (0o640, "a=rX", True, 0o555),
        (0o777, "o=", False, 0o770),
        (0o755, "u+s,+t", False, 0o5755),
    ],
)
def test_modes_in_words(mode: int, said: str, folder: bool, then: int) -> None:
    assert changed(mode, said, folder=folder) == then


def test_no_mode() -> None:
    with pytest.raises(CannotCopy, match="`u=q` is no mode"):
        changed(0, "u=q", folder=False)


def test_what_is_not_there_to_be_mounted(sealed: Sealed, tree: Tree) -> None:
    mounts = (Mount("bind", "/src", 0, "/none"),)
    with pytest.raises(SealError, match="`run it`: `/none` is not there to be mounted"):
        sealed("true", step={"mounts": mounts, "roots": ((tree(TREE),),)})
