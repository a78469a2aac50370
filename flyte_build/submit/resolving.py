"""Attempts here ask ``resolver`` for their task: it is put beside the run's code, where sandboxes see it and none can
change it, and named to the runtime in place of the resolver that the task names, which it asks in turn.

The task's specification, and with it the identity of its actions and results, stays as it is.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ..kernel import code_strings
from .action import LaunchRequest
from .storage import BUNDLES, RunFolder

__all__ = ["put_resolver", "resolving"]

RESOLVER = "flyte_build_resolver.Resolver"
_PLACE = "resolver"
_PATH = "_F_SYS_PATH"  # which the runtime puts before its search path


def put_resolver(folder: RunFolder) -> None:
    """For the sandboxes of the run; raises OSError."""
    place = folder.bundles / _PLACE
    place.mkdir(exist_ok=True)
    for source, name in (
        (Path(__file__).with_name("resolver.py"), "resolver"),
        (Path(code_strings.__file__), "code_strings"),
    ):
        shutil.copyfile(source, place / f"flyte_build_{name}.py")


def resolving(request: LaunchRequest) -> LaunchRequest:
    """The request, with our resolver; as it is where the runtime is told of none."""
    if "--resolver" not in request.args:
        return request
    args, place = list(request.args), f"{BUNDLES}/{_PLACE}"
    at = args.index("--resolver") + 1
    args[at : at + 1] = [RESOLVER, args[at]]
    path = ":".join(filter(None, [request.env.get(_PATH), place]))
    return replace(request, args=tuple(args), env={**request.env, _PATH: path})
