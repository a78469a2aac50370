"""Environments and tasks as they live in this process: what is read off the SDK's public objects.

Nothing is imported here, so a script may hand in what it has just defined, whatever its module is called
(``__main__`` included). Part of the SDK's edge, like :mod:`flyte_build.project.loading`; nothing is hashed or built.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import Any

import flyte

from ..kernel.code_strings import made_at
from ..kernel.errors import FlyteBuildError, InputError, LoadError
from ..kernel.pythons import is_threaded
from ..recipe import DebianBase, Known, Recipe
from ..recipe.conventions import LAYER_CEILING, LOWEST_CEILING
from ..settings import Settings, read_settings
from .app_stubs import chosen_by
from .asks import asks_of, task_asks
from .bases import HERE
from .code_bundle import Code
from .distributions import distribution_of
from .images import read_image
from .nouns import AskedSecret, Environment, Project, Task
from .stubs import is_stand_in
from .uv_layers import ASKING

__all__ = ["declaring_file", "environment_of", "live_environments", "of_dockerfile", "read_environments", "reading"]


def live_environments(objects: Iterable[object], root: Path | None = None) -> dict[str, flyte.Environment]:
    """The SDK's own environments that ``objects`` reach through tasks and ``depends_on``, by name, each once.

    What is neither an environment nor a task is passed over. Linear in environments and edges. Raises
    :class:`LoadError`, with files as seen from ``root``, where two of them have one name.
    """
    found: dict[str, flyte.Environment] = {}
    pending = deque(environment for value in objects if (environment := environment_of(value)) is not None)
    while pending:
        environment = pending.popleft()
        other = found.get(environment.name)
        if other is environment:
            continue
        if other is not None:
            raise LoadError(
                f"two environments are called `{environment.name}`: one made in {_made_in(other, root)}, "
                f"one in {_made_in(environment, root)}",
                hint="an environment's name is its identity; rename one of them",
            )
        found[environment.name] = environment
        pending.extend(environment.depends_on)
    return found


def environment_of(value: object) -> flyte.Environment | None:
    """An environment itself, or that of a task; ``None`` for anything else."""
    return value if isinstance(value, flyte.Environment) else _parent_environment(value)


def read_environments(objects: Iterable[object], root: Path, file: Path, code_root: Path | None = None) -> Project:
    """The project that ``objects`` (environments and tasks) reach.

    ``root`` is what relative paths start from, ``file`` what messages name, ``code_root`` what the paths of code in an
    image start from (default: ``root``). Raises :class:`LoadError` where two
    environments have one name; an image that cannot be read is kept as the environment's ``wish``.
    """
    found = live_environments(objects, root)
    settings = read_settings(root)
    wishes = {name: _wish(e, root, settings, code_root or root) for name, e in found.items()}
    environments = {
        name: Environment(
            name=name,
            depends_on=tuple(dict.fromkeys(d.name for d in e.depends_on)),
            location=_made_in(e, root),
            wish=wishes[name],
            secrets=_secrets(e.secrets),
            plain=not getattr(e.image, "_is_cloned", False),
            asks=asks_of(e),
            app=e if hasattr(e, "container_cmd") and hasattr(e, "get_port") else None,
            variables=dict(e.env_vars or {}),
            remark=_remark(e, wishes[name]),
            again=reading(e.image, f"environment {name}", root, settings, e, code_root)
            if of_dockerfile(e.image)
            else None,
        )
        for name, e in found.items()
    }
    return Project(file, root, environments, tuple(t for e in found.values() for t in _tasks(e, root)))


def declaring_file(environment: flyte.Environment) -> Path | None:
    """The user's file that made the environment, as the SDK noted it; where it did not, that of its first task."""
    declared = getattr(environment, "_declaring_file", None)
    if declared is None:
        codes = (_code(t) for t in getattr(environment, "tasks", {}).values() if made_at(t) is None)
        declared = next((code.co_filename for code in codes if code is not None), None)
    return Path(declared).absolute() if declared else None


def _wish(environment: flyte.Environment, root: Path, settings: Settings, code_root: Path) -> Recipe | FlyteBuildError:
    if chosen := chosen_by(environment):
        return LoadError(
            f"environment {environment.name}: {chosen} chooses its image, and is not installed here",
            hint=f"install {distribution_of(chosen)} on this machine, or give the environment an image",
        )
    return reading(environment.image, f"environment {environment.name}", root, settings, environment, code_root)(
        Known()
    )


def reading(
    image: flyte.Image | str | None,
    owner: str,
    root: Path,
    settings: Settings,
    environment: flyte.Environment | None = None,
    code_root: Path | None = None,
) -> Callable[[Known], Recipe | FlyteBuildError]:
    """What reads the image, with what is known of its Dockerfile; a refusal is given, not raised."""

    def read(known: Known) -> Recipe | FlyteBuildError:
        try:
            code = Code(code_root or root, lambda: _files(environment)) if environment is not None else None
            elsewhere = settings.policy == "refuse"
            return as_set(
                read_image(image, owner, root, settings.base, code, elsewhere=elsewhere, known=known), settings
            )
        except FlyteBuildError as e:
            return e

    return read


