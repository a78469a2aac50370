"""uv projects without a uv.lock whose repositories and archives leave to a build backend what they require.

uv is told what their wheels say, and does the rest: what a repository says of where its requirements are from holds.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flyte_build.deriving.nouns import Artifact
from flyte_build.kernel.errors import RefusedError
from flyte_build.locks.lockfile import Lock
from flyte_build.recipe import Recipe
from flyte_build.sources.source_archives import TreeArchives
from flyte_build.sources.uv_wheels import UvWheels
from tests.cli.test_source_trees import git

from ..support.index import SimpleIndex
from ..support.locking import pins, publish
from ..support.uv import asked, image_of, locked, pyproject, scripted, uv_lock
from .test_uv_builds import BACKEND, DYNAMIC, UNTOLD, Builder, committed, sources, toolz

BOTH = pytest.mark.parametrize("text", [UNTOLD, DYNAMIC], ids=["all", "version"])


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal into whose lines an address does not go: what uv says is read all the same."""
    monkeypatch.setenv("COLUMNS", "40")


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "built")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    work = toolz(tmp_path / "work")
    git(work, "init", "--quiet", "--initial-branch=main")
    return work


def versions(lock: Lock) -> dict[str, str]:
    return {name: version for name, (version, _) in pins(lock).items()}


def again(lock: Lock, wanted: Recipe, app: Path) -> dict[str, str]:
    """The archives that another machine makes of what the lock was built of: their SHA-256 by name."""
    out, commits = {}, {str(s.asked): str(s.commit) for s in sources(lock) if s.commit is not None}
    for source in sources(lock):
        trees = TreeArchives.of([wanted], app, commits)
        (place,) = list(trees.places(Artifact(source.sha256, source.size, source.file, source)))
        out[source.name] = hashlib.sha256(Path(urlsplit(place.url).path).read_bytes()).hexdigest()
        trees.close()
    return out


def hashes(lock: Lock) -> dict[str, str]:
    return {source.name: source.sha256 for source in sources(lock)}


@BOTH
def test_an_index_that_a_repository_names(
    app: Path, index: SimpleIndex, ours: SimpleIndex, repository: Path, builder: Builder, text: str
) -> None:
    """It is that of its package, when it is locked and when it is fetched, and nobody else is asked."""
    publish(ours.folder, "b 1.5")
    more = f'[tool.uv.sources]\nb = {{ index = "theirs" }}\n[[tool.uv.index]]\nname = "theirs"\nurl = "{ours.url}"\n'
    (repository / "pyproject.toml").write_text(text + more)
    committed(repository)
    pyproject(app, "toolz", "c", more=f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}" }}\n')
    builder.requires = ["b"]
    index.asked.clear()
    lock = locked(app, index, build=builder)
    assert versions(lock) == {"b": "1.5", "c": "1.0", "toolz": "1.0"}
    assert (asked(index, "b"), asked(index, "toolz")) == ([], [])
    assert ours.host not in lock.text()
    (b,) = (w for w in lock.platforms["linux/amd64"].wheels if w.name == "b")
    wheels = UvWheels({"e": image_of(app)}, {"e": lock}, app)
    place = next(wheels.places(Artifact(b.sha256, b.size, b.file, b)))
    wheels.close()
    assert urlsplit(place.url).netloc == ours.host
    assert asked(index, "b") == []


@BOTH
def test_what_lies_beside_it_in_its_repository(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder, text: str
) -> None:
    """By path and as a member of its workspace; each leaves something to its backend, and may be built again."""
    more = '[tool.uv.workspace]\nmembers = ["parts/*"]\n'
    more += '[tool.uv.sources]\nb = { path = "lib/b" }\nc = { workspace = true }\n'
    (repository / "pyproject.toml").write_text(text + more)
    for folder, name in (("lib/b", "b"), ("parts/c", "c")):
        (repository / folder).mkdir(parents=True)
        (repository / folder / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\ndynamic = ["version", "dependencies"]\n' + BACKEND
        )
    commit = committed(repository)
    wanted = f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}" }}\n'
    pyproject(app, "toolz", more=wanted)
    builder.every = {"toolz": ["b", "c"]}
    index.asked.clear()
    lock = locked(app, index, build=builder)
    assert versions(lock) == {"b": "1.0", "c": "1.0", "toolz": "1.0"}
    assert {(source.name, source.commit) for source in sources(lock)} == {(n, commit) for n in ("b", "c", "toolz")}
    assert index.asked == []
    assert again(lock, image_of(app), app) == hashes(lock)


