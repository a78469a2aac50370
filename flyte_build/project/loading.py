"""The edge to flyte's authoring objects.

It imports a user's file (:func:`load`). ``environments`` reads environments and tasks, ``images`` what an image asks
for, and ``serializing`` serializes a task call, all parts of the same edge; nothing is hashed or built here.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from ..kernel.code_strings import adopting
from ..kernel.errors import LoadError
from ..kernel.paths import shown
from ..kernel.users_code import running
from .distributions import distribution_of
from .environments import read_environments
from .former_names import todays_name
from .nouns import Environment, Project, Task
from .session import noting_pythons
from .source_loader import import_from_source

__all__ = ["Environment", "Project", "Task", "load", "load_module"]


def load(file: Path, root: Path | None = None, *, search: Sequence[Path] = (), stand_ins: bool = False) -> Project:
    """Import ``file`` and read every environment and task it reaches.

    The import is as ``flyte run`` does it: ``root`` (by default the file's folder) goes first on ``sys.path``, then
    ``search``, and the module's name is the file's path relative to the root. With ``stand_ins``, modules that are not
    installed here are stood in for; any other error of the user's code stays one. Raises :class:`LoadError` with the
    user's own frames when the file does not import.
    """
    file = file.absolute()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise LoadError(f"{shown(file)}: {what}; expected a Python file that defines tasks", hint=_meant(file))
    root = (root or file.parent).absolute()
    if not file.is_relative_to(root):
        raise LoadError(f"{shown(file)}: is not below the root {shown(root)}")
    if file.suffix != ".py":
        raise LoadError(f"{shown(file)}: expected a .py file")
    with running():
        with _standing_in([root, *search], stand_ins), adopting(), noting_pythons():
            module = _import(file, root, search)
        return _read(module, file, root)


def _meant(file: Path) -> str | None:
    """Which Python file may be meant by one that is none."""
    import difflib

    folder = file if file.is_dir() else file.parent
    with contextlib.suppress(OSError):
        there = sorted(p for p in folder.iterdir() if p.suffix == ".py" and p.is_file())
        names = {p.name: p for p in there}
        close = difflib.get_close_matches(file.name, names, 1) if folder != file else []
        if close:
            return f"did you mean `{shown(names[close[0]])}`?"
        if folder == file and there:
            more = f" and {len(there) - 3} more" if len(there) > 3 else ""
            listed = ", ".join(shown(p) for p in there[:3])
            return f"name a file in it: {listed}{more}; `flyte-build init {shown(file)}` finds those of Flyte"
    return None


def load_module(project: Project, name: str) -> ModuleType:
    """Import a module of the project that nothing has imported yet (one that a task imports when it runs).

    Modules that are not installed here are stood in for. Raises :class:`LoadError`.
    """
    try:
        with running(), _standing_in([project.root], True), adopting():
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        raise _import_error(e, project.file, project.root) from None


@contextlib.contextmanager
def _standing_in(places: Sequence[Path], wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    from .standing import standing_in
    from .standing_rules import rules_of

    with standing_in(rules_of(places[0], places[1:])):
        yield


def _import(file: Path, root: Path, search: Sequence[Path] = ()) -> ModuleType:
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    # importlib takes any name without dots (`01_basic` too), as `flyte run` and the runtime do.
    if name.count(".") != len(file.relative_to(root).parts) - 1:
        raise LoadError(f"{shown(file)}: `{name}` is not a module name, so tasks could not import it")
    loaded = sys.modules.get(name)
    if loaded is not None:
        if Path(getattr(loaded, "__file__", None) or "").absolute() == file:
            return loaded
        raise LoadError(
            f"{shown(file)}: the module name `{name}` is taken by {getattr(loaded, '__file__', 'a built-in module')}",
            hint="rename the file, or give the folder above it as --root",
        )
    if sys.path[:1] != [str(root)]:
        sys.path[:0] = [str(root), *(str(p) for p in search if str(p) not in sys.path)]
    import_from_source(root)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        raise _import_error(e, file, root) from None
    if Path(module.__file__ or "").absolute() != file:
        raise LoadError(f"{shown(file)}: `import {name}` gave {module.__file__} instead")
    return module


# Of an error's first line; the whole stands below it.
_LONGEST = 300


def _import_error(error: BaseException, file: Path, root: Path) -> LoadError:
    """The user's own frames, innermost last, without ours, importlib's or the SDK's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(root)]
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{shown(Path(error.filename))}:{error.lineno}"
        last = traceback.format_exception_only(error)
        detail = "".join(last)
    else:
        where = f"{shown(Path(frames[-1].filename))}:{frames[-1].lineno}" if frames else shown(file)
        detail = "".join(traceback.format_list(frames[-5:])) + "".join(traceback.format_exception_only(error))
    said = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)  # where it is stands before
    summary = said.splitlines()[0] if said else ""
    summary = summary if len(summary) <= _LONGEST else f"{summary[:_LONGEST]}…"
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name and (hiding := _hiding(error.name, root)) is not None:
        parent = error.name.rpartition(".")[0]
        hint = (
            f"{shown(hiding)} is `{parent}` from {shown(root)}, and hides the library's: give its folder as --root, or "
            "rename it"
        )
    elif isinstance(error, ModuleNotFoundError) and error.name:
        hint = (
            f"the file is imported on this machine to read its tasks: install {distribution_of(error.name)} here too, "
            "or import it inside the task that uses it"
        )
    elif isinstance(error, ImportError) and "relative import" in summary:
        hint = "the file is part of a package: give the folder above the package as --root"
    elif type(error).__name__ == "InitializationError":
        hint = (
            "the file asks for a backend while it is read: what deploys, runs or looks something up belongs under "
            '`if __name__ == "__main__":`, and what depends on a project or domain into a variable of this machine'
        )
    elif missing := _to_install(root):
        hint = (
            f"{', '.join(_stood_in(root))} {'is' if len(missing) == 1 else 'are'} not installed here and stood in for, "
            f"which may be why: install {', '.join(missing)} on this machine"
        )
    kind = type(error).__name__
    message = f"{where}: {shown(file)} does not import: {kind}{': ' + summary if summary else ''}"
    hint = todays_name(error) or hint
    return LoadError(message, hint=hint, detail=detail.rstrip())


def _hiding(name: str, root: Path) -> Path | None:
    """The project's file that stands where the package of the module ``name`` would be: no module is below a file."""
    parents = name.split(".")[:-1]
    files = (root.joinpath(*parents[: i + 1]).with_suffix(".py") for i in range(1, len(parents)))
    return next((file for file in files if file.is_file()), None)


def _read(module: ModuleType, file: Path, root: Path) -> Project:
    found = read_environments(_values(module), root, file)
    return replace(found, stand_ins=_stood_in(root), to_install=_to_install(root))


def _values(module: ModuleType) -> Iterator[object]:
    """What the module has at its top level, and what is in lists, tuples and dictionaries there."""
    for value in vars(module).values():
        yield value
        if type(value) in (list, tuple, set):
            yield from value
        elif type(value) is dict and value is not vars(module).get("__builtins__"):
            yield from value.values()


def _stood_in(root: Path) -> tuple[str, ...]:
    from .standing import stood_in

    return stood_in(lambda file: file.is_relative_to(root))


def _to_install(root: Path) -> tuple[str, ...]:
    """The distributions of what was stood in for."""
    from .distributions import to_install
    from .standing import asked_for

    return tuple(to_install(asked_for(lambda file: file.is_relative_to(root))))
