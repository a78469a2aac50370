"""What to write where, in the user's own names: the line that repairs a finding.

Looks names up in the loaded modules and the source they were written in; where nothing has a name, says it in general
terms. Decides nothing.
"""

from __future__ import annotations

import ast
import os
import sys
import tomllib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ....kernel.values import dataclass
from ....locks.nouns import LockedWheel
from ....project.source_files import Sources
from ....recipe import Recipe

__all__ = ["Advice"]


@dataclass(frozen=True, slots=True)
class _Definition:
    """An environment as it is written: its variable, the line, the names in its ``depends_on`` and of its image."""

    variable: str
    file: Path
    line: int
    depends_on: tuple[str, ...]
    image: str | None


class Advice:
    """For one project; ``templates`` are its tasks by full name."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    # -- names -------------------------------------------------------------------------------------

    def image_of(self, template: object, file: Path | None) -> str:
        """What the image of a task's environment is called, best in ``file``: ``main_image``."""
        environment = _environment(template)
        image = getattr(environment, "image", None)
        written = self._definition(environment)
        if written is not None and written.image is not None:
            return written.image
        for names in self._namespaces(file, environment):
            for name, value in names.items():
                if value is image and image is not None and not isinstance(image, str) and not name.startswith("_"):
                    return name
        return f"the image of {getattr(environment, 'name', 'its environment')}"

    def _namespaces(self, file: Path | None, environment: object) -> Iterator[Mapping[str, object]]:
        declared = getattr(environment, "_declaring_file", None)
        for place in (Path(declared) if isinstance(declared, str) else None, file):
            module = self._loaded(place) if place is not None else None
            if module is not None:
                yield vars(module)

    def _loaded(self, file: Path) -> types.ModuleType | None:
        local = self._sources.of(file)
        return sys.modules.get(local.name) if local is not None else None

    def _definition(self, environment: object) -> _Definition | None:
        declared = getattr(environment, "_declaring_file", None)
        if not isinstance(declared, str) or not self._sources.owns(Path(declared)):
            return None
        tree = self._sources.tree(Path(declared))
        for node in tree.body if tree is not None else ():
            match node:
                case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call() as call) if _named(
                    call, getattr(environment, "name", None)
                ):
                    known = [k.value for k in call.keywords if k.arg == "depends_on"]
                    names = [ast.unparse(e) for v in known if isinstance(v, ast.List | ast.Tuple) for e in v.elts]
                    images = [k.value for k in call.keywords if k.arg == "image"]
                    image = images[0].id if images and isinstance(images[0], ast.Name) else None
                    return _Definition(variable, Path(declared), node.lineno, tuple(names), image)
                case _:
                    continue
        return None

    # -- constraint 1 ------------------------------------------------------------------------------

    def depends_on(self, caller: object, callee: object) -> str:
        """The ``depends_on`` that the caller's environment should have."""
        here = self._definition(_environment(caller))
        target = _environment(callee)
        there = self._definition(target)
        known = self._loaded(here.file) if here is not None else None
        name = _variable(vars(known), target) if known is not None else None
        before = ""
        if name is None:
            local = self._sources.of(there.file) if there is not None else None
            if there is not None and local is not None:
                name = there.variable
                before = f"`from {local.name} import {name}`, and "
            else:
                name = getattr(target, "name", "the callee's environment")
        if here is None:
            return f"add {name} to the `depends_on` of {getattr(_environment(caller), 'name', 'its environment')}"
        listed = ", ".join([*here.depends_on, name])
        return f"in {self._sources.show(here.file)}:{here.line}: {before}`{here.variable}` with `depends_on=[{listed}]`"

    # -- constraint 2 ------------------------------------------------------------------------------

    def requirement(
        self, caller: object, callee: object | None, recipe: Recipe | None, wheel: LockedWheel | None, module: str
    ) -> str:
        """How the image of ``caller``'s environment gets ``wheel``, which ``callee``'s recipe asks for."""
        if wheel is None and (own := self._own_code(module.partition(".")[0])) is not None:
            folder = os.path.relpath(own.parent, self._sources.root)
            if any(own.is_relative_to(edited) for edited in self._edited()):
                return (
                    f"`{own.stem}` is the project's own, in {folder}, which its uv project edits in place: give "
                    "`--root` the folder above both, with that one on PYTHONPATH (or installed by `uv sync`)"
                )
            return f"`{own.stem}` is the project's own, in {folder}: start imports at or above it (`--root`)"
        if wheel is None:
            return f"add the distribution that has `{module}` to {self._written(caller, '…')}"
        packages, source = self._packages(callee, recipe, wheel)
        away = ", or call the task remotely (`flyte.remote.Task.get`)" if callee is not None else ""
        return f"add it: {self._written(caller, packages)}{source}{away}"

    def _edited(self) -> list[Path]:
        """The folders of local packages that the nearest uv project names by path (``[tool.uv.sources]``)."""
        for folder in (self._sources.root, *self._sources.root.parents):
            try:
                document = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
                sources = document["tool"]["uv"]["sources"]
                paths = [entry["path"] for entry in sources.values() if isinstance(entry, dict) and "path" in entry]
                return [Path(os.path.normpath(folder / path)) for path in paths]
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                break
        return []

    def _own_code(self, name: str) -> Path | None:
        """The package or module ``name`` of the project's, where it lies outside of what its imports start from."""
        for folder in (*self._edited(), self._sources.root, *self._sources.root.parents):
            for place in (folder, folder / "src"):
                for found in (place / name / "__init__.py", place / f"{name}.py"):
                    if found.is_file():
                        return found.parent if found.name == "__init__.py" else found
            if (folder / ".git").exists() or (folder / "pyproject.toml").exists():
                break
        return None

    def _written(self, template: object, packages: str) -> str:
        """The image's assignment with ``packages`` added."""
        environment = _environment(template)
        image = getattr(environment, "image", None)
        declared = getattr(environment, "_declaring_file", None)
        if declared and image is not None and self._sources.owns(Path(declared)):
            module, tree = self._loaded(Path(declared)), self._sources.tree(Path(declared))
            for node in tree.body if tree is not None and module is not None else ():
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)], value=value) if vars(module).get(name) is image:
                        return f"`{name} = {ast.unparse(value)}.with_pip_packages({packages})`"
                    case _:
                        continue
        return f"`.with_pip_packages({packages})` on {self.image_of(template, None)}"

    def _packages(self, callee: object | None, recipe: Recipe | None, wheel: LockedWheel) -> tuple[str, str]:
        """The arguments, and where a name among them is to be imported from."""
        steps = recipe.pip_steps if recipe is not None else ()
        if not 0 < wheel.step <= len(steps):
            return f'"{wheel.name}"', ""
        asked = steps[wheel.step - 1].requirements
        function = getattr(callee, "func", None)
        module = sys.modules.get(getattr(function, "__module__", "") or "")
        for name, value in vars(module).items() if module is not None else ():
            if isinstance(value, list | tuple) and value and _names(value) == _names(asked) and name.isidentifier():
                assert module is not None
                return f"*{name}", f" (`from {module.__name__} import {name}`)"
        own = [r for r in asked if _names([r]) == {wheel.name}]
        return ", ".join(f'"{r}"' for r in own or [wheel.name]), ""


def _environment(template: object) -> object:
    parent = getattr(template, "parent_env", None)
    return parent() if callable(parent) else None


def _variable(names: Mapping[str, object], environment: object) -> str | None:
    for name, value in names.items():
        if value is environment and environment is not None:
            return name
    for name, value in names.items():
        if isinstance(value, types.ModuleType) and environment is not None:
            for inner, found in vars(value).items():
                if found is environment:
                    return f"{name}.{inner}"
    return None


def _named(call: ast.Call, name: object) -> bool:
    given = [k.value for k in call.keywords if k.arg == "name"] + call.args[:1]
    return any(isinstance(g, ast.Constant) and g.value == name for g in given)


def _names(requirements: Sequence[object]) -> set[str]:
    out: set[str] = set()
    for text in requirements:
        try:
            out.add(canonicalize_name(Requirement(str(text)).name))
        except InvalidRequirement:
            return set()
    return out
