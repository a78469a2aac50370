"""A source distribution → its wheel, in a sandbox over an image that has its Python and what the build requires.

The image is that of the environment which asked, less its Python packages; the build's requirements are in its virtual
environment, and nowhere else. There is no network. The wheel is kept among the artifacts under its hash. Used when a
project is locked, and when a build lacks a wheel that a lock says was built.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..deriving.derivation import derive
from ..deriving.nouns import Artifact, ImageDerivation, LayerDerivation
from ..kernel.errors import ArtifactError, SealError
from ..kernel.layer_tar import BadLayer, LayerTar, most_inflated
from ..kernel.quantities import duration, size
from ..locks.builds import LockedBuild, LockedSource, Required
from ..locks.nouns import Lock, LockedDeb, LockedPlatform, LockedWheel
from ..recipe import PipInstall, Platform, Recipe
from ..sources.places import Locator
from ..store import Session
from .sealed import Sealer
from .step_logs import log_of

if TYPE_CHECKING:
    from ..sealing import Outcome

__all__ = ["Made", "WheelMaker", "build_system", "supply_wheels"]

# PEP 517, "Source trees": of those that say nothing.
_LEGACY, _LEGACY_REQUIRES = "setuptools.build_meta:__legacy__", ("setuptools>=40.8.0",)
_ROUNDS = 4
_OUT = "build/out"
_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Made:
    """``wheel``: its artifact; ``file``: the name that it has; ``record`` for the lock."""

    wheel: Path
    file: str
    record: LockedBuild


@dataclass(frozen=True, slots=True)
class _Ran:
    """One run of the script: what it asks for, or the wheels that it made, as files of a session."""

    outcome: Outcome
    asked: tuple[str, ...]
    wheels: tuple[tuple[str, str, int], ...]
    log: Path


@dataclass(frozen=True, slots=True)
class WheelMaker:
    """``sealer`` says where layers and artifacts come from; its network, places and bases are not used."""

    sealer: Sealer

    def make(
        self,
        environment: str,
        recipe: Recipe,
        part: LockedPlatform,
        platform: Platform,
        source: LockedSource,
        resolve: Callable[[Sequence[str]], tuple[LockedWheel, ...]],
        tools: Sequence[LockedDeb] = (),
        *,
        twice: bool = True,
    ) -> Made:
        """Build ``source``, whose file is among the artifacts. ``resolve`` gives the wheels of requirements (PEP 508);
        ``tools`` are Debian packages that are there besides those of ``part``.

        Raises :class:`SealError` where the build fails, and what building the image below raises.
        """
        archive = self.sealer.store.sound(source.sha256, source.size, source.file)
        assert archive is not None, "the caller has fetched it"
        backend, path, requirements = build_system(archive, source.file)
        over = _Over(environment, recipe, replace(part, debs=(*part.debs, *tools)), platform)
        for _ in range(_ROUNDS):
            requires = resolve(requirements)
            told = {"archive": f"/build/{source.file}", "backend": backend, "path": path}
            ran = self._run(over, source, archive, requires, told, twice)
            if not ran.asked:
                break
            requirements = (*requirements, *ran.asked)
        if len(ran.wheels) != 1:
            raise SealError(f"{source.file}: its build made {len(ran.wheels)} wheels, expected one: see {ran.log}")
        file, sha256, length = ran.wheels[0]
        used = tuple(Required(w.name, w.version, w.file, w.size, w.sha256) for w in requires)
        same = f"{_OUT}/{file}" not in ran.outcome.differs
        self.sealer.reporter.note(
            f"{environment}: built {file} of {source.file}: {duration(ran.outcome.seconds)}, {size(length)}; its "
            f"output is in {ran.log}"
        )
        if twice and not same:
            self.sealer.reporter.warn(
                f"{environment}: {file} is not reproducible: another build of {source.file} made other bytes. The "
                "first is locked: keep it in a cache, a registry or a bundle"
            )
        return Made(
            self.sealer.store.artifact_path(sha256),
            file,
            LockedBuild(sha256, source, used, twice and same, bool(tools)),
        )

    def _run(
        self,
        base: _Over,
        source: LockedSource,
        archive: Path,
        requires: Sequence[LockedWheel],
        told: Mapping[str, Any],
        twice: bool,
    ) -> _Ran:
        from ..sealing import Below, Limits, Step, seal

        image, sealer = base.image(requires, self.sealer)
        rows = cast("list[str]", cast("dict[str, Any]", image.spec["config"])["Env"])
        variables = {name: value for name, _, value in (row.partition("=") for row in rows)}
        stop = threading.Event()
        with sealer.store.session(stop.is_set) as session:
            layers = sealer.realised(image, session, stop)
            given, folder = session.temporary("given"), session.temporary("seal")
            diff_id = _given(given, archive, source.file, told)
            log = log_of(source.name, -1, f"sha256:{source.sha256}")
            step = Step(
                f"build {source.file}", ("python /build/run.py",), variables, "/", "none", platform=image.platform
            )
            try:
                over = [*layers, Below(given, diff_id, passing=True)]
                limits = sealer.limits or Limits()
                outcome = seal(
                    step, over, folder, log, sealer.reporter, twice=twice, limits=limits, stages=sealer.stages
                )
                asked, wheels = _outputs(outcome.layer, session)
                session.sync()
                return _Ran(outcome, asked, wheels, log)
            except SealError as e:
                more = "what it needs besides (a compiler, headers) has to be in the image: `with_apt_packages`"
                raise SealError(e.message, hint=f"{more}; {e.hint}" if e.hint else more, detail=e.detail) from None
            finally:
                shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Over:
    """What a build lies on: the environment's image less its Python packages and steps."""

    environment: str
    recipe: Recipe
    part: LockedPlatform
    platform: Platform

    def image(self, requires: Sequence[LockedWheel], sealer: Sealer) -> tuple[ImageDerivation, Sealer]:
        """It with ``requires`` in its virtual environment, and who can make it."""
        from ..sources.locators import project_locator
        from .repositories import base_repositories

        step = PipInstall(tuple(wheel.name for wheel in requires))
        bare = Recipe(self.recipe.base, (self.platform,), self.recipe.python, None, (step,))
        wheels = tuple(replace(w, step=1) for w in requires)
        held = replace(self.part, wheels=wheels, seals=(), builds=(), tools=())
        lock = Lock(self.environment, bare.to_json(), "", "", None, {self.platform: held})
        image, locks = derive(lock, bare, self.platform), {self.environment: lock}

        def locator() -> Locator:
            return project_locator({self.environment: bare}, locks, sealer.root, store=sealer.store)

        return image, replace(sealer, locator=locator, bases=base_repositories([image], locks))