def of_dockerfile(image: object) -> bool:
    """Whether the image is one of a Dockerfile, of which a lock may know more than it says."""
    return getattr(image, "dockerfile", None) is not None


def as_set(recipe: Recipe, settings: Settings) -> Recipe:
    """``recipe`` with what the settings say of its layers of Python packages."""
    if not recipe.installs:
        return recipe
    threaded = recipe.python is not None and is_threaded(recipe.python)
    ours = isinstance(recipe.base, DebianBase) and recipe.conda is None
    compiled = settings.bytecode == "layer" and ours and not threaded
    return replace(recipe, layer_ceiling=_ceiling(settings), bytecode=compiled)


def _ceiling(settings: Settings) -> int | None:
    """What a recipe says of the bytes of a layer: nothing where they are the default."""
    asked = settings.layer_ceiling
    if asked is not None and asked < LOWEST_CEILING:
        raise InputError(
            f"[tool.flyte-build]: layer-ceiling: expected {LOWEST_CEILING} bytes (16Mi) or more, found {asked}"
        )
    return None if asked == LAYER_CEILING else asked


def _remark(environment: flyte.Environment, wish: Recipe | FlyteBuildError) -> str:
    """That the image's Python is the one that a uv project or script asks for, and not this machine's."""
    image = environment.image
    if not isinstance(image, flyte.Image) or not isinstance(wish, Recipe) or wish.python is None:
        return ""
    if not any(type(one).__name__ in ASKING for one in image._layers):
        return ""
    asked = ".".join(map(str, image.python_version))
    if asked != HERE or wish.python == asked:
        return ""
    return f"{environment.name}: Python {wish.python}, as its uv project or script does not allow this machine's {HERE}"


def _files(environment: flyte.Environment) -> list[Path]:
    """The files that make the environment and its tasks."""
    declared = declaring_file(environment)
    codes = (_code(t) for t in getattr(environment, "tasks", {}).values() if made_at(t) is None)
    found = [*([declared] if declared else []), *(Path(c.co_filename).absolute() for c in codes if c is not None)]
    return list(dict.fromkeys(found))


def _parent_environment(value: object) -> flyte.Environment | None:
    """A task template's environment; tasks hold it as a weak reference that is called."""
    parent = getattr(value, "parent_env", None)
    if parent is None or not callable(parent) or isinstance(value, type) or not hasattr(value, "native_interface"):
        return None
    environment = parent()
    return environment if isinstance(environment, flyte.Environment) else None


def _tasks(environment: flyte.Environment, root: Path) -> Iterator[Task]:
    for template in getattr(environment, "tasks", {}).values():
        if is_stand_in(template):
            continue
        code = _code(template)
        made = made_at(template) or ((code.co_filename, code.co_firstlineno) if code else None)
        location = f"{_below(Path(made[0]), root)}:{made[1]}" if made else environment.name
        full_name = str(template.name)
        yield Task(
            name=full_name.removeprefix(f"{environment.name}."),
            full_name=full_name,
            environment=environment.name,
            location=location,
            doc=_doc(template),
            inputs=dict(template.native_interface.inputs),
            template=template,
            inline=getattr(template, "max_inline_io_bytes", 0) or 0,
            asks=task_asks(template, asks_of(environment)),
        )


def _doc(template: Any) -> str:
    """What it says of itself: its ``docs``, or its function's docstring, or, of code given as text, this."""
    described = getattr(getattr(template, "docs", None), "description", None)
    text = described or getattr(getattr(template, "func", None), "__doc__", None)
    if not text and made_at(template):
        text = getattr(template, "_user_source", None)
    return inspect.cleandoc(str(text or ""))


def _code(template: object) -> CodeType | None:
    function = getattr(template, "func", None)
    return getattr(inspect.unwrap(function), "__code__", None) if function else None


def _secrets(secrets: Any) -> tuple[AskedSecret, ...]:
    """As the SDK puts them into a task: a key alone becomes a variable, and so does a secret without a ``mount``."""
    items = list(secrets) if isinstance(secrets, (list, tuple)) else [secrets] if secrets else []
    return tuple(
        AskedSecret(s, "", s.replace("-", "_").upper())
        if isinstance(s, str)
        else AskedSecret(s.key, s.group or "", None if s.mount is not None else s.as_env_var)
        for s in items
    )


def _made_in(environment: flyte.Environment, root: Path | None = None) -> str:
    file = declaring_file(environment)
    return (_below(file, root) if root else str(file)) if file else "an unknown file"


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
