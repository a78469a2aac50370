"""What a uv.lock names that has no wheel: built of the commit, archive or folder that it names, and of no other.

The builds themselves are a stand-in's: what it is given is what counts.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.deriving.nouns import Artifact
from flyte_build.kernel.errors import FetchError, RefusedError
from flyte_build.locking.pypi.question import NoSolution
from flyte_build.locking.pypi.sources import Built, ToBuild
from flyte_build.locks.builds import LockedBuild, LockedSource
from flyte_build.locks.lockfile import Lock, read
from flyte_build.locks.nouns import LockedPlatform
from flyte_build.recipe import Recipe
from flyte_build.sources.source_archives import TreeArchives
from tests.cli.test_source_trees import git
from tests.support.layers import sha256
from tests.support.wheels import build_wheel

from ..support.index import SimpleIndex
from ..support.locking import HOST_PLATFORM, HOST_PYTHON, pins, project, recipe
from ..support.uv import asked, image_of, locked, pyproject, scripted, uv_lock

BACKEND = '[build-system]\nrequires = ["hatchling"]\n'


class Builder:
    """Makes a wheel of each source that it is given, and notes it. ``every``: what those require that are named."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.requires = folder, list[ToBuild](), list[str]()
        self.every = dict[str, list[str]]()

    def __call__(self, recipe: Recipe, part: LockedPlatform, one: ToBuild, tools: Callable[[], object]) -> Built:
        self.asked.append(one)
        if one.file.url.startswith("file:"):
            path = Path(unquote(urlsplit(one.file.url).path))
            assert one.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        folder = self.folder / str(len(self.asked))
        folder.mkdir(parents=True)
        wheel = build_wheel(folder, one.name, "1.0", requires=self.every.get(one.name, self.requires))
        origin = (one.origin.asked, one.origin.commit) if one.origin is not None else (None, None)
        source = LockedSource(
            one.name, one.version, one.file.name, one.file.size or 0, one.file.sha256 or "0" * 64, *origin
        )
        return Built(wheel, LockedBuild(sha256(wheel), source, (), True))


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "built")


def sources(lock: Lock) -> list[LockedSource]:
    return [build.source for build in lock.platforms["linux/amd64"].builds]


def toolz(folder: Path) -> Path:
    """A project with code of its own, whose metadata nothing has to be run for."""
    pyproject(folder, "b", name="toolz", more=BACKEND)
    (folder / "toolz.py").write_text("x = 1\n")
    return folder


def test_a_folder(app: Path, index: SimpleIndex, tmp_path: Path, builder: Builder) -> None:
    folder = toolz(tmp_path / "toolz")
    pyproject(app, "toolz", more='[tool.uv.sources]\ntoolz = { path = "../toolz" }\n')
    uv_lock(app, index)
    index.asked.clear()
    before = image_of(app)
    lock = locked(app, index, build=builder)
    assert pins(lock)["toolz"] == ("1.0", 1)
    assert pins(lock)["b"] == ("2.0", 1)
    (source,) = sources(lock)
    assert (source.name, source.file, source.commit) == ("toolz", "toolz.tar", None)
    assert asked(index, "toolz") == []
    assert read(app / "lockfiles", "e") == lock
    assert recorded_recipe(lock).fingerprint == before.fingerprint
    # Its code is in the image, so a change of it makes the lock stale.
    (folder / "toolz.py").write_text("x = 2\n")
    assert not lock.answers(image_of(app))
    # Another machine makes the archive again of what the uv.lock says.
    (folder / "toolz.py").write_text("x = 1\n")
    archive = Artifact(source.sha256, source.size, source.file, source)
    trees = TreeArchives.of([before], app)
    (place,) = list(trees.places(archive))
    assert hashlib.sha256(Path(urlsplit(place.url).path).read_bytes()).hexdigest() == source.sha256
    trees.close()


