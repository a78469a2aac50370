"""What only the SDK's private state tells: how ``flyte.init`` was called, and which environments this process made.

The one place that looks at it, each attribute with an answer for versions that do not have it; the contract tests run
it on the oldest version supported and on the newest.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flyte

__all__ = [
    "asked_python",
    "configured_registry",
    "image_references",
    "kept",
    "loaded_environments",
    "noting_pythons",
    "plain_tasks",
    "released_registry",
    "root_dir",
    "runs_here",
    "stated_image",
]

# What the SDK calls the image that `flyte run --image URI` names without a name.
DEFAULT_REFERENCE = "default"


def runs_here() -> bool:
    """Whether ``flyte.run`` would run on this machine: the SDK is initialised, and not for any endpoint."""
    config = _config()
    return config is not None and getattr(config, "client", None) is None


@contextmanager
def kept() -> Iterator[None]:
    """What ``flyte.init`` was told before the block holds after it, too: a notebook may have an endpoint of its own."""
    from flyte import _initialize

    before = getattr(_initialize, "_init_config", None)
    try:
        yield
    finally:
        if hasattr(_initialize, "_init_config"):
            _initialize._init_config = before


def configured_registry() -> str | None:
    """``image.registry`` of the SDK's configuration, as ``flyte.init`` read it."""
    return getattr(_config(), "image_registry", None) or None


def released_registry() -> str | None:
    """Where the SDK's released images lie: some versions put it into every image, though only its makers push there."""
    from flyte import _image

    return getattr(_image, "_BASE_REGISTRY", None)


def image_references() -> Mapping[str, str]:
    """Image names and what stands for them: ``image.image_refs`` of the configuration, ``--image`` of the command."""
    return dict(getattr(_config(), "images", None) or {})


def stated_image(name: str) -> str | None:
    """What a configuration says of the image ``name``: the one that ``flyte.init`` was told, else that of the file that
    the SDK finds (``image.image_refs``)."""
    told = image_references()
    if name in told:
        return told[name]
    try:
        from flyte.config._config import ImageConfig

        found = ImageConfig.auto().image_refs.get(name)
    except (ImportError, AttributeError, TypeError):
        return None
    return found if isinstance(found, str) and found else None


class _Asked(tuple[int, int]):
    """A Python that somebody asked for: ``from_debian_base`` else notes that of whoever imports the file."""

    __slots__ = ()


@contextmanager
def noting_pythons() -> Iterator[None]:
    """In the block, images remember that their ``python_version`` was stated: see :func:`asked_python`."""
    image = flyte.Image
    before = image.__dict__.get("from_debian_base")
    if not isinstance(before, classmethod):
        yield
        return
    make = before.__func__

    @functools.wraps(make)
    def noting(cls: type[flyte.Image], python_version: Any = None, *args: Any, **more: Any) -> flyte.Image:
        stated = _Asked(python_version) if isinstance(python_version, tuple) else python_version
        made: flyte.Image = make(cls, stated, *args, **more)
        return made

    image.from_debian_base = classmethod(noting)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        image.from_debian_base = before  # type: ignore[assignment, method-assign]


def asked_python(image: flyte.Image) -> bool:
    """Whether the image's Python was stated where it was made, as far as :func:`noting_pythons` saw that."""
    return isinstance(image.python_version, _Asked)


def loaded_environments() -> list[flyte.Environment]:
    """Every environment made in this process, in the order made."""
    from flyte import _environment

    listed = getattr(_environment, "list_loaded_environments", None)
    return list(listed()) if listed is not None else []


def plain_tasks(configuration: type) -> None:
    """Have tasks with such a plug-in's configuration read as plain ones.

    The public name of the registry, ``flyte.extend``, is asked last: it leads to all of the SDK's runtime, which takes
    longer to import than ``flyte`` itself, and nothing of it is needed to read a file.
    """
    try:
        from flyte._task import AsyncFunctionTaskTemplate
        from flyte._task_plugins import TaskPluginRegistry
    except ImportError:
        from flyte.extend import AsyncFunctionTaskTemplate, TaskPluginRegistry

    TaskPluginRegistry.register(configuration, AsyncFunctionTaskTemplate)


def root_dir() -> Path | None:
    """The folder that ``flyte.init`` was told, or took for, the root of the user's code."""
    found = getattr(_config(), "root_dir", None)
    return Path(found).absolute() if found else None


def _config() -> Any:
    from flyte import _initialize

    return _initialize._get_init_config()
