"""Archives of repositories and folders: the same bytes for the same content, and nothing of the repository is run."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, RefusedError
from flyte_build.sources.source_trees import archive_of_commit, archive_of_folder
from tests.cli.test_source_trees import git


def contents(archive: Path) -> dict[str, tuple[int, bytes]]:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == sorted(m.name for m in members)
        assert {(m.uid, m.gid, m.mtime) for m in members} == {(0, 0, 0)}
        return {m.name: (m.mode, f.read()) for m in members if (f := tar.extractfile(m)) is not None}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg/run.sh").write_text("#!/bin/sh\n")
    (folder / "pkg/run.sh").chmod(0o755)
    (folder / "pkg/link.sh").symlink_to("run.sh")
    (folder / "a.txt").write_text("one\n")
    (folder / ".gitattributes").write_text("a.txt filter=evil export-ignore\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=one", "--date=2026-01-01T00:00:00Z")
    git(folder, "tag", "v1.0")
    return folder


def test_the_same_bytes_at_every_name_of_a_commit(repository: Path, tmp_path: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    digests = set()
    for number, rev in enumerate((commit, commit[:10], "v1.0", "main", None)):
        out = tmp_path / f"{number}.tar"
        assert archive_of_commit(repository.as_uri(), rev, None, out, "top") == commit
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1
    found = contents(tmp_path / "0.tar")
    assert found["top/a.txt"] == (0o644, b"one\n")
    assert found["top/pkg/run.sh"] == (0o755, b"#!/bin/sh\n")
    assert found["top/pkg/link.sh"][1] == b"#!/bin/sh\n"
    assert found["top/.git_archival.txt"][1].decode().splitlines()[::2] == [f"node: {commit}", "describe-name: v1.0"]


def test_a_folder_of_a_repository(repository: Path, tmp_path: Path) -> None:
    archive_of_commit(repository.as_uri(), "main", "pkg", tmp_path / "a.tar", "top")
    assert sorted(contents(tmp_path / "a.tar")) == ["top/.git_archival.txt", "top/link.sh", "top/run.sh"]
    with pytest.raises(FetchError, match="has no folder `nowhere`"):
        archive_of_commit(repository.as_uri(), "main", "nowhere", tmp_path / "b.tar", "top")


def test_what_a_commit_cannot_say(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="there is no revision `nope`"):
        archive_of_commit(repository.as_uri(), "nope", None, tmp_path / "a.tar", "top")
    # A revision that looks like an option is none.
    with pytest.raises(FetchError):
        archive_of_commit(repository.as_uri(), "--output=/tmp/x", None, tmp_path / "a.tar", "top")
    row = f"160000,{git(repository, 'rev-parse', 'HEAD')},module"
    git(repository, "update-index", "--add", "--cacheinfo", row)
    git(repository, "commit", "--quiet", "--message=module")
    with pytest.raises(RefusedError, match="`module` is a submodule"):
        archive_of_commit(repository.as_uri(), "main", None, tmp_path / "a.tar", "top")


def module_of(folder: Path, url: str, path: str, commit: str) -> None:
    """A submodule, as `git submodule add` leaves it."""
    (folder / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = {path}\n\turl = {url}\n')
    git(folder, "add", ".gitmodules")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    git(folder, "commit", "--quiet", "--message=module")


def test_submodules_at_the_commits_that_the_tree_names(repository: Path, tmp_path: Path) -> None:
    inner, deeper = tmp_path / "inner", tmp_path / "deeper"
    for folder, text in ((inner, "inner\n"), (deeper, "deeper\n")):
        folder.mkdir()
        (folder / "b.txt").write_text(text)
        git(folder, "init", "--quiet", "--initial-branch=main")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "--message=one")
    module_of(inner, "../deeper", "deep", git(deeper, "rev-parse", "HEAD"))
    module_of(repository, inner.as_uri(), "vendor/inner", git(inner, "rev-parse", "HEAD"))
    # What the branches of a submodule have by now does not count.
    (inner / "b.txt").write_text("newer\n")
    git(inner, "commit", "--quiet", "--all", "--message=two")
    archive_of_commit(repository.as_uri(), "main", None, tmp_path / "a.tar", "top")
    found = contents(tmp_path / "a.tar")
    assert found["top/vendor/inner/b.txt"] == (0o644, b"inner\n")
    assert found["top/vendor/inner/deep/b.txt"] == (0o644, b"deeper\n")
    assert "top/vendor/inner/.git_archival.txt" not in found
    archive_of_commit(repository.as_uri(), "main", "vendor", tmp_path / "b.tar", "top")
    assert contents(tmp_path / "b.tar")["top/inner/b.txt"] == (0o644, b"inner\n")


@pytest.mark.parametrize("url", ["ext::sh -c evil", "--upload-pack=evil", "/etc", ""])
def test_a_submodule_names_nothing_of_this_machine(repository: Path, tmp_path: Path, url: str) -> None:
    module_of(repository, url, "module", git(repository, "rev-parse", "HEAD"))
    with pytest.raises(RefusedError, match="`module` is a submodule; expected an address of https"):
        archive_of_commit(repository.as_uri(), "main", None, tmp_path / "a.tar", "top")


def test_relative_addresses_of_submodules() -> None:
    from flyte_build.sources.source_trees import _relative

    assert _relative("https://u:p@git.example/our/tool.git", "../lib.git") == "https://u:p@git.example/our/lib.git"
    assert _relative("https://git.example/our/tool", "./lib") == "https://git.example/our/tool/lib"
    assert _relative("git@git.example:our/tool", "../../x/lib") == "git@git.example:x/lib"


def test_credentials_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        archive_of_commit("file://user:secret@localhost/nowhere.git", None, None, tmp_path / "a.tar", "top")
    assert "secret" not in f"{caught.value.message} {caught.value.detail}"


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f/src").mkdir(parents=True)
    (tmp_path / "f/src/a.py").write_text("x = 1\n")
    (tmp_path / "f/setup.py").write_text("")
    archive_of_folder(tmp_path / "f", tmp_path / "a.tar", "top")
    subprocess.run(["touch", "-d", "2001-01-01", tmp_path / "f/setup.py"], check=True)
    archive_of_folder(tmp_path / "f", tmp_path / "b.tar", "top")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert contents(tmp_path / "a.tar") == {"top/setup.py": (0o644, b""), "top/src/a.py": (0o644, b"x = 1\n")}
