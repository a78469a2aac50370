"""``flyte_build.pin(env)``: a script's environments get their images by digest, before the SDK acts on them.

    if __name__ == "__main__":
        flyte.init_from_config()
        with flyte_build.pinned(main):
            flyte.run(main, "AAGGTTCCAA")

Works on the objects of this process, default and unmodified images included, and follows ``depends_on``: nothing is
imported anew, so it does not matter that the script's module is called ``__main__``. What a pin replaces is public:
the ``image`` of an environment and of its tasks. Never loads a file, never talks to Flyte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ..kernel.errors import FlyteBuildError, InputError
from ..kernel.reporting import Reporter
from ..project import session
from ..project.environments import environment_of, live_environments
from .objects import Pins, pin_objects, place_of

__all__ = ["pin", "pinned"]


def pin(
    *objects: object,
    root: Path | str | None = None,
    registry: str | None = None,
    push: bool = True,
    mode: Literal["auto", "remote", "local"] = "auto",
    locked: bool | None = None,
    reporter: Reporter | None = None,
) -> Mapping[str, str]:
    """Build and push the images of ``objects`` and all they depend on, and put their digests in their places.

    ``objects``: environments and tasks. ``root``: what relative paths in images start from (default: the script's
    folder); ``registry``: where to push (default: the configuration's, see docs/flyte.md). Without ``push`` the images
    are built, and named as if they were there: for dry runs. ``mode`` as ``flyte.with_runcontext`` has it: with
    ``local`` nothing happens, and ``auto`` is local where ``flyte.init`` was called without an endpoint. ``locked``:
    never write a lock (default: ``$FLYTE_BUILD_LOCKED``).

    Gives environment → ``repository@sha256:…``. Raises :class:`FlyteBuildError`; then no image was replaced.
    """
    try:
        return _pin(objects, root, registry, push, mode, locked, reporter).references
    except FlyteBuildError as e:
        raise _told(e) from None


@contextmanager
def pinned(
    *objects: object,
    root: Path | str | None = None,
    registry: str | None = None,
    push: bool = True,
    mode: Literal["auto", "remote", "local"] = "auto",
    locked: bool | None = None,
    reporter: Reporter | None = None,
) -> Iterator[Mapping[str, str]]:
    """As :func:`pin`, for the time of a ``with`` block: after it, environments have the images that they had before."""
    try:
        made = _pin(objects, root, registry, push, mode, locked, reporter)
    except FlyteBuildError as e:
        raise _told(e) from None
    try:
        yield made.references
    finally:
        made.restore()


def _told(error: FlyteBuildError) -> FlyteBuildError:
    """The error with all that it has to say in its text, which the SDK's hook for tracebacks shows, and with none of
    our own frames."""
    parts = [error.message, error.detail, f"hint: {error.hint}" if error.hint else None]
    error.args = ("\n".join(part for part in parts if part),)
    return error.with_traceback(None)


def _pin(
    objects: Sequence[object],
    root: Path | str | None,
    registry: str | None,
    push: bool,
    mode: str,
    locked: bool | None,
    reporter: Reporter | None,
) -> Pins:
    if not objects or any(environment_of(value) is None for value in objects):
        raise InputError(
            "pin: expected environments or tasks, found " + (", ".join(type(o).__name__ for o in objects) or "nothing"),
            hint="give it what you give to `flyte.run` or `flyte.deploy`",
        )
    if mode not in ("auto", "remote", "local"):
        raise InputError(f"pin: mode: expected auto, remote or local, found `{mode}`")
    reporter = reporter or _reporter()
    if mode == "local" or (mode == "auto" and session.runs_here()):
        if mode == "auto":
            reporter.note("flyte has no endpoint, so it runs here: nothing is built, pushed or pinned")
        return Pins({})
    place = place_of(live_environments(objects).values(), Path(root) if root is not None else None)
    names = session.image_references()
    return pin_objects(objects, place, reporter, registry=registry, push=push, locked=locked, references=names)


def _reporter() -> Reporter:
    from ..cli.progress import make_reporter

    return make_reporter()
