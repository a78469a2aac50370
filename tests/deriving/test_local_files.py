"""Local files in an image: the same entries on every machine, at the places where Flyte's builder puts them."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from flyte_build.deriving.derivation import FileEntry, derive
from flyte_build.deriving.local_files import hidden_links, snapshot
from flyte_build.kernel.errors import ArtifactError, LoadError, RefusedError
from flyte_build.kernel.reporting import Silent
from flyte_build.recipe import CopyFiles, Step, WorkDir
from flyte_build.sources.fetching import fetch
from flyte_build.sources.project_files import LocalFiles
from flyte_build.store import Store
from tests.support.recipes import lock_of, recipe_of


def tree(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def entries(root: Path, *steps: Step) -> list[FileEntry]:
    """The entries of the last step."""
    return snapshot(recipe_of(*steps), root)[len(steps) - 1]


def paths(root: Path, *steps: Step) -> list[str]:
    return [e.path for e in entries(root, *steps) if e.sha256 is not None or e.link is not None]


def test_a_folders_contents_go_to_the_destination(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "1", "src/deep/b.py": "2"})
    found = entries(tmp_path, CopyFiles("src", "./src", True))
    one, two = (hashlib.sha256(x).hexdigest() for x in (b"1", b"2"))
    assert found == [
        FileEntry("home/flyte/src", 0o755),
        FileEntry("home/flyte/src/a.py", 0o644, one, 1),
        FileEntry("home/flyte/src/deep", 0o755),
        FileEntry("home/flyte/src/deep/b.py", 0o644, two, 1),
    ]


def test_the_working_directory_in_force_counts(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "1"})
    assert paths(tmp_path, WorkDir("/app"), CopyFiles("src", "code", True)) == ["app/code/a.py"]
    assert paths(tmp_path, WorkDir("/app"), WorkDir("sub"), CopyFiles("src", ".", True)) == ["app/sub/a.py"]
    before = snapshot(recipe_of(CopyFiles("src", "code", True), WorkDir("/app")), tmp_path)[0]
    assert before[-1].path == "home/flyte/code/a.py"


@pytest.mark.parametrize(
    ("destination", "path"),
    [
        (".", "home/flyte/main.py"),
        ("", "home/flyte/main.py"),
        ("sub/", "home/flyte/sub/main.py"),
        ("sub/.", "home/flyte/sub/main.py"),
        ("renamed.py", "home/flyte/renamed.py"),
        ("/etc", "etc/main.py"),
        ("/etc/tool.conf", "etc/tool.conf"),
        ("/", "main.py"),
        ("../x", "home/x"),
        ("/work", "work/main.py"),
        ("/app", "app"),
    ],
)
def test_a_file_goes_into_a_folder_or_becomes_the_destination(tmp_path: Path, destination: str, path: str) -> None:
    tree(tmp_path, **{"main.py": "1"})
    steps: tuple[Step, ...] = (WorkDir("/work"), WorkDir("/home/flyte"), CopyFiles("main.py", destination, False))
    assert paths(tmp_path, *steps) == [path]


def test_a_file_goes_into_a_folder_that_an_earlier_copy_made(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "1", "main.py": "2"})
    assert paths(tmp_path, CopyFiles("src", "/data/src", True), CopyFiles("main.py", "/data/src", False)) == [
        "data/src/main.py"
    ]


@pytest.mark.parametrize(
    ("destination", "folders"),
    [
        (".", []),
        ("/etc/ssl/certs", []),
        ("/usr/share/tool", []),
        ("/opt/venv/lib/x", []),
        ("/opt/tool/x", ["opt/tool", "opt/tool/x"]),
        ("/data", ["data"]),
        ("a/b", ["home/flyte/a", "home/flyte/a/b"]),
    ],
)
def test_the_systems_folders_keep_their_owner(tmp_path: Path, destination: str, folders: list[str]) -> None:
    tree(tmp_path, **{"src/a.py": "1"})
    found = entries(tmp_path, CopyFiles("src", destination, True))
    assert [e.path for e in found if e.sha256 is None] == folders


def test_modes_are_two_whatever_the_umask(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a": "1", "src/b": "2", "src/c": "3"})
    for name, mode in (("a", 0o600), ("b", 0o700), ("c", 0o666)):
        (tmp_path / "src" / name).chmod(mode)
    assert [e.mode for e in entries(tmp_path, CopyFiles("src", ".", True))] == [0o644, 0o755, 0o644]


def test_ignored_files_are_neither_copied_nor_read(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "1", "src/x.log": "2", "src/.venv/lib/big": "3", "src/keep/x.log": "4"})
    (tmp_path / "src/unreadable").symlink_to("/nonexistent")
    step = CopyFiles("src", ".", True, ignore=("**/*.log", ".venv", "unreadable", "!keep/x.log"))
    assert paths(tmp_path, step) == ["home/flyte/a.py", "home/flyte/keep/x.log"]


def test_only_the_files_named_are_copied(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "1", "src/b/c.py": "2", "src/d.py": "3"})
    step = CopyFiles("src", ".", True, files=("b/c.py", "a.py"))
    assert paths(tmp_path, step) == ["home/flyte/a.py", "home/flyte/b/c.py"]
    with pytest.raises(ArtifactError, match="inside the folder"):
        entries(tmp_path, CopyFiles("src", ".", True, files=("../main.py",)))


def test_links_that_stay_inside_stay_links(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/real/a.py": "1"})
    (tmp_path / "src/link.py").symlink_to("real/a.py")
    (tmp_path / "src/folder").symlink_to("real")
    (tmp_path / "src/real/up").symlink_to("../link.py")
    found = {e.path: e.link for e in entries(tmp_path, CopyFiles("src", "/x", True)) if e.link}
    assert found == {"x/link.py": "real/a.py", "x/folder": "real", "x/real/up": "../link.py"}


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_to_a_file_elsewhere_becomes_that_file(tmp_path: Path, absolute: bool) -> None:
    tree(tmp_path, **{"src/a.py": "1", "outside.py": "22"})
    (tmp_path / "src/b.py").symlink_to(tmp_path / "outside.py" if absolute else "../outside.py")
    found = entries(tmp_path, CopyFiles("src", "/x", True))[-1]
    assert found == FileEntry("x/b.py", 0o644, hashlib.sha256(b"22").hexdigest(), 2)


def test_a_link_to_an_ignored_file_becomes_that_file(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.log": "1", "src/z.py": "2"})
    (tmp_path / "src/b").symlink_to("a.log")
    found = {e.path: e for e in entries(tmp_path, CopyFiles("src", "/x", True, ignore=("*.log",)))}
    assert found["x/b"].sha256 == hashlib.sha256(b"1").hexdigest()


@pytest.mark.parametrize(("target", "words"), [("/etc", "outside of what is copied"), ("nowhere", "leads nowhere")])
def test_other_links_are_refused_with_the_way_out(tmp_path: Path, target: str, words: str) -> None:
    tree(tmp_path, **{"src/a.py": "1"})
    (tmp_path / "src/bad").symlink_to(target)
    with pytest.raises(ArtifactError, match=words) as e:
        entries(tmp_path, CopyFiles("src", ".", True))
    assert "src/bad" in e.value.message
    assert ".dockerignore" in str(e.value.hint)


def test_sockets_and_pipes_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "1"})
    os.mkfifo(tmp_path / "src/pipe")
    with pytest.raises(ArtifactError, match="src/pipe: expected a file, found a named pipe"):
        entries(tmp_path, CopyFiles("src", ".", True))
    (tmp_path / "src/pipe").unlink()
    folder = os.getcwd()
    os.chdir(tmp_path / "src")
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind("sock")
    finally:
        os.chdir(folder)
    with pytest.raises(ArtifactError, match="src/sock: expected a file, found a socket"):
        entries(tmp_path, CopyFiles("src", ".", True))


def test_names_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with open(os.fsencode(tmp_path) + b"/src/\xff.py", "wb"):
        pass
    with pytest.raises(ArtifactError, match="UTF-8"):
        entries(tmp_path, CopyFiles("src", ".", True))


def test_a_source_that_is_not_there_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="src: expected a folder to copy into the image, found nothing"):
        entries(tmp_path, CopyFiles("src", ".", True))
    with pytest.raises(LoadError, match="a file"):
        entries(tmp_path, CopyFiles("main.py", ".", False))
    (tmp_path / "src/empty").mkdir(parents=True)
    with pytest.raises(LoadError, match="found none"):
        entries(tmp_path, CopyFiles("src", ".", True))


def test_variables_in_a_destination_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, **{"main.py": "1"})
    with pytest.raises(RefusedError, match=r"\$HOME/x"):
        entries(tmp_path, CopyFiles("main.py", "$HOME/x", False))


def test_the_derivation_does_not_depend_on_times_or_order(tmp_path: Path) -> None:
    recipe = recipe_of(CopyFiles("src", ".", True))
    hashes = set()
    for name, order in (("one", "abc"), ("two", "cba")):
        for letter in order:
            tree(tmp_path / name, **{f"src/{letter}.py": letter})
        os.utime(tmp_path / name / "src/a.py", (1, 1))
        hashes.add(derive(lock_of(recipe), recipe, "linux/amd64", snapshot(recipe, tmp_path / name)).hash)
    assert len(hashes) == 1
    tree(tmp_path / "two", **{"src/a.py": "changed"})
    hashes.add(derive(lock_of(recipe), recipe, "linux/amd64", snapshot(recipe, tmp_path / "two")).hash)
    assert len(hashes) == 2


def test_planned_files_are_found_again_and_stored(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "print(1)", "src/b/c.py": "print(2)"})
    recipe = recipe_of(CopyFiles("src", ".", True))
    image = derive(lock_of(recipe), recipe, "linux/amd64", snapshot(recipe, tmp_path))
    files = image.layers[-1].artifacts
    store = Store(tmp_path / "store")
    found = fetch(files, store, locator=LocalFiles([recipe], tmp_path), reporter=Silent())
    assert sorted(p.read_text() for p in found.values()) == ["print(1)", "print(2)"]


def test_a_file_that_changed_after_planning_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, **{"src/a.py": "print(1)"})
    recipe = recipe_of(CopyFiles("src", ".", True))
    image = derive(lock_of(recipe), recipe, "linux/amd64", snapshot(recipe, tmp_path))
    tree(tmp_path, **{"src/a.py": "print(23)"})
    with pytest.raises(ArtifactError, match=r"home/flyte/a\.py: no local file has the SHA-256"):
        fetch(
            image.layers[-1].artifacts, Store(tmp_path / "s"), locator=LocalFiles([recipe], tmp_path), reporter=Silent()
        )


def test_files_in_the_place_of_links_are_found(tmp_path: Path) -> None:
    """As Bazel lays out an action's inputs: everything is a link, to where it really is."""
    real = tmp_path / "real"
    (real / "data/sub").mkdir(parents=True)
    (real / "data/a.txt").write_text("a")
    (real / "data/sub/link").symlink_to("../a.txt")
    (real / "elsewhere.txt").write_text("e")
    (real / "data/outside").symlink_to("../elsewhere.txt")
    shown = tmp_path / "shown"
    for name in ("data/a.txt", "data/sub/link", "data/outside"):
        (shown / name).parent.mkdir(parents=True, exist_ok=True)
        (shown / name).symlink_to(real / name)
    recipe = recipe_of(CopyFiles("data", "/x", True))
    assert hidden_links(recipe, 0, shown) == [shown / "data/sub/link"]
    assert hidden_links(recipe, 1, shown) == []
    (shown / "data/sub/link").unlink()
    assert hidden_links(recipe, 0, shown) == []