@pytest.mark.parametrize("named", ["branch", "commit", "short"])
def test_a_repository_that_another_one_names(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder, tmp_path: Path, named: str
) -> None:
    """By a branch, or by its commit. Their addresses begin alike, as git's own configuration would take for one."""
    inner = toolz(Path(f"{repository}-inner"))
    git(inner, "init", "--quiet", "--initial-branch=main")
    (inner / "pyproject.toml").write_text(UNTOLD.replace("toolz", "inner"))
    at = committed(inner)
    rev = {"branch": 'branch = "main"', "commit": f'rev = "{at}"', "short": f'rev = "{at[:9]}"'}[named]
    source = f'[tool.uv.sources]\ninner = {{ git = "{inner.as_uri()}", {rev} }}\n'
    (repository / "pyproject.toml").write_text(UNTOLD + source)
    commit = committed(repository)
    here = {"branch": "", "commit": f', rev = "{commit}"', "short": f', rev = "{commit[:9]}"'}[named]
    pyproject(app, "toolz", more=f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}"{here} }}\n')
    builder.every = {"toolz": ["inner"], "inner": ["b<2"]}
    lock = locked(app, index, build=builder)
    assert versions(lock) == {"b": "1.0", "inner": "1.0", "toolz": "1.0"}
    assert {source.name: source.commit for source in sources(lock)} == {"inner": at, "toolz": commit}
    assert again(lock, image_of(app), app) == hashes(lock)
    assert [len(row) for row in git(repository, "log", "--format=%H").splitlines()] == [40], "it is only read"


def test_its_own_version_is_what_others_are_chosen_by(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder
) -> None:
    """Told that it is 0, uv would find nothing, or what does not fit."""
    (repository / "pyproject.toml").write_text(DYNAMIC)
    committed(repository)
    publish(index.folder, "low 1.0: toolz<1", "low 0.9: toolz", "high 1.0: toolz>=1")
    builder.requires = ["b"]
    source = f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}" }}\n'
    pyproject(app, "toolz", "high", "low", more=source)
    assert versions(locked(app, index, build=builder)) == {"b": "2.0", "high": "1.0", "low": "0.9", "toolz": "1.0"}
    pyproject(app, "toolz", "low", more=source)
    assert versions(locked(app, index, build=builder)) == {"b": "2.0", "low": "0.9", "toolz": "1.0"}


