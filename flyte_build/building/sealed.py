"""Sealed steps, joined with what is below them: the layers are realised, the step is run over them, its layer is kept.

Used when a project is locked (:class:`Sealer` gives the seal), and when a build lacks a sealed layer that nobody has
(:func:`supply` makes it again, and takes it only if it is the one that was sealed). Decides neither what is run nor
whether a seal is stale.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..deriving.derivation import derive, stage_of, taken_by
from ..deriving.local_files import snapshot
from ..deriving.nouns import Copied, FileEntry, ImageDerivation, LayerDerivation
from ..deriving.sealed import Question, question
from ..kernel.canonical import Json
from ..kernel.errors import SealError
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock, LockedDeb, LockedPlatform, LockedSeal
from ..locks.seals import CONFIGURED
from ..recipe import Recipe, RunCommands
from ..settings import Settings
from ..sources.lent import value_of
from ..sources.places import Locator
from ..store import Session, Store
from .configuring import controls, given
from .step_logs import log_of

if TYPE_CHECKING:
    from ..assemble.deb import Control
    from ..remote.cache import RemoteCache
    from ..sealing import Below, Limits, Outcome, Stages
    from ..sealing.nouns import Network, Step

__all__ = ["Sealer", "keeping", "limits_of", "ready", "supply"]


@dataclass(frozen=True, slots=True)
class Sealer:
    """How steps are run for one project. ``root``: the project's folder, whose index settings are lent to steps;
    ``locator`` makes one for the layers below; ``remote``, ``bases``: as :func:`flyte_build.building.building.build`
    has them. ``network``: what steps may reach. ``stages`` keeps what lies below steps for the next ones. ``limits``:
    what each may take of this machine (:func:`limits_of`)."""

    store: Store
    root: Path
    locator: Callable[[], Locator]
    reporter: Reporter
    remote: RemoteCache | None
    bases: Mapping[str, str]
    network: Network
    jobs: int | None = None
    stages: Stages | None = None
    limits: Limits | None = None

    def seal(
        self,
        below: ImageDerivation,
        asked: Question,
        index: int,
        *,
        twice: bool = True,
        part: LockedPlatform | None = None,
    ) -> tuple[LockedSeal, Outcome, Path]:
        """Run the step over ``below`` and keep its layer among the artifacts: its seal, what came of it, and its log.

        ``part``: whose packages are configured, where that is the step.

        Raises what sealing raises, and what building the layers below does.
        """
        from ..sealing import Below, Limits, modules_of, seal, sketch

        stop = threading.Event()
        with self.store.session(stop.is_set) as session:
            layers = self.realised(below, session, stop)
            log = log_of(below.environment, index, asked.on)
            folder = session.temporary("seal")
            if part is not None:
                lent = session.temporary("given")
                layers.append(Below(lent, given(lent, part, self._controls), passing=True))
            step, config = replace(self._step(asked, part is not None), platform=below.platform), dict[str, Json]()
            if asked.step.delegation is not None:
                step = replace(step, network="host", made=self._elsewhere(asked, below, folder, log, step, config))
            elif asked.taken:
                roots = (tuple(self.realised(image, session, threading.Event())) for image in asked.taken)
                step = replace(step, roots=tuple(roots))
            try:
                limits = self.limits or Limits()
                outcome = seal(step, layers, folder, log, self.reporter, twice=twice, limits=limits, stages=self.stages)
                sealed = LockedSeal(
                    index, asked.on, outcome.network, outcome.digest, outcome.size, outcome.diff_id,
                    outcome.reproducible, sketch(outcome.listing), modules_of(outcome.listing, asked.environment),
                    config or None,
                )  # fmt: skip
                session.put_artifact(outcome.layer, sealed.sha256)
                session.sync()
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return sealed, outcome, log

    def realised(self, image: ImageDerivation, session: Session, stop: threading.Event) -> list[Below]:
        """The layers of ``image`` on this machine's disk, lowest first."""
        from ..remote.available import Elsewhere
        from ..sealing import Below
        from .assembly import Assembly, at_once

        elsewhere = Elsewhere(session, self.remote, self.bases, self.reporter, stop)
        known = elsewhere.pulled([image])
        made = Assembly(session, self.locator(), self.reporter, stop).run([image], at_once(self.jobs), known)
        results = [made[layer.hash][0] for layer in image.layers]
        return [Below(self.store.blob_path(result.digest), result.diff_id) for result in results]

    def _elsewhere(
        self, asked: Question, below: ImageDerivation, folder: Path, log: Path, step: Step, config: dict[str, Json]
    ) -> Callable[[int], Sequence[Below]]:
        """What has another builder build the image; ``config`` becomes its configuration."""
        from .delegating import Order, build, builder

        whole = asked.step.delegation
        assert whole is not None
        base = [str(layer.spec["diff_id"]) for layer in below.layers if layer.kind == "base"]
        secrets = {secret.name: secret.value for secret in step.secrets}
        file = self.root / whole.file
        order = Order(file, below.platform, asked.images, base, secrets, whole.why or f"{whole.file}", whole.other)
        self.reporter.note(f"{whole.why or whole.file}: {builder(order)} builds the image, which is sealed")

        def made(number: int) -> Sequence[Below]:
            found = build(order, folder / f"elsewhere-{number}", log)
            config.update(config or found.config)
            return found.layers

        return made

    def _controls(self, debs: Iterable[LockedDeb]) -> list[tuple[LockedDeb, Control]]:
        return controls(debs, self.store, self.locator(), self.reporter)

    def _step(self, asked: Question, closed: bool) -> Step:
        from ..sealing.nouns import Copy, Mount, Secret, Step

        said = asked.step
        secrets = tuple(
            Secret(
                s.name, value_of(s, "a sealed step"), s.env, s.path, 0o400 if s.mode is None else s.mode,
                s.owner or (0, 0),
            )
            for s in said.secrets
        )  # fmt: skip
        network: Network = "none" if closed or said.offline or not said.commands else self.network
        lent = _indexes(self.root) if network != "none" else {}
        mounts = (Mount(m.kind, m.target, m.stage, m.source, m.writable, m.mode, m.owner) for m in said.mounts)
        copies = (Copy(c.stage, c.sources, c.destination, c.chown, c.chmod, c.unpack) for c in said.copies)
        return Step(
            asked.title, said.commands, asked.environment, asked.workdir, network, secrets, lent, said.user or "",
            tuple(mounts), tuple(copies),
        )  # fmt: skip


