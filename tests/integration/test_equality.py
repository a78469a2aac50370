"""One lock, one digest, whoever builds: the command line, the assembler under three Pythons, Nix and Bazel.

Of every example that is committed, and of images that are generated: synthetic artifacts, so nothing of those is
fetched. The images of the example `gpu` are left out: their wheels are 3 GB. Of the monorepo's forty, those that
need least are taken; that Nix and Bazel group all of their locks as they should is tested without building.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flyte_build.deriving.from_lock import recorded_recipe
from flyte_build.kernel.platforms import host_platform
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.lockfile import read
from flyte_build.locks.nouns import Lock
from flyte_build.recipe import CopyFiles, Platform
from flyte_build.sources.fetching import fetch
from flyte_build.store import Store
from flyte_build.store import layout as oci
from tests.equality.builders import ByHash, write_plan
from tests.equality.images import Image, one_digest
from tests.equality.projects import Project, make
from tests.equality.pythons import Python, of_suite, on_path, three
from tests.equality.shapes import richest
from tests.support.bazel import Bazel, module_text
from tests.support.cli import Cli
from tests.support.nix import Nix, commit, image_digest
from tests.support.tools import need

from .conftest import ENVIRONMENTS, ROOT, Layout

pytestmark = pytest.mark.integration

# Another seed finds other images; this one's were looked at.
SEED, GENERATED = 300, 3
MONOREPO = ("ingest-suppliers", "ingest-weather", "reporting-archive", "scoring-orders-out")
CONFLICT = ("compare_env", "legacy_env", "modern_env")
SUBJECTS = ("af2", "conflict", "monorepo", "generated")
Key = tuple[str, Platform]
Images = Mapping[Key, Image]


@dataclass(frozen=True)
class Subject:
    """A project whose images are compared: where it is, and what each builder calls it.

    ``made`` are the command line's images; ``flake`` is the folder where ``nix build .#NAME`` is run, and ``workspace``
    with ``package`` where Bazel has its targets.
    """

    name: str
    project: Project
    made: Images
    flake: Path
    workspace: str = "/root/flyte-build"
    package: str = ""

    @property
    def locks(self) -> dict[str, Lock]:
        return {lock.environment: lock for lock in self.project.locks}


@pytest.fixture(scope="module")
def mine(cli: Cli, layout: Layout, home: Path) -> Cli:
    """The command line with a store of these tests', which has the artifacts that were fetched already."""
    made = Cli(home / "equality")
    shutil.copytree(cli.cache / "artifacts", made.cache / "artifacts", copy_function=os.link)
    return made


@pytest.fixture(scope="module")
def subjects(mine: Cli, flake: Path, home: Path, ran: Callable[[str, str], None]) -> Mapping[str, Subject]:
    """All projects, built by the command line."""
    gpu = read(ROOT / "examples/gpu/lockfiles", "train_env")
    assert gpu is not None
    ran("gpu", f"left out, its wheels are {sum(w.size for w in gpu.platforms['linux/amd64'].wheels) / 1e9:.1f} GB")
    found = {}
    for name, names in (("af2", ENVIRONMENTS), ("conflict", CONFLICT), ("monorepo", MONOREPO)):
        # A copy: what is built is pinned in the locks, and a test changes nothing in the checkout.
        folder = shutil.copytree(ROOT / "examples" / name, home / "examples" / name)
        if not (folder / "lockfiles").exists():
            shutil.copytree(ROOT / "lockfiles", folder / "lockfiles")
        locks = [lock for each in names if (lock := read(folder / "lockfiles", each)) is not None]
        assert len(locks) == len(names)
        built = by_cli(mine, folder / "main.py", host_platform(), names)
        pinned = {(lock.environment, p): pin.digest for lock in locks for p, pin in lock.pins.items()}
        assert {
            key: image.digest for key, image in built.items() if pinned.get(key, image.digest) != image.digest
        } == {}
        paths = {path.name: path for path in Store(mine.cache).artifacts.iterdir()}
        found[name] = Subject(name, Project(folder, locks, paths), built, flake, package=f"examples/{name}/")
    found["generated"] = generated(mine, home / "generated", flake)
    return found