def archived(path: Path, manifest: str = "") -> Path:
    """A source distribution of toolz that says nothing of what it requires."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in {"setup.py": "from setuptools import setup\nsetup()\n", "pyproject.toml": manifest}.items():
            member = tarfile.TarInfo(f"toolz-1.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("named", ["url", "path", "requirement", "script", "repository"])
def test_an_archive_that_says_nothing(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder, tmp_path: Path, named: str
) -> None:
    """Built to know what it requires; what it says of indexes is nothing to uv."""
    elsewhere = (
        '[tool.uv.sources]\nb = { index = "theirs" }\n[[tool.uv.index]]\nname = "theirs"\nurl = "http://x.invalid"\n'
    )
    archive = archived(index.folder / "toolz-1.0.tar.gz", BACKEND + elsewhere)
    url = f"http://{index.host}/files/toolz-1.0.tar.gz"
    wanted: Recipe | None = None
    names = ["toolz"]
    if named == "script":
        wanted = scripted(app, 'dependencies = ["toolz"]', "[tool.uv.sources]", f'toolz = {{ url = "{url}" }}')
    elif named == "requirement":
        pyproject(app, f"toolz @ {url} ; python_version > '3'")
    elif named == "repository":
        source = f'[tool.uv.sources]\ntoolz = {{ url = "{url}" }}\n'
        (repository / "pyproject.toml").write_text(UNTOLD.replace("toolz", "outer") + source)
        committed(repository)
        pyproject(app, "outer", more=f'[tool.uv.sources]\nouter = {{ git = "{repository.as_uri()}" }}\n')
        names = ["outer", "toolz"]
    else:
        place = f'url = "{url}"' if named == "url" else 'path = "../published/toolz-1.0.tar.gz"'
        pyproject(app, "toolz", more=f"[tool.uv.sources]\ntoolz = {{ {place} }}\n")
    with pytest.raises(RefusedError, match="requires only its build backend can tell, and no"):
        locked(app, index, wanted)
    builder.every = {"outer": ["toolz"], "toolz": ["b<2"]}
    index.asked.clear()
    lock = locked(app, index, wanted, build=builder)
    assert versions(lock) == {"b": "1.0", **dict.fromkeys(names, "1.0")}
    (source_of,) = (source for source in sources(lock) if source.name == "toolz")
    assert source_of.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert source_of.asked is not None
    assert [line for line in asked(index, "toolz") if "/files/" not in line] == []
    assert index.host not in lock.text()
    # Another machine gets it from where the project says.
    wanted = wanted or image_of(app)
    commits: Mapping[str, str] = {str(s.asked): str(s.commit) for s in sources(lock) if s.commit is not None}
    trees = TreeArchives.of([wanted], app, commits)
    (found,) = list(trees.places(Artifact(source_of.sha256, source_of.size, source_of.file, source_of)))
    trees.close()
    assert found.url == (archive.as_uri() if named == "path" else url)


def archive_of_toolz(index: SimpleIndex, folder: str, more: str = "") -> str:
    """The address of an archive with a project in ``folder``."""
    with tarfile.open(index.folder / "toolz-1.0.tar.gz", "w:gz") as tar:
        text = f'[project]\nname = "toolz"\nversion = "1.0"\n{more}\n{BACKEND}'
        member = tarfile.TarInfo(f"{folder}/pyproject.toml")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return f"http://{index.host}/files/toolz-1.0.tar.gz"


@pytest.mark.parametrize("lock_first", [True, False])
def test_an_archive_is_had_from_its_address_only(
    app: Path, index: SimpleIndex, builder: Builder, lock_first: bool
) -> None:
    """One that says what it requires, so that uv needs nobody to be told."""
    url = archive_of_toolz(index, "toolz-1.0", 'dependencies = ["b"]')
    pyproject(app, "toolz", more=f'[tool.uv.sources]\ntoolz = {{ url = "{url}" }}\n')
    if lock_first:
        uv_lock(app, index)
    index.asked.clear()
    lock = locked(app, index, build=builder)
    assert versions(lock) == {"b": "2.0", "toolz": "1.0"}
    (source,) = sources(lock)
    trees = TreeArchives.of([image_of(app)], app)
    (place,) = list(trees.places(Artifact(source.sha256, source.size, source.file, source)))
    trees.close()
    assert place.url == url
    assert [line for line in asked(index, "toolz") if "/files/" not in line] == []


def test_a_part_of_an_archive_is_refused(app: Path, index: SimpleIndex, builder: Builder) -> None:
    url = archive_of_toolz(index, "toolz-1.0/part")
    pyproject(app, "toolz", more=f'[tool.uv.sources]\ntoolz = {{ url = "{url}", subdirectory = "part" }}\n')
    with pytest.raises(RefusedError, match=r"the folder `part` of the archive `toolz-1\.0\.tar\.gz`") as e:
        locked(app, index, build=builder)
    assert "name its repository" in str(e.value.hint)
