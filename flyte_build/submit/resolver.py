"""What finds an attempt's task in its sandbox: the resolver that the task names (the SDK's own, mostly), asked by this.

It stands beside ``flyte_build_code_strings`` in the sandbox and runs with the image's Python and ``flyte``; the runtime
is told of it by ``--resolver`` (see ``resolving``). What the SDK does only where tasks share a remote storage is done
here, too: ``File.from_local`` and ``Dir.from_local`` copy at the call, instead of handing on a path that may be gone
when the task has ended. Every other word of the runtime stays its own.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.abc
import os
import sys
from typing import Any

import flyte_build_code_strings as code_strings  # type: ignore[import-not-found]

COPYING = {"flyte.io._file": "File", "flyte.io._dir": "Dir"}


class Resolver:
    """The first argument is the resolver that the task names, the others are its."""

    import_path = f"{__name__}.Resolver"

    def load_task(self, loader_args: Any) -> Any:
        collect()
        named, *arguments = loader_args
        module, _, name = named.rpartition(".")
        importlib.import_module("flyte")
        code_strings.notice()
        copy_at_the_call()
        try:
            return getattr(importlib.import_module(module), name)().load_task(arguments)
        finally:
            code_strings.adopt()


def collect() -> None:
    """Look for garbage from here on, in what is made from here on, where ``a0`` was told to put that off (see
    ``cold``); what it calls last, when all else that is called at exit was, is what it put there."""
    last = vars(sys).pop("_flyte_build_late", None)
    if last is not None:
        last.append(functools.partial(end, frozenset(sys.modules)))
        gc.freeze()
        gc.enable()


def end(had: frozenset[str]) -> None:
    """The interpreter takes apart all that its modules have, those that the runtime imported, too, if that is to be
    heard of: where anything since then says something when it goes. An extension that was imported since (to ``had``)
    may, and so may a class with a finalizer, a file, a generator."""
    if gc.isenabled():
        gc.collect()
    others = [module for name, module in list(sys.modules.items()) if name not in had]
    objects = gc.get_objects()
    # By identity: a class may say of itself that it cannot be compared.
    classes = {id(kind): kind for o in objects for kind in ((type(o), o) if issubclass(type(o), type) else (type(o),))}
    if any(map(native, others)) or any("__del__" in vars(b) for kind in classes.values() for b in kind.__mro__):
        gc.unfreeze()
        gc.disable()  # for it looks at nothing else first


def native(module: Any) -> bool:
    try:
        return not str(object.__getattribute__(module, "__dict__")["__spec__"].origin).endswith((".py", ".pyc"))
    except (AttributeError, KeyError):
        return True


def copy_at_the_call() -> None:
    """Of the modules that are there, and of the others when they come."""
    for name in COPYING:
        if name in sys.modules:
            change(sys.modules[name])
    if not any(isinstance(finder, Later) for finder in sys.meta_path) and not all(n in sys.modules for n in COPYING):
        sys.meta_path.insert(0, Later())


class Later(importlib.abc.MetaPathFinder):
    """Changes a module as soon as it has been imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in COPYING:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                run = spec.loader.exec_module

                def execute(module: Any, run: Any = run) -> None:
                    run(module)
                    change(module)

                spec.loader.exec_module = execute  # type: ignore[method-assign]
                return spec
        return None


def change(module: Any) -> None:
    kind = getattr(module, COPYING[module.__name__], None)
    if kind is None or getattr(module, "_copies_at_the_call", False):
        return
    module._copies_at_the_call = True
    for name in ("from_local", "from_local_sync"):
        original = vars(kind).get(name)
        if isinstance(original, classmethod):
            setattr(kind, name, classmethod(copying(original.__func__, name == "from_local")))


def copying(original: Any, awaited: bool) -> Any:
    """``original`` with a place of the run's for what it is given, where its caller names none."""

    def named(given: tuple[Any, ...], more: dict[str, Any]) -> dict[str, Any]:
        local = given[1] if len(given) > 1 else more.get("local_path")
        if len(given) < 3 and more.get("remote_destination") is None and local is not None:
            place = place_for(os.fspath(local))
            if place is not None:
                return {**more, "remote_destination": place}
        return more

    if awaited:

        @functools.wraps(original)
        async def aio(*given: Any, **more: Any) -> Any:
            return await original(*given, **named(given, more))

        return aio

    @functools.wraps(original)
    def sync(*given: Any, **more: Any) -> Any:
        return original(*given, **named(given, more))

    return sync


def place_for(local: str) -> Any:
    """Where the SDK would put it in the run's storage; ``None`` outside of a task, and where a URL is given."""
    from flyte._context import internal_ctx

    context = internal_ctx()
    if not context.has_raw_data or "://" in local or not os.path.exists(local):
        return None
    return context.raw_data.get_random_remote_path(os.path.basename(os.path.normpath(local)) or None)
