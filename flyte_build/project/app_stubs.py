"""Stand-ins for the application environments of plug-ins that are not installed here (``VLLMAppEnvironment``).

They are the SDK's own ``AppEnvironment``, so that a file's environments are found and locked; what only the plug-in
knows (its parameters, what it serves) is taken and forgotten. An image that the plug-in would choose is not guessed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

__all__ = ["app_environment", "chosen_by"]

# What a plug-in's environment sets itself, by rules that are its own.
_OWN = frozenset({"args", "command", "parameters", "type"})


def app_environment(module: str, name: str, unknown: Callable[[str], object]) -> type:
    """A class called ``name`` that ``module`` would have; ``unknown`` gives the attributes that only it would know."""
    from flyte.app import AppEnvironment

    fields = {f.name for f in dataclasses.fields(AppEnvironment) if f.init} - _OWN

    def init(self: Any, *args: Any, **given: Any) -> None:
        if args:
            given = {"name": args[0], **given}
        AppEnvironment.__init__(self, **{k: v for k, v in given.items() if k in fields})
        self.__dict__.update({k: v for k, v in given.items() if k not in fields})
        self._image_is_chosen = "image" not in given

    def attribute(self: Any, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        return unknown(attribute)

    own = {"__init__": init, "__getattr__": attribute, "__module__": module, "_stands_for": f"{module}.{name}"}
    return type(name, (AppEnvironment,), own)


def chosen_by(environment: object) -> str | None:
    """What would choose the environment's image, ``flyteplugins.vllm.VLLMAppEnvironment``; ``None`` for an image that
    is stated, and for environments that are real."""
    if not vars(environment).get("_image_is_chosen"):
        return None
    return str(getattr(type(environment), "_stands_for", "")) or None