def _given(out: Path, archive: Path, file: str, told: Mapping[str, Any]) -> str:
    """A layer with the source, the script and what it is told, as a tar; its diff_id."""
    from ..sealing.build_wheel import __file__ as script

    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in (("run.py", Path(script).read_bytes()), ("told.json", json.dumps(told).encode())):
            member = tarfile.TarInfo(f"build/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        member = tarfile.TarInfo(f"build/{file}")
        member.size = archive.stat().st_size
        with open(archive, "rb") as f:
            tar.addfile(member, f)
    with open(out, "rb") as f:
        return f"sha256:{hashlib.file_digest(f, 'sha256').hexdigest()}"


def _outputs(layer: Path, session: Session) -> tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]:
    """What the script asks for, and its wheels, which become artifacts: name, SHA-256, bytes. The tar is ours; the
    names in it are a stranger's, and no path is made of them."""
    asked: tuple[str, ...] = ()
    wheels = []
    with tarfile.open(layer) as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            content = tar.extractfile(member) if folder == _OUT and member.isreg() else None
            if content is None:
                continue
            if name == "requires.json":
                asked = tuple(map(str, json.loads(content.read(_TEXT))))
            elif name.endswith(".whl"):
                temporary, found, length = session.written("wheel", iter(partial(content.read, _TEXT), b""))
                session.put_artifact(temporary, found)
                wheels.append((name, found, length))
    return asked, tuple(wheels)


