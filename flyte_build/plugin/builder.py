"""flyte-build as an image builder of the Flyte SDK: ``flyte.init(image_builder="flyte-build")``.

The SDK calls a builder once for each modified image, makes a new builder each time, and never calls one for an image
that is as it was made (``from_base``, the default): those are pinned by the hooks or by :func:`flyte_build.pin` only.
So results are remembered here, and the SDK's own question whether an image exists, which goes by a tag that says little
about the image, is always answered with no.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import flyte
import flyte.errors

from ..kernel.errors import FlyteBuildError, InputError, LoadError, RefusedError
from ..kernel.reporting import Reporter
from ..project import session
from ..project.environments import of_dockerfile, read_environments, reading
from ..project.nouns import Environment, Project
from ..recipe import Known, Recipe
from ..settings import read_settings
from ..workbench.references import locked_as, locked_only, publish
from .objects import own_registry, place_of

__all__ = ["FlyteBuildImageBuilder", "NeverThere"]

# Image → its reference, or what leaves it to another builder; the lock is held while images are made.
_made: dict[flyte.Image, str | RefusedError] = {}
_making = threading.Lock()


class NeverThere:
    """The only checker (``flyte.extend.ImageChecker``): whether an image exists is for the builder to find out.

    Without a checker, or with one that fails, the SDK takes the image for built and never calls the builder.
    """

    @classmethod
    async def image_exists(cls, repository: str, tag: str, arch: tuple[str, ...] = ("linux/amd64",)) -> str | None:
        return None


class FlyteBuildImageBuilder:
    """The builder (``flyte.extend.ImageBuilder``)."""

    def __init__(self, reporter: Reporter | None = None) -> None:
        self._reporter = reporter

    def get_checkers(self) -> list[type[NeverThere]]:
        return [NeverThere]

    async def build_image(
        self, image: flyte.Image, dry_run: bool = False, wait: bool = True, force: bool = False
    ) -> flyte.ImageBuild:
        """Build and push ``image``; the result's ``uri`` is ``repository@sha256:…``.

        The work is done in a thread of its own. ``dry_run`` does nothing and names the SDK's tag. Raises
        ``flyte.errors.ImageBuildError`` that says what to do.
        """
        if dry_run:
            return flyte.ImageBuild(uri=image.uri, remote_run=None)
        try:
            made = await asyncio.to_thread(_make, image, self._reporter or _reporter(), force)
        except FlyteBuildError as e:
            raise _image_build_error(e) from e
        if isinstance(made, RefusedError):
            return await _delegate(image, wait=wait)
        return flyte.ImageBuild(uri=made, remote_run=None)


def _make(image: flyte.Image, reporter: Reporter, force: bool) -> str | RefusedError:
    with _making:
        if force or image not in _made:
            _made[image] = _published(image, reporter, force)
        return _made[image]


def _published(image: flyte.Image, reporter: Reporter, force: bool) -> str | RefusedError:
    project, name = _project(image)
    published = publish(
        project,
        read_settings(project.root),
        reporter,
        registries={name: own_registry(image)},
        locked=locked_only(),
        only=[name],
        force=force,
    )
    return published.delegated.get(name) or published.references[name]


def _project(image: flyte.Image) -> tuple[Project, str]:
    """The project that has this image, and the environment in it: the SDK tells a builder neither."""
    loaded = session.loaded_environments()
    owner = next((e for e in loaded if e.image == image), None)
    if owner is None:
        return _alone(image)
    place = place_of([owner])
    try:
        # All of them, since a project that has no lock yet is locked together.
        return read_environments([owner, *loaded], place.root, place.file, place.code), owner.name
    except LoadError:
        return read_environments([owner], place.root, place.file, place.code), owner.name


def _alone(image: flyte.Image) -> tuple[Project, str]:
    """An image without an environment (``flyte.build(image)``): that of any lock that answers it, else one of its own.

    Its name is then made of what the image asks for, so that its lock is never stale.
    """
    root = session.root_dir() or Path.cwd()
    owner = f"image {image.name}" if image.name else "the image"
    try:
        read = reading(image, owner, root, read_settings(root))
    except FlyteBuildError as e:
        broken = Environment("image", (), "flyte.build", e)
        return Project(root / "flyte.build", root, {broken.name: broken}, ()), broken.name
    wish = read(Known())
    name = locked_as(wish, root) if isinstance(wish, Recipe) else "image"
    environment = Environment(name, (), "flyte.build", wish, again=read if of_dockerfile(image) else None)
    return Project(root / "flyte.build", root, {name: environment}, ()), name


async def _delegate(image: flyte.Image, *, wait: bool) -> flyte.ImageBuild:
    """Hand the image to a builder of the SDK: ``$FLYTE_BUILD_DELEGATE``, by default the one it takes by default."""
    from flyte.extend import ImageBuildEngine

    named = os.environ.get("FLYTE_BUILD_DELEGATE", "local")
    if named not in ("local", "local-podman", "remote"):
        raise _image_build_error(
            InputError(f"$FLYTE_BUILD_DELEGATE: expected local, local-podman or remote, found `{named}`")
        )
    registry = read_settings(session.root_dir() or Path.cwd()).registry
    if registry is not None and not image.registry:
        image = image.clone(registry=registry)
    engine: Any = ImageBuildEngine
    made: flyte.ImageBuild = await engine._get_builder(named).build_image(image, dry_run=False, wait=wait)
    return made


def _image_build_error(error: FlyteBuildError) -> Exception:
    """The SDK's own kind of error for an image that cannot be built, which it shows as it is."""
    lines = [error.message, *([error.detail] if error.detail else []), *([f"hint: {error.hint}"] if error.hint else [])]
    return flyte.errors.ImageBuildError("\n".join(lines))


def _reporter() -> Reporter:
    from ..cli.progress import make_reporter

    return make_reporter()
