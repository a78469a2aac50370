"""Files as a git revision has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.diffing.revisions import at_revision
from flyte_build.kernel.errors import InputError
from tests.support.repository import Repository

pytestmark = pytest.mark.integration


def test_a_file_is_read_from_a_revision_whatever_the_current_folder(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = repository.commit(locks__a="one\n")
    repository.commit(locks__a="zwei → zwölf\n")
    path = repository.folder / "locks/a.json"
    path.write_text("three\n")
    assert at_revision(path, first) == "one\n"
    assert at_revision(path, "HEAD~1") == "one\n"
    assert at_revision(path, "main") == "zwei → zwölf\n"
    assert at_revision(path, "") == "zwei → zwölf\n", "as staged"
    repository.git("add", "-u")
    assert at_revision(path, "") == "three\n"
    monkeypatch.chdir(repository.folder / "locks")
    assert at_revision(Path("a.json"), "HEAD") == "zwei → zwölf\n"
    assert at_revision(Path("../locks/a.json"), "HEAD") == "zwei → zwölf\n"


def test_a_file_whose_folder_is_gone_is_still_in_the_revision(repository: Repository) -> None:
    repository.commit(deep__er__a="one\n")
    path = repository.folder / "deep/er/a.json"
    path.unlink()
    path.parent.rmdir()
    path.parent.parent.rmdir()
    assert at_revision(path, "HEAD") == "one\n"


def test_a_revision_without_the_file_is_none(repository: Repository) -> None:
    repository.commit(other="x")
    assert at_revision(repository.folder / "a.json", "HEAD") is None
    assert at_revision(repository.folder / "nowhere/a.json", "HEAD") is None


def test_a_hooks_environment_does_not_lead_elsewhere(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit(a="one\n")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert at_revision(repository.folder / "a.json", "HEAD") == "one\n"
    assert at_revision(repository.folder / "a.json", "") == "one\n"


def test_what_is_not_there_is_named(repository: Repository, tmp_path: Path) -> None:
    repository.commit(a="x")
    with pytest.raises(InputError, match=f"`main~7`: no such revision in {repository.folder}"):
        at_revision(repository.folder / "a.json", "main~7")
    with pytest.raises(InputError, match="expected a git revision, found an option"):
        at_revision(repository.folder / "a.json", "--output=x")
    with pytest.raises(InputError, match="expected a file in a git repository, found none from"):
        at_revision(tmp_path / "a.json", "HEAD")


def test_a_repository_without_a_commit_has_no_head(repository: Repository) -> None:
    with pytest.raises(InputError, match="no such revision"):
        at_revision(repository.folder / "a.json", "HEAD")


def test_what_is_no_text_is_refused(repository: Repository) -> None:
    (repository.folder / "b.json").write_bytes(b"\xff\xfe")
    repository.git("add", "b.json")
    with pytest.raises(InputError, match="expected UTF-8 text"):
        at_revision(repository.folder / "b.json", "")


def test_without_git_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="git is not installed"):
        at_revision(tmp_path / "a.json", "HEAD")