def limits_of(settings: Settings) -> Limits:
    """What steps may take of this machine, as a project's settings have it."""
    from ..sealing import Limits

    return Limits(settings.seal_memory, settings.seal_minutes * 60.0)


@contextmanager
def keeping(store: Store) -> Iterator[Stages]:
    """Stages in the store's temporary folder, for the steps of the block: what they lie on is unpacked once."""
    from ..sealing import Stages

    with ExitStack() as stack:

        def place() -> Path:
            # Opened when there is a step, and swept with all that a killed process leaves.
            return stack.enter_context(store.session()).temporary("stage")

        with Stages(place) as stages:
            yield stages


def _indexes(root: Path) -> dict[str, str]:
    """pip's and uv's own words for the package index that this machine is configured for."""
    from ..sources.indexes import configured

    found = configured(root)
    if found.origin == "the tools' default" or found.default is None:
        return {}
    extra = " ".join(index.url for index in found.extra)
    lent = {"PIP_INDEX_URL": found.default.url, "UV_DEFAULT_INDEX": found.default.url}
    return lent | ({"PIP_EXTRA_INDEX_URL": extra, "UV_INDEX": extra} if extra else {})


# -- a layer that nobody has -----------------------------------------------------------------------------


def supply(
    images: Iterable[ImageDerivation], recipes: Mapping[str, Recipe], locks: Mapping[str, Lock], sealer: Sealer
) -> None:
    """Bring the sealed layers of ``images`` that the store lacks and no cache has among its artifacts, by running their
    steps again. Raises :class:`SealError` where other bytes come out."""
    for image in images:
        recipe, lock = recipes[image.environment], locks[image.environment]
        if any(layer.kind == "sealed" for layer in image.layers):
            _supplied(image, recipe, lock, None, sealer)


