"""``build``, ``push`` and ``load``: one verb each, and what came of it, printed in the form that was asked for."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernel.errors import InputError
from ..kernel.paths import shown as named
from ..kernel.values import dataclass
from .completion import OUTPUT_FORMS
from .noop import question

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..planning.plan import Plan
    from ..planning.recording import Recording
    from ..remote.publishing import PushedImage
    from ..store.built import BuiltImage
    from ..workbench import Images, Workbench
    from ..workbench.as_read import Meant
    from ..workbench.following import Follower

__all__ = ["Shown", "Watched", "made", "made_or_taken"]


@dataclass(frozen=True, slots=True)
class Shown:
    """How the result is printed. ``pushed`` and ``loaded``: what was asked for besides building."""

    as_json: bool
    quiet: bool
    pushed: bool = False
    loaded: bool = False

    @property
    def silent(self) -> bool:
        """Whether progress and plans would be in the way."""
        return self.quiet or self.as_json


class Watched:
    """Shows the plan on standard error, and ends the ``watching`` of what it depends on before anything is made."""

    def __init__(self, silent: bool, watching: ExitStack, record: Recording | None = None) -> None:
        self._silent, self._watching, self._record = silent, watching, record

    def planned(self, plan: Plan) -> None:
        # Where the store has all, the result says so, and nothing is said twice.
        if not (self._silent or plan.cached):
            from .plan_table import show

            show(plan, to_stderr=True)

    def making(self) -> None:
        self._watching.close()
        if self._record is not None:  # meanwhile, as much of what comes is waiting
            self._record.prepare()


def made(
    shown: Shown,
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    verb: Callable[[Workbench, Follower], Images],
    meant: Meant,
    *,
    recorded: bool = False,
) -> None:
    """Take or open the project, of which this is ``meant``, call ``verb``, print what came of it. ``recorded``: an
    answer that may be given again is kept for as long as nothing changes."""
    from ..kernel.allocating import frugal
    from .taking import Taking

    frugal()
    taking = Taking(file, root, lockfiles, meant)
    # Watched, so that the same command is answered from the record while nothing changes (`cli.noop`).
    with ExitStack() as watching:
        bench, record = taking.watched(watching, quiet=shown.silent)
        images = verb(bench, Watched(shown.silent, watching, record))
    text = text_of(shown, images)
    sys.stdout.write(text)
    sys.stdout.flush()
    taking.keep(bench, record)
    if recorded and images.plan is not None and images.plan.cached and (not shown.pushed or images.again is not None):
        asked = {"again": dict(images.again)} if images.again is not None else {}
        # Of a push that sent something the next one's answer is known, too: that there is nothing to send.
        told = text_of(shown, images.repeated) if shown.pushed else text
        record.save(question(sys.argv[1:]), {"stdout": told, "used": images.used, **asked})


def made_or_taken(
    shown: Shown,
    file: Path | None,
    root: Path | None,
    lockfiles: Path | None,
    name: str | None,
    verb: Callable[[Workbench, Follower], Images],
    take: Callable[[], Images],
    meant: Meant,
) -> None:
    """:func:`made`, a push on record, or ``take`` where FILE is a layout that something else made (``oci:DIR``)."""
    from ..workbench.layouts import is_layout

    if file is not None and is_layout(file):
        sys.stdout.write(text_of(shown, take()))
    elif name is not None:
        raise InputError("--name is for a layout (oci:DIR): a file's environments have names")
    else:
        made(shown, file, root, lockfiles, verb, meant, recorded=shown.pushed)


def text_of(shown: Shown, images: Images) -> str:
    """What is printed about it."""
    from .console import stdout
    from .results import show_built, show_loaded, show_pushed

    with stdout().capture() as printed:
        if shown.as_json:
            stdout().print(json.dumps(_document(shown, images), indent=2), markup=False, soft_wrap=True)
        elif shown.quiet:
            lines = [f"{p.environment} {p.reference}" for p in images.pushed] or [
                f"{i.environment} {i.manifest_digest}" for i in images.built
            ]
            for line in lines:
                stdout().print(line, markup=False, soft_wrap=True)
        else:
            if not images.pushed:
                show_built(images.built, images.seconds)
            if images.written is not None:
                form = OUTPUT_FORMS[images.written.kind]
                stdout().print(f"written to {named(images.written.path)} ({form})", markup=False, soft_wrap=True)
            show_loaded(images.loaded)
            show_pushed(images.pushed, images.seconds)
            for image in images.indexed:
                stdout().print(f"with a SOCI index: {image.reference}", markup=False, soft_wrap=True)
    return printed.get()


def _document(shown: Shown, images: Images) -> dict[str, Any]:
    document: dict[str, Any] = {"schema": 1, "images": [_image(image) for image in images.built]}
    if shown.pushed:
        document["pushed"] = [_pushed(image) for image in images.pushed]
        if images.indexed:
            document["soci"] = [_pushed(image) for image in images.indexed]
    if shown.loaded:
        document["loaded"] = [
            {
                "environment": i.environment,
                "platform": i.platform,
                "name": i.name,
                "id": i.id,
                "digest": i.digest,
                "reused": i.reused,
                "sent": i.sent,
            }
            for i in images.loaded
        ]
    return document


def _image(image: BuiltImage) -> dict[str, Any]:
    return {
        "environment": image.environment,
        "platform": image.platform,
        "digest": image.manifest_digest,
        "size": image.size,
        "reused": image.reused,
        "local": image.local,
        "layers_built": sum(not x.reused and not x.pulled for x in image.layers),
        "layers_pulled": sum(x.pulled for x in image.layers),
        "seconds": round(image.seconds, 3),
    }


def _pushed(image: PushedImage) -> dict[str, Any]:
    return {
        "environment": image.environment,
        "reference": image.reference,
        "digest": image.digest,
        "platforms": dict(image.platforms),
        "tags": list(image.tags),
        "uploaded_bytes": image.uploaded,
        "mounted_bytes": image.mounted,
        "existing_bytes": image.existing,
    }
