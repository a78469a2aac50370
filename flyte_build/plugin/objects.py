"""Images by digest, in the place of images: on the SDK's own objects, and back again.

What is replaced is public: the ``image`` of an environment and of its tasks. Which environments have nothing to pin,
and what else of them would run an image that nobody pinned, is decided here; building and pushing is not.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import flyte

from ..kernel.errors import RefusedError
from ..kernel.reporting import Reporter
from ..project import session
from ..project.environments import declaring_file, live_environments, read_environments
from ..project.layout import layout_of
from ..project.nouns import Project
from ..settings import Settings, read_settings
from ..workbench.references import locked_only, publish
from .podtemplates import overriding_images, unpinned_companions

__all__ = ["Pins", "Place", "own_registry", "pin_objects", "place_of"]

# The images that pins made, by identity: what is pinned already is not pinned again.
_MADE: dict[int, flyte.Image] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """``root``: what relative paths start from; ``file``: what messages name; ``code``: what the paths of code that
    an image holds start from, as the SDK's runtime imports it (default: the root). All absolute."""

    root: Path
    file: Path
    code: Path | None = field(default=None, compare=False)


def place_of(environments: Iterable[flyte.Environment], root: Path | None = None, code: Path | None = None) -> Place:
    """Where the project of these environments is: the running script's folder if one of them is made below it, else
    that of the file that made the first, else the script's, else the current one; ``root`` wins over all. ``code``
    is by default what ``flyte.init`` was told, else the root.

    Installed files are nobody's project: where a notebook makes an environment, the SDK takes it for made in IPython.
    """
    files = [file for e in environments if (file := declaring_file(e)) is not None and not _installed(file)]
    running = getattr(sys.modules.get("__main__"), "__file__", None)
    script = Path(running).absolute() if running and running.endswith(".py") else None
    if script is not None and _installed(script):
        script = None
    if script is not None and (not files or any(file.is_relative_to(script.parent) for file in files)):
        found = script
    else:
        found = files[0] if files else Path.cwd() / "notebook"
    base = root.absolute() if root is not None else layout_of(found).root
    return Place(base, found, code or session.root_dir())


def _installed(file: Path) -> bool:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib", "scripts")}
    return "site-packages" in file.parts or any(file.is_relative_to(folder) for folder in folders)


@dataclass(frozen=True, slots=True)
class Pins:
    """``references``: environment → image by digest. ``replaced``: the holders of images, with what they held."""

    references: Mapping[str, str]
    replaced: Sequence[tuple[Any, Any]] = field(default=(), repr=False)

    def restore(self) -> None:
        """Put back the images that were there before."""
        for holder, image in reversed(self.replaced):
            holder.image = image


def pin_objects(
    objects: Sequence[object],
    place: Place,
    reporter: Reporter,
    *,
    registry: str | None = None,
    push: bool = True,
    locked: bool | None = None,
    references: Mapping[str, str],
    homeless: Literal["refuse", "leave"] = "refuse",
) -> Pins:
    """Pin what ``objects`` reach. ``references`` are the SDK's image names with what stands for them; ``homeless``:
    what becomes of images that have no registry to go to.

    An environment without an image (``image=None``) has none to pin, and one that is pinned stays as it is.
    """
    settings = read_settings(place.root)
    if registry is not None:
        settings = replace(settings, registry=registry)
    every = live_environments(objects, place.root)
    _check_templates(every.values(), settings, reporter)
    known: dict[str, str] = {}
    left: set[str] = set()
    for name, environment in every.items():
        if environment.image is None:
            left.add(name)
        elif environment.image is _MADE.get(id(environment.image)):
            known[name] = str(environment.image.uri)
        elif (named := _named(environment, references)) is not None:
            _take_name(name, named, settings, reporter, known, left)
    project = _without(read_environments(every.values(), place.root, place.file, place.code), {*known, *left})
    published = publish(
        project,
        settings,
        reporter,
        registries={name: own_registry(every[name].image) for name in project.environments},
        locked=locked_only() if locked is None else locked,
        push=push,
        check=True,
        homeless=homeless,
    )
    found = {name: reference for name in every if (reference := (known | dict(published.references)).get(name))}
    return Pins(found, _replace(every, found))


def _without(project: Project, names: set[str]) -> Project:
    """The project without these environments; what depends on them stays."""
    kept = {
        name: replace(e, depends_on=tuple(d for d in e.depends_on if d not in names))
        for name, e in project.environments.items()
        if name not in names
    }
    return replace(project, environments=kept, tasks=tuple(t for t in project.tasks if t.environment in kept))


def _replace(environments: Mapping[str, flyte.Environment], references: Mapping[str, str]) -> list[tuple[Any, Any]]:
    replaced: list[tuple[Any, Any]] = []
    for name, reference in references.items():
        environment = environments[name]
        if environment.image is _MADE.get(id(environment.image)):
            continue
        image = flyte.Image.from_base(reference)
        # What the SDK calls the image when it says that it builds it; its address is the reference all the same.
        object.__setattr__(image, "name", name)
        _MADE[id(image)] = image
        # A task took its environment's image when it was made.
        for holder in (environment, *getattr(environment, "tasks", {}).values()):
            replaced.append((holder, holder.image))
            holder.image = image
    return replaced


def own_registry(image: object) -> str | None:
    """The registry that the image itself says, else the SDK's configuration; never that of the SDK's own images."""
    own = image.registry if isinstance(image, flyte.Image) else None
    if own is not None and own == session.released_registry():
        own = None
    return own or session.configured_registry()


def _named(environment: flyte.Environment, references: Mapping[str, str]) -> str | None:
    """What the command line or the configuration puts in the image's place, as the SDK would take it."""
    image = environment.image
    if image == "auto":
        return references.get(session.DEFAULT_REFERENCE)
    if isinstance(image, flyte.Image) and getattr(image, "_ref_name", None) and not image._layers:
        return references.get(str(image._ref_name))
    return None


def _take_name(
    name: str, image: str, settings: Settings, reporter: Reporter, known: dict[str, str], left: set[str]
) -> None:
    if "@sha256:" in image:
        known[name] = image
        return
    what = f"environment {name}: `--image` or flyte's configuration names its image `{image}`, by a tag"
    if settings.policy == "refuse":
        raise RefusedError(what, hint="name it by its digest (`…@sha256:…`), or leave `--image` out")
    reporter.warn(f"{what}: it is used as it is (policy `delegate`), and may be another one tomorrow")
    left.add(name)


def _check_templates(environments: Iterable[flyte.Environment], settings: Settings, reporter: Reporter) -> None:
    for environment in environments:
        for image in overriding_images(environment):
            what = f"environment {environment.name}: its pod template runs `{image}` instead of the environment's image"
            if settings.policy == "refuse":
                raise RefusedError(
                    what, hint="leave the image out of the template's primary container, or name it by its digest"
                )
            reporter.warn(f"{what}, which is named by a tag: it may be another one tomorrow")
        for image in unpinned_companions(environment):
            reporter.warn(
                f"environment {environment.name}: its pod template names `{image}` by a tag; only a digest "
                "(`…@sha256:…`) is the same one tomorrow"
            )