def ready(
    below: ImageDerivation,
    index: int,
    recipe: Recipe,
    lock: Lock,
    files: Mapping[int, Sequence[FileEntry]],
    sealer: Sealer,
) -> None:
    """Bring the sealed layers that the step at ``index`` runs on, and those of the stages that it takes files from,
    where another machine has sealed them; as :func:`supply` does."""
    copied = files if isinstance(files, Copied) else None
    _supplied(below, recipe, lock, copied, sealer)
    _stages(recipe, lock, below.platform, index, copied if copied is not None else Copied(), sealer)


def _stages(recipe: Recipe, lock: Lock, platform: str, index: int, files: Copied, sealer: Sealer) -> None:
    step = recipe.steps[index] if index != CONFIGURED else None
    for number in step.stages if isinstance(step, RunCommands) else ():
        low, part, copied = stage_of(lock, recipe, platform, files, number)
        stage = derive(low, part, platform, copied)
        _supplied(stage, part, low, copied if isinstance(copied, Copied) else None, sealer, stage=True)


def _supplied(
    image: ImageDerivation, recipe: Recipe, lock: Lock, files: Copied | None, sealer: Sealer, *, stage: bool = False
) -> None:
    """The sealed layers of one image, or of a stage's; ``files`` where they are known."""
    locked = lock.platforms[image.platform]
    places = iter(locked.sealed_places(recipe))
    for at, layer in enumerate(image.layers):
        if layer.kind == "sealed":
            index = next(places)
            if not _had(layer, sealer):
                if files is None and recipe.stages:
                    files = snapshot(recipe, sealer.root, locked.base, locked.stages)
                number = "all" if stage else str(index + 1)
                _again(image, at, index, recipe, lock, files if files is not None else Copied(), sealer, number)


def _had(layer: LayerDerivation, sealer: Sealer) -> bool:
    """Whether a build finds the layer: made, as an artifact, as a blob of an image, or in a cache."""
    store, (artifact,) = sealer.store, layer.artifacts
    if store.layer(layer.hash) is not None or store.artifact(artifact.sha256, artifact.size) is not None:
        return True
    if store.blob(str(layer.spec["digest"]), artifact.size) is not None:
        return True
    return sealer.remote is not None and layer.hash in sealer.remote.layers([layer])


def _again(
    image: ImageDerivation,
    at: int,
    index: int,
    recipe: Recipe,
    lock: Lock,
    files: Copied,
    sealer: Sealer,
    number: str,
) -> None:
    """Run the step of the layer at ``at`` again; ``number``: what ``--reseal`` calls it."""
    from ..sealing import first_difference

    locked = lock.platforms[image.platform]
    expected = locked.seal(index)
    assert expected is not None
    below = ImageDerivation(image.environment, image.platform, image.layers[:at], image.spec)
    hashes = [layer.hash for layer in below.layers]
    taken = taken_by(lock, recipe, image.platform, files, index) if index != CONFIGURED else []
    asked = question(image.environment, recipe, locked, image.platform, index, hashes, taken or ())
    _stages(recipe, lock, image.platform, index, files, sealer)
    sealer.reporter.note(f"{image.environment}: nobody has the layer of `{asked.title}`: the step is run again")
    configured = locked if index == CONFIGURED else None
    found, outcome, log = sealer.seal(below, asked, index, twice=False, part=configured)
    if found.digest == expected.digest:
        return
    if found.diff_id == expected.diff_id:
        where = "the same files, which this machine's zlib compresses otherwise"
    else:
        where = first_difference(expected.sketch, outcome.listing) or "the layer's headers"
    was = "" if expected.reproducible else "; it came out otherwise the second time when it was locked, too"
    raise SealError(
        f"{image.environment}: `{asked.title}` made other bytes than were sealed:\n  expected {expected.digest}\n"
        f"  found    {found.digest}\n  the first difference: {where}{was}",
        hint=f"get the layer from a cache, a registry or a bundle, or accept what it makes now: `flyte-build lock "
        f"--reseal {number}`; its output is in {log}",
    )