def build_system(archive: Path, file: str) -> tuple[str, list[str], tuple[str, ...]]:
    """``[build-system]`` of an archive's pyproject.toml (PEP 518, PEP 517): backend, its path, requirements.

    Raises :class:`ArtifactError` for what is no source distribution.
    """
    try:
        text = _pyproject(archive)
        document = tomllib.loads(text) if text is not None else {}
        found = document.get("build-system", {})
        requires = tuple(map(str, found.get("requires", _LEGACY_REQUIRES)))
        return str(found.get("build-backend", _LEGACY)), list(map(str, found.get("backend-path", ()))), requires
    except (BadLayer, zipfile.BadZipFile, ValueError, AttributeError, TypeError, OSError) as e:
        raise ArtifactError(
            f"{file}: expected a source distribution (PEP 625): {e}", hint="ask for another version of it"
        ) from None


def _pyproject(archive: Path) -> str | None:
    """The text of ``NAME-VERSION/pyproject.toml``; ``None`` where there is none."""
    with open(archive, "rb") as raw:
        if raw.read(2) == b"PK":
            with zipfile.ZipFile(raw) as held:
                names = [n for n in held.namelist() if n.count("/") == 1 and n.endswith("/pyproject.toml")]
                if not names:
                    return None
                with held.open(names[0]) as content:
                    return content.read(_TEXT).decode()
        raw.seek(0)
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        tar = LayerTar(raw, compressed=compressed, limit=most_inflated(archive.stat().st_size))
        for _, path, found in tar.members():
            if found is not None and path.count("/") == 1 and path.endswith("/pyproject.toml"):
                return found.read(_TEXT).decode()
    return None


def supply_wheels(
    images: Iterable[ImageDerivation], recipes: Mapping[str, Recipe], locks: Mapping[str, Lock], sealer: Sealer
) -> None:
    """Build the wheels again that ``images`` need, that were built for their locks, and that are not here.

    Raises :class:`SealError` where another wheel comes out.
    """
    for image in images:
        part = locks[image.environment].platforms[image.platform]
        built = {build.wheel: build for build in part.builds}
        layers = [x for x in image.layers if built.keys() & {a.sha256 for a in x.artifacts} and not _had(x, sealer)]
        for artifact in {a.sha256: a for layer in layers for a in layer.artifacts}.values():
            if artifact.sha256 in built and sealer.store.artifact(artifact.sha256, artifact.size) is None:
                build = built[artifact.sha256]
                on = locks[image.environment].platforms.get(build.platform or image.platform, part)
                _again(image, artifact.file, build, recipes[image.environment], on, sealer)


def _had(layer: LayerDerivation, sealer: Sealer) -> bool:
    held = sealer.store.layer(layer.hash) is not None
    return held or (sealer.remote is not None and layer.hash in sealer.remote.layers([layer]))


def _again(
    image: ImageDerivation, file: str, build: LockedBuild, recipe: Recipe, part: LockedPlatform, sealer: Sealer
) -> None:
    from ..sources.fetching import fetch
    from ..sources.source_archives import SourceArchives, TreeArchives

    source = build.source
    sealer.reporter.note(f"{image.environment}: {file} is not here, and is built again of {source.file}")
    built = (b.source for b in part.builds)
    commits = {s.asked: s.commit for s in built if s.asked is not None and s.commit is not None}
    asked = (
        SourceArchives.of([recipe], sealer.root)
        if source.asked is None
        else TreeArchives.of([recipe], sealer.root, commits)
    )
    artifact = Artifact(source.sha256, source.size, source.file, source)
    fetch([artifact], sealer.store, locator=asked, reporter=sealer.reporter)
    requires = tuple(LockedWheel(w.name, w.version, w.file, w.size, w.sha256, 1) for w in build.requires)
    platform = cast(Platform, build.platform or image.platform)
    tools = part.tools if build.native else ()
    maker = WheelMaker(sealer)
    made = maker.make(image.environment, recipe, part, platform, source, lambda _: requires, tools, twice=False)
    if made.record.wheel != build.wheel:
        was = "" if build.reproducible else ", and it was not reproducible when it was locked"
        raise SealError(
            f"{image.environment}: {source.file} became another wheel than was locked{was}:\n"
            f"  expected {build.wheel}\n  found    {made.record.wheel}",
            hint=f"get {file} from a cache or a bundle, or lock again",
        )
