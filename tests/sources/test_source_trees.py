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