def test_a_repository_at_the_commit_of_the_lock(
    app: Path, index: SimpleIndex, tmp_path: Path, builder: Builder
) -> None:
    work = toolz(tmp_path / "work")
    git(work, "init", "--quiet", "--initial-branch=main")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message=one")
    commit = git(work, "rev-parse", "HEAD")
    pyproject(app, "toolz", more=f'[tool.uv.sources]\ntoolz = {{ git = "{work.as_uri()}", branch = "main" }}\n')
    uv_lock(app, index)
    (work / "toolz.py").write_text("x = 2\n")
    git(work, "commit", "--quiet", "--all", "--message=two")
    lock = locked(app, index, build=builder)
    (source,) = sources(lock)
    assert source.commit == commit
    # Another machine makes the archive again, of that commit.
    trees = TreeArchives.of([image_of(app)], app)
    (place,) = list(trees.places(Artifact(source.sha256, source.size, source.file, source)))
    with tarfile.open(urlsplit(place.url).path) as tar:
        member = tar.extractfile("toolz/toolz.py")
        assert member is not None
        assert member.read() == b"x = 1\n"
    trees.close()
    assert work.as_uri() not in lock.text()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project in a repository, at a branch."""
    work = toolz(tmp_path / "work")
    git(work, "init", "--quiet", "--initial-branch=main")
    committed(work)
    return work


def committed(work: Path) -> str:
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message=one")
    return git(work, "rev-parse", "HEAD")


NAMED = pytest.mark.parametrize("named", ["source", "requirement", "script"])


@NAMED
def test_a_repository_that_no_lock_holds_is_at_the_commit_that_uv_found(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder, named: str
) -> None:
    source = f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}", branch = "main" }}\n'
    if named == "script":
        wanted = scripted(app, 'dependencies = ["toolz"]', *source.splitlines())
    elif named == "source":
        pyproject(app, "toolz", more=source)
        wanted = image_of(app)
    else:
        pyproject(app, f"toolz @ git+{repository.as_uri()}@main")
        wanted = image_of(app)
    commit = git(repository, "rev-parse", "HEAD")
    index.asked.clear()
    lock = locked(app, index, wanted, build=builder)
    assert {name: version for name, (version, _) in pins(lock).items()} == {"b": "2.0", "toolz": "1.0"}
    (source_of,) = sources(lock)
    assert source_of.commit == commit
    assert asked(index, "toolz") == []
    assert repository.as_uri() not in lock.text()
    assert not list(app.glob("*.lock"))
    # Whoever lacks the wheel makes the archive again, of that commit.
    (repository / "toolz.py").write_text("x = 2\n")
    committed(repository)
    trees = TreeArchives.of([wanted], app)
    (place,) = list(trees.places(Artifact(source_of.sha256, source_of.size, source_of.file, source_of)))
    assert hashlib.sha256(Path(urlsplit(place.url).path).read_bytes()).hexdigest() == source_of.sha256
    trees.close()


DYNAMIC = '[project]\nname = "toolz"\ndynamic = ["version"]\ndependencies = ["b"]\n' + BACKEND


def test_a_repository_whose_version_only_its_backend_tells(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder
) -> None:
    more = "optional-dependencies = { more = [\"c; python_version > '3'\"] }\n[build-system]"
    (repository / "pyproject.toml").write_text(DYNAMIC.replace("[build-system]", more))
    commit = committed(repository)
    pyproject(app, "toolz[more]", more=f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}" }}\n')
    builder.requires = ["b", "c ; python_version > '3' and extra == 'more'"]
    lock = locked(app, index, build=builder)
    assert {name: version for name, (version, _) in pins(lock).items()} == {"b": "2.0", "c": "1.0", "toolz": "1.0"}
    assert [source.commit for source in sources(lock)] == [commit]


UNTOLD = DYNAMIC.replace('"version"]\ndependencies = ["b"]', '"version", "dependencies"]')


@pytest.mark.parametrize("text", [UNTOLD, ""])
def test_a_repository_that_leaves_all_to_its_backend(
    app: Path, index: SimpleIndex, repository: Path, builder: Builder, text: str
) -> None:
    """It is built once, and its wheel tells what it requires; without anything to build it, nobody guesses."""
    (repository / "pyproject.toml").write_text(text)
    if not text:
        (repository / "pyproject.toml").unlink()
        (repository / "setup.py").write_text("from setuptools import setup\nsetup()\n")
    commit = committed(repository)
    pyproject(app, "toolz[more]", more=f'[tool.uv.sources]\ntoolz = {{ git = "{repository.as_uri()}" }}\n')
    with pytest.raises(RefusedError, match="what toolz requires only its build backend can tell"):
        locked(app, index)
    builder.requires = ["b<2", "c ; python_version > '3' and extra == 'more'"]
    lock = locked(app, index, build=builder)
    assert {name: version for name, (version, _) in pins(lock).items()} == {"b": "1.0", "c": "1.0", "toolz": "1.0"}
    assert [source.commit for source in sources(lock)] == [commit]
    assert len({one.target for one in builder.asked}) == len(builder.asked), "once a platform"


def test_what_no_index_has_a_wheel_of_is_built_where_no_lock_says_it(
    app: Path, index: SimpleIndex, builder: Builder
) -> None:
    for version in ("0.9", "1.0", "2.0"):
        (index.folder / f"delta-{version}.tar.gz").write_bytes(b"a source distribution")
    pyproject(app, "delta<2", "c")
    with pytest.raises(NoSolution, match="uv finds no versions that fit together") as e:
        locked(app, index)
    assert "run `uv lock`" in str(e.value.hint)
    lock = locked(app, index, build=builder)
    assert pins(lock) == {"c": ("1.0", 1), "delta": ("1.0", 1)}
    (source,) = sources(lock)
    assert (source.name, source.file, source.asked) == ("delta", "delta-1.0.tar.gz", None)
    assert [one.name for one in builder.asked] == ["delta"]
    assert not (app / "uv.lock").exists()


def _without_wheel(app: Path, index: SimpleIndex, digest: str) -> None:
    pyproject(app, "c")
    lock = uv_lock(app, index)
    sdist = f'sdist = {{ url = "http://{index.host}/files/c-1.0.tar.gz", hash = "sha256:{digest}" }}\n'
    lock.write_text(re.sub(r"wheels = \[.*?^\]\n", sdist, lock.read_text(), flags=re.DOTALL | re.MULTILINE))


def test_a_source_distribution_by_its_hash(app: Path, index: SimpleIndex, builder: Builder) -> None:
    data = b"a source distribution"
    _without_wheel(app, index, hashlib.sha256(data).hexdigest())
    (index.folder / "c-1.0.tar.gz").write_bytes(data)
    lock = locked(app, index, build=builder)
    (source,) = sources(lock)
    assert (source.name, source.version, source.file, source.asked) == ("c", "1.0", "c-1.0.tar.gz", None)
    assert pins(lock) == {"c": ("1.0", 1)}


def test_another_source_distribution_is_not_built(app: Path, index: SimpleIndex, builder: Builder) -> None:
    _without_wheel(app, index, "0" * 64)
    (index.folder / "c-1.0.tar.gz").write_bytes(b"another one")
    with pytest.raises(FetchError, match=r"c-1\.0\.tar\.gz: expected SHA-256 0{64}, found"):
        locked(app, index, build=builder)
    assert builder.asked == []


def test_the_project_itself_and_what_it_edits(app: Path, index: SimpleIndex, tmp_path: Path, builder: Builder) -> None:
    toolz(tmp_path / "toolz")
    sibling = '[tool.uv.sources]\ntoolz = { path = "../toolz", editable = true }\n'
    pyproject(app, "toolz", "c", more=BACKEND + sibling)
    (app / "app.py").write_text("x = 1\n")
    with pytest.raises(RefusedError, match=r"builds the project: it has no uv\.lock"):
        image_of(app, project_install_mode="install_project")
    uv_lock(app, index)
    assert "toolz" not in pins(locked(app, index, build=builder))
    wanted = image_of(app, project_install_mode="install_project")
    lock = locked(app, index, wanted, build=builder)
    assert {name: version for name, (version, _) in pins(lock).items()} == {
        "app": "1.0",
        "b": "2.0",
        "c": "1.0",
        "toolz": "1.0",
    }
    assert [source.name for source in sources(lock)] == ["app", "toolz"]
    (app / "app.py").write_text("x = 2\n")
    assert not lock.answers(image_of(app, project_install_mode="install_project"))


def test_the_other_resolver_is_given_wheels_of_sources_too(app: Path, index: SimpleIndex, builder: Builder) -> None:
    (index.folder / "delta-1.0.tar.gz").write_bytes(b"a source distribution")
    wanted = recipe("delta c", python=HOST_PYTHON, platforms=(HOST_PLATFORM,))
    report = project({"e": wanted}, app / "lockfiles", index, resolver="pip-tools", build=builder)
    lock = report.locks["e"]
    assert pins(lock, HOST_PLATFORM) == {"c": ("1.0", 1), "delta": ("1.0", 1)}
    (build,) = lock.platforms[HOST_PLATFORM].builds
    assert build.source.file == "delta-1.0.tar.gz"
