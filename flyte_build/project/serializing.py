"""A task call → what a run starts from, by the SDK's own serializer. Part of the SDK's edge, like ``loading``.

Nothing is built or sent: the public dry run gives a task specification, its inputs and a code bundle.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flyte

from ..kernel.errors import FlyteBuildError, LoadError
from ..kernel.values import dataclass
from . import session
from .bundling import each_path_once
from .nouns import Project, Task
from .pixi_layers import PIXI

__all__ = ["SerializedTask", "quiet_sdk", "root_action", "search_path", "stored"]


def stored(uri: str, *, folder: bool) -> Any:
    """A ``flyte.io.File`` or ``Dir`` at ``uri``, for an argument that was a local path."""
    from flyte.io import Dir, File

    return Dir(path=uri) if folder else File(path=uri)


@contextlib.contextmanager
def quiet_sdk() -> Iterator[None]:
    """Keep the SDK's own status lines and warnings away from our output."""
    logger = logging.getLogger("flyte")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class SerializedTask:
    """What a run starts from: the SDK's serialized task, its inputs, and the code bundle on disk.

    ``paths`` are the folders of the bundle, relative to its root, that were on the search path here: the members of a
    workspace, say, as an editable install puts them there. ``queue`` is the one that the task names.
    """

    task_spec: bytes
    inputs: bytes
    bundle: Path
    paths: tuple[str, ...] = ()
    queue: str = ""

    @property
    def env(self) -> dict[str, str]:
        """What the SDK's runtime has to know besides, as the SDK's own runs tell it."""
        return {"_F_SYS_PATH": ":".join(f"./{path}" for path in self.paths)} if self.paths else {}


def _refuse_stand_ins(project: Project, task: Task) -> None:
    if not project.stand_ins:
        return
    from .stubs import is_stand_in, stand_ins_in

    config = getattr(task.template, "plugin_config", None)
    if is_stand_in(config):
        raise LoadError(
            f"{task.location}: {task.full_name} cannot be submitted from here: its plug-in is not installed",
            hint=f"install {', '.join(project.to_install)} on this machine, or submit from where that is installed",
        )
    interface = task.template.native_interface
    types = [*(kind for kind, _ in interface.inputs.values()), *interface.outputs.values()]
    missing = sorted({name for kind in types for name in stand_ins_in(kind)})
    if missing:
        raise LoadError(
            f"{task.location}: {task.full_name} cannot be submitted from here: its types need {', '.join(missing)}",
            hint=f"install {', '.join(project.to_install)} on this machine, or submit from where that is installed",
        )


@contextlib.contextmanager
def _without_tag(template: Any) -> Iterator[None]:
    """The SDK's dry run wants a tag of the template's image, and has none for one with ``with_code_bundle()``; that of
    a pixi project it makes of files that it looks for in the current folder only."""
    image = template.image
    layers = getattr(image, "_layers", ())
    if any(type(layer).__name__ in ("CodeBundleLayer", *PIXI) for layer in layers):
        template.image = flyte.Image.from_base("unnamed")
    try:
        yield
    finally:
        template.image = image


def root_action(project: Project, task: Task, arguments: Mapping[str, Any], bundles: Path) -> SerializedTask:
    """Serialize a call of ``task`` as ``flyte.run`` would submit it; nothing is built or sent.

    The code bundle is written into ``bundles``. The public dry run gives a task specification whose image is the
    SDK's own mutable tag: the submitter replaces it by the digest. Raises :class:`LoadError` where the task's own types
    are stand-ins: what a value of them would be is known only where they are installed.
    """
    _refuse_stand_ins(project, task)
    bundles.mkdir(parents=True, exist_ok=True)
    try:
        with session.kept(), quiet_sdk(), each_path_once(), _without_tag(task.template):
            flyte.init(root_dir=project.root, org="local", project="flyte-build", domain="local")
            result: Any = flyte.with_runcontext(mode="remote", dry_run=True, copy_bundle_to=bundles).run(
                task.template, **arguments
            )
    except FlyteBuildError:
        raise
    except Exception as e:
        if isinstance(e, ModuleNotFoundError) and (e.name or "").partition(".")[0] == "kubernetes":
            raise LoadError(
                f"{task.location}: {task.full_name} has a pod template, and the kubernetes package is not "
                "installed here",
                hint="pip install 'flyte-build[kubernetes]'; the images of tasks that call it need `kubernetes`, too",
            ) from e
        raise LoadError(f"{task.location}: {task.full_name} cannot be submitted: {type(e).__name__}: {e}") from e
    bundle = result.code_bundle
    if bundle is None or not bundle.tgz:
        raise LoadError(f"{task.location}: {task.full_name} has no code bundle")
    return SerializedTask(
        task_spec=result.task_spec.SerializeToString(deterministic=True),
        inputs=result.inputs.proto_inputs.SerializeToString(deterministic=True),
        bundle=Path(bundle.tgz),
        paths=search_path(project.root),
        queue=getattr(task.template, "queue", None) or "",
    )


def search_path(root: Path) -> tuple[str, ...]:
    """The entries of ``sys.path`` below ``root``, without installed packages, which are the image's affair."""
    top = root.resolve()
    found = [Path(entry).resolve() for entry in sys.path if entry]
    below = [p.relative_to(top).as_posix() for p in found if p != top and p.is_relative_to(top) and p.is_dir()]
    return tuple(dict.fromkeys(p for p in below if not {"site-packages", "dist-packages"} & set(Path(p).parts)))