def generated(cli: Cli, folder: Path, flake: Path) -> Subject:
    """The images of generated locks, whose artifacts are in the store as if they had been fetched."""
    project = make(folder, richest(GENERATED, SEED))
    store = Store(cli.cache)
    fetch(project.artifacts, store, locator=ByHash(project.paths), reporter=Silent())
    built = by_cli(cli, project.main, "all", [lock.environment for lock in project.locks])
    cli.ok("export", "nix", project.main, "--flake", f"git+file://{flake}")
    subprocess.run([need("git"), "init", "-q"], cwd=project.root, check=True)
    commit(project.root)
    return Subject("generated", project, built, project.root, "/root/generated")


def by_cli(cli: Cli, main: Path, platform: str, names: Sequence[str]) -> Images:
    environments = [word for name in names for word in ("--env", name)]
    options = ["--platform", platform, *environments, "--no-check", "--json"]
    images = cli.ok("build", main, "--lockfiles", main.parent / "lockfiles", *options).json()["images"]
    store = Store(cli.cache).oci
    return {(i["environment"], i["platform"]): Image("flyte-build build", i["digest"], store) for i in images}


def agree(subject: Subject, images: Images, but: Collection[Key] = ()) -> None:
    """Each of ``images`` is the command line's, and there is one for each of its images, ``but`` for these."""
    assert sorted([*images, *but]) == sorted(subject.made)
    for key, image in images.items():
        one_digest([subject.made[key], image])


@pytest.fixture(params=SUBJECTS)
def subject(request: pytest.FixtureRequest, subjects: Mapping[str, Subject]) -> Subject:
    return subjects[request.param]


def test_the_generated_images_have_something_of_everything(subjects: Mapping[str, Subject]) -> None:
    """So that they are worth building; a seed whose images are poor is one to change."""
    drawn = richest(GENERATED, SEED)
    kinds = frozenset(kind for shape in drawn for kind in shape.kinds)
    assert {"linux/amd64", "linux/arm64", "3.11", "3.13", "under", "large", "native", CopyFiles} <= kinds
    assert {("flyte", True), ("flyte", False), ("local", True), ("local", False), ("step", 2)} <= kinds
    assert {"sub/link", "ü.txt", "white space", ("deb", "conffile"), ("deb", "library"), ("deb", "postinst")} <= kinds
    assert {key[0] for key in subjects["generated"].made} == {shape.environment for shape in drawn}


# -- the assembler under three Pythons ---------------------------------------------------------------


@pytest.fixture(scope="module")
def pythons(bazel: Bazel) -> list[Python]:
    """Three versions: the one that runs this, and the newest two of those on PATH and all that Debian sid has."""
    here = on_path()
    return three(here | {minor: p for minor, p in of_suite(bazel.machine).items() if minor not in here})


