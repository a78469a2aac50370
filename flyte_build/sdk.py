"""The edge to flyte's authoring objects.

It loads a user's file and reads its environments and tasks off the SDK's public objects (:func:`load`). What an image
asks for is read by :mod:`flyte_build.images`, a task call is serialized by :mod:`flyte_build.serializing`, both parts
of the same edge; nothing is hashed or built here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import flyte

from .errors import FlyteBuildError, LoadError
from .fresh import import_from_source
from .images import read_image
from .recipe import Recipe

__all__ = ["Environment", "Project", "Task", "load", "load_module"]


@dataclass(frozen=True, slots=True)
class Task:
    """A task as a person calls it: ``name`` is the function's, ``full_name`` ``<environment>.<name>``."""

    name: str
    full_name: str
    environment: str
    location: str
    doc: str
    inputs: Mapping[str, tuple[Any, Any]] = field(repr=False, compare=False)
    template: Any = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Environment:
    """One ``flyte.Environment``: what its image asks for, or the reason why that cannot be answered.

    ``depends_on`` are names in the order written; ``location`` is where it was made (``file``).
    """

    name: str
    depends_on: tuple[str, ...]
    location: str
    wish: Recipe | FlyteBuildError
    secrets: tuple[str, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe; raises the error that reading the image met."""
        if isinstance(self.wish, FlyteBuildError):
            raise self.wish
        return self.wish


@dataclass(frozen=True, slots=True)
class Project:
    """A loaded file: ``file`` and ``root`` are absolute, ``environments`` by name in order of discovery.

    ``stand_ins`` are the modules that are not installed here and were stood in for (:mod:`flyte_build.standins`).
    """

    file: Path
    root: Path
    environments: Mapping[str, Environment]
    tasks: tuple[Task, ...]
    stand_ins: tuple[str, ...] = ()

    def task(self, name: str) -> Task:
        """The task called ``name`` (``main``) or ``environment.name``; raises :class:`LoadError`."""
        found = [t for t in self.tasks if name in (t.name, t.full_name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise LoadError(
                f"{_show(self.file)}: {len(found)} tasks are called `{name}`: "
                + ", ".join(f"{t.full_name} ({t.location})" for t in found),
                hint=f"name it with its environment: `{found[0].full_name}`",
            )
        have = ", ".join(t.name for t in self.tasks) or "none"
        raise LoadError(f"{_show(self.file)}: no task `{name}`; there are: {have}", hint=self._no_task_hint(name))

    def _no_task_hint(self, name: str) -> str | None:
        if not self.tasks:
            return "a task is a function decorated with `@env.task`, where `env` is a `flyte.TaskEnvironment`"
        import difflib

        close = difflib.get_close_matches(name, [t.name for t in self.tasks], 1)
        return f"did you mean `{close[0]}`?" if close else None


def load(file: Path, root: Path | None = None, *, stand_ins: bool = False) -> Project:
    """Import ``file`` and read every environment and task it reaches.

    The import is as ``flyte run`` does it: ``root`` (by default the file's folder) goes first on
    ``sys.path`` and the module's name is the file's path relative to it. With ``stand_ins``, modules that are not
    installed here are stood in for; any other error of the user's code stays one. Raises :class:`LoadError` with the
    user's own frames when the file does not import.
    """
    file = file.absolute()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise LoadError(f"{_show(file)}: {what}; expected a Python file that defines tasks")
    root = (root or file.parent).absolute()
    if not file.is_relative_to(root):
        raise LoadError(f"{_show(file)}: is not below the root {_show(root)}")
    if file.suffix != ".py":
        raise LoadError(f"{_show(file)}: expected a .py file")
    with _standing_in(root, stand_ins):
        module = _import(file, root)
    return _read(module, file, root)


def load_module(project: Project, name: str) -> ModuleType:
    """Import a module of the project that nothing has imported yet (one that a task imports when it runs).

    Modules that are not installed here are stood in for. Raises :class:`LoadError`.
    """
    try:
        with _standing_in(project.root, True):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        raise _import_error(e, project.file, project.root) from None


@contextlib.contextmanager
def _standing_in(root: Path, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from .planning.checks.sources import Sources
    from .planning.checks.statements import guarded_lines
    from .standins import standing_in

    sources = Sources(root, map(Path, sys.path))

    def guarded(file: Path) -> frozenset[int]:
        tree = sources.tree(file)
        return guarded_lines(tree) if tree is not None else frozenset()

    with standing_in(sources.owns, lambda name: sources.find(name) is not None, guarded):
        yield


def _import(file: Path, root: Path) -> ModuleType:
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    # importlib takes any name without dots (`01_basic` too), as `flyte run` and the runtime do.
    if name.count(".") != len(file.relative_to(root).parts) - 1:
        raise LoadError(f"{_show(file)}: `{name}` is not a module name, so tasks could not import it")
    loaded = sys.modules.get(name)
    if loaded is not None:
        if Path(getattr(loaded, "__file__", None) or "").absolute() == file:
            return loaded
        raise LoadError(
            f"{_show(file)}: the module name `{name}` is taken by {getattr(loaded, '__file__', 'a built-in module')}",
            hint="rename the file, or give the folder above it as --root",
        )
    if sys.path[:1] != [str(root)]:
        sys.path.insert(0, str(root))
    import_from_source(root)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        raise _import_error(e, file, root) from None
    if Path(module.__file__ or "").absolute() != file:
        raise LoadError(f"{_show(file)}: `import {name}` gave {module.__file__} instead")
    return module


def _import_error(error: BaseException, file: Path, root: Path) -> LoadError:
    """The user's own frames, innermost last, without ours, importlib's or the SDK's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(root)]
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{_show(Path(error.filename))}:{error.lineno}"
        last = traceback.format_exception_only(error)
        detail = "".join(last)
    else:
        where = f"{_show(Path(frames[-1].filename))}:{frames[-1].lineno}" if frames else _show(file)
        detail = "".join(traceback.format_list(frames[-5:])) + "".join(traceback.format_exception_only(error))
    summary = str(error).splitlines()[0] if str(error) else ""
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = (
            f"the file is imported on this machine to read its tasks: install `{error.name}` here too, or import "
            "it inside the task that uses it"
        )
    elif isinstance(error, ImportError) and "relative import" in summary:
        hint = "the file is part of a package: give the folder above the package as --root"
    kind = type(error).__name__
    message = f"{where}: {_show(file)} does not import: {kind}{': ' + summary if summary else ''}"
    return LoadError(message, hint=hint, detail=detail.rstrip())


def _read(module: ModuleType, file: Path, root: Path) -> Project:
    objects: dict[str, flyte.Environment] = {}
    pending: list[flyte.Environment] = []
    for value in vars(module).values():
        if isinstance(value, flyte.Environment):
            pending.append(value)
        elif (parent := _parent_environment(value)) is not None:
            pending.append(parent)
    seen: set[int] = set()
    while pending:
        environment = pending.pop(0)
        if id(environment) in seen:
            continue
        seen.add(id(environment))
        other = objects.get(environment.name)
        if other is not None:
            raise LoadError(
                f"two environments are called `{environment.name}`: one made in {_made_in(other, root)}, "
                f"one in {_made_in(environment, root)}",
                hint="an environment's name is its identity; rename one of them",
            )
        objects[environment.name] = environment
        pending.extend(environment.depends_on)
    environments = {
        name: Environment(
            name=name,
            depends_on=tuple(dict.fromkeys(d.name for d in e.depends_on)),
            location=_made_in(e, root),
            wish=_wish(e, root),
            secrets=_secret_keys(e.secrets),
        )
        for name, e in objects.items()
    }
    tasks = [t for e in objects.values() for t in _tasks(e, root)]
    return Project(file, root, environments, tuple(tasks), _stood_in(root))


def _stood_in(root: Path) -> tuple[str, ...]:
    from .standins import stood_in

    return stood_in(lambda file: file.is_relative_to(root))


def _wish(environment: flyte.Environment, root: Path) -> Recipe | FlyteBuildError:
    try:
        return read_image(environment.image, f"environment {environment.name}", root)
    except FlyteBuildError as e:
        return e


def _parent_environment(value: object) -> flyte.Environment | None:
    """A task template's environment; tasks hold it as a weak reference that is called."""
    parent = getattr(value, "parent_env", None)
    if parent is None or not callable(parent) or isinstance(value, type) or not hasattr(value, "native_interface"):
        return None
    environment = parent()
    return environment if isinstance(environment, flyte.Environment) else None


def _tasks(environment: flyte.Environment, root: Path) -> Iterator[Task]:
    for template in getattr(environment, "tasks", {}).values():
        function = getattr(template, "func", None)
        code = getattr(inspect.unwrap(function), "__code__", None) if function else None
        location = f"{_below(Path(code.co_filename), root)}:{code.co_firstlineno}" if code else environment.name
        full_name = str(template.name)
        yield Task(
            name=full_name.removeprefix(f"{environment.name}."),
            full_name=full_name,
            environment=environment.name,
            location=location,
            doc=inspect.cleandoc(getattr(function, "__doc__", None) or ""),
            inputs=dict(template.native_interface.inputs),
            template=template,
        )


def _secret_keys(secrets: Any) -> tuple[str, ...]:
    if not secrets:
        return ()
    items = secrets if isinstance(secrets, list) else [secrets]
    return tuple(s if isinstance(s, str) else s.key for s in items)


def _made_in(environment: flyte.Environment, root: Path) -> str:
    declared = getattr(environment, "_declaring_file", None)
    return _below(Path(declared), root) if declared else "an unknown file"


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _show(path: Path) -> str:
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except OSError:
        return str(path)