def test_the_assembler_under_three_pythons(
    subject: Subject, pythons: Sequence[Python], home: Path, ran: Callable[[str, str], None]
) -> None:
    """The plan's whole image each time: each generated one under all; of each example one, under another each: they
    are large, and pure Python packs a megabyte in a second."""
    jobs: list[tuple[Python, Key]] = []
    if subject.name == "generated":
        jobs = [(python, key) for key in sorted(subject.made) for python in pythons]
    else:
        jobs = [(pythons[SUBJECTS.index(subject.name) % len(pythons)], min(subject.made))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = list(pool.map(lambda job: assembled(subject, job[0], job[1], home), jobs))
    for (_, key), image in zip(jobs, images, strict=True):
        one_digest([subject.made[key], image])
    for python in dict.fromkeys(python.version for python, _ in jobs):
        ran(subject.name, f"Python {python}")


def assembled(subject: Subject, python: Python, key: Key, home: Path) -> Image:
    """What ``python`` makes of the plan of the image ``key``."""
    folder = python.folder(home) / f"{python.version}-{key[0]}-{key[1].rpartition('/')[2]}"
    plan, _, known = write_plan(subject.project, subject.locks[key[0]], key[1], folder)
    text = Path(plan).read_text()
    # Beside the plan, because a Python in a tree of its own sees nothing outside of it.
    for sha256, path in json.loads(Path(known).read_text()).items():
        if sha256 in text:
            os.link(os.path.realpath(path), folder / sha256)
    digest = python.assemble(Path(plan), folder / "out", folder)
    return Image(f"the assembler under Python {python.version}", digest, folder / "out")


# -- Nix and Bazel -----------------------------------------------------------------------------------


def test_nix(subject: Subject, mine: Cli, nix: Nix, filled: Cli, ran: Callable[[str, str], None]) -> None:
    on_nix = replace(filled, home=mine.home)
    lockfiles = [subject.project.lockfiles / f"{name}.json" for name in subject.locks]
    for lockfile in lockfiles:
        on_nix.ok("nix", "prefetch", lockfile, "--platform", "all" if subject.name == "generated" else host_platform())
    wanted = [f".#{environment}-{platform.rpartition('/')[2]}" for environment, platform in subject.made]
    link = f"result-{subject.name}"
    nix.ok("build", "-L", *wanted, "--out-link", link, cwd=subject.flake)
    # Which link is whose is Nix's to choose; the image's name says it.
    every = [nix.real(path) for path in subject.flake.glob(f"{link}*")]
    images = {name_in(folder): Image("Nix", image_digest(folder), folder, nix.folder) for folder in every}
    agree(subject, {key: images[oci.ref_name(*key)] for key in subject.made})
    version = subprocess.run([need("nix", "nix-bin"), "--version"], capture_output=True, text=True, check=True).stdout
    ran(subject.name, version.replace("nix (Nix)", "Nix").strip())


def name_in(folder: Path) -> str:
    (entry,) = json.loads((folder / "index.json").read_bytes())["manifests"]
    return str(oci.annotation(entry, oci.REF_NAME))


BUILD = """
load("@images//:defs.bzl", "ENVIRONMENTS", "flyte_image")
[flyte_image(name = e, srcs = glob([e + "/**"], allow_empty = True)) for e in ENVIRONMENTS]
"""


@pytest.fixture(scope="module")
def workspaces(bazel: Bazel, mine: Cli, subjects: Mapping[str, Subject]) -> Bazel:
    """Bazel's machine, with the generated project and all artifacts in it."""
    root = bazel.machine.root
    folder = root / "root/generated"
    shutil.copytree(subjects["generated"].project.root, folder, symlinks=True)
    (folder / "MODULE.bazel").write_text(module_text("generated"))
    (folder / "BUILD.bazel").write_text(BUILD)
    (folder / "lockfiles/BUILD.bazel").touch()
    for path in Store(mine.cache).artifacts.iterdir():
        if not (place := root / "store/artifacts/sha256" / path.name).exists():
            os.link(path, place)
    return bazel


def test_bazel(subject: Subject, workspaces: Bazel, ran: Callable[[str, str], None]) -> None:
    every = {key: f"{subject.package}{key[0]}.{key[1].replace('/', '_')}" for key in subject.made}
    linked = {key: target for key, target in every.items() if copies_a_link(subject, key[0])}
    targets = {key: target for key, target in every.items() if key not in linked}
    code, said = build(workspaces, subject, targets.values())
    assert code == 0, said
    images = {key: Image("Bazel", image_digest(folder), folder) for key, folder in found(workspaces, targets)}
    agree(subject, images, but=linked)
    for target in linked.values():
        code, said = build(workspaces, subject, [target])
        assert code != 0
        assert "sub/link is a symbolic link to another copied file" in said, "rather than another image"
    code, out, _ = workspaces.machine.run("bazel --version")
    ran(subject.name, out.strip().capitalize())


def build(bazel: Bazel, subject: Subject, targets: Iterable[str]) -> tuple[int, str]:
    labels = [f"//{package}:{name}" for package, _, name in (t.rpartition("/") for t in targets)]
    code, out, err = bazel(subject.workspace, "build", "--nosandbox_debug", *labels, FLYTE_BUILD_CACHE="/store")
    return code, out + err


def copies_a_link(subject: Subject, environment: str) -> bool:
    steps = recorded_recipe(subject.locks[environment]).steps
    folders = [subject.project.root / s.source for s in steps if isinstance(s, CopyFiles) and s.folder]
    return any(path.is_symlink() for folder in folders for path in folder.rglob("*"))


def found(bazel: Bazel, targets: Mapping[Key, str]) -> Iterator[tuple[Key, Path]]:
    """The layouts of these targets, on this machine's disk."""
    for key, target in targets.items():
        # bazel-bin is a link that is absolute inside the machine.
        paths = bazel.machine.root.glob(f"var/tmp/bazel/*/execroot/_main/bazel-out/*/bin/{target}/index.json")
        yield key, max(paths, key=os.path.getmtime).parent
