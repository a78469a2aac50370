"""``build`` and ``push``: plan, check, make, deliver, in this order, and print what came of it.

Parses nothing and decides nothing; the pipeline does the work.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..kernel.errors import InputError
from .completion import OUTPUT_FORMS
from .noop import question
from .options import configured, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..delivery.destination import Destination
    from ..delivery.engines import LoadedImage
    from ..remote.publishing import PushedImage
    from ..store.built import BuiltImage

__all__ = ["Asked", "Made", "made_or_taken", "make", "text_of"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line. ``registry``: ``None`` pushes nowhere, ``""`` where the settings say."""

    file: Path
    task: str | None
    env: tuple[str, ...]
    platform: str | None
    root: Path | None
    lockfiles: Path | None
    jobs: int | None = None
    locked: bool = False
    unchecked: bool = False
    as_json: bool = False
    quiet: bool = False
    output: str | None = None
    load: str | None = None
    registry: str | None = None
    tags: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    attest: bool = True


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it."""

    built: Sequence[BuiltImage]
    pushed: Sequence[PushedImage]
    loaded: Sequence[LoadedImage]
    written: Destination | None
    seconds: float


def made_or_taken(asked: Asked, name: str | None, take: Callable[[Asked, str | None], None]) -> None:
    """:func:`make`, or ``take`` where FILE is a layout that something else made (``oci:DIR``); its ``name``."""
    from ..delivery.adopting import is_layout

    if is_layout(asked.file):
        take(asked, name)
    elif name is not None:
        raise InputError("--name is for a layout (oci:DIR): a file's environments have names")
    else:
        make(asked)


def make(asked: Asked) -> None:
    """Do what was asked, and print the result on standard output. Raises what the parts raise."""
    destination = None
    if asked.output is not None:
        from ..delivery.destination import parse_destination

        destination = parse_destination(asked.output)
    started = time.monotonic()
    from ..planning.watching import recording

    with ExitStack() as stack:
        # Watched, so that the same command is answered from the record while nothing changes (`planning.noop`).
        with recording(asked.root or asked.file.absolute().parent) as record:
            from ..planning.checks import find, refuse
            from ..planning.images import plan_images, pushed_platforms
            from ..remote.connecting import connected
            from ..store import Store
            from .plan_table import show
            from .progress import make_reporter

            workspace = opened(asked.file, asked.root, asked.lockfiles)
            settings = configured(workspace, caches=asked.caches, registry=asked.registry)
            environments = workspace.select(asked.task, asked.env)
            store = Store()
            reporter = make_reporter(asked.quiet or asked.as_json)
            shared = stack.enter_context(connected(settings, reporter))
            pushing = asked.registry is not None
            platforms = pushed_platforms(environments, asked.platform, settings.platforms) if pushing else None
            plan = plan_images(workspace, environments, store, asked.platform, shared, platforms=platforms)
            if not asked.as_json and not asked.quiet:
                show(plan, to_stderr=True)
            if not asked.unchecked:
                found = find(workspace, environments, store, platform=asked.platform, reporter=reporter, shared=shared)
                refuse(found)
        pushed: list[PushedImage] = []
        loaded: list[LoadedImage] = []
        if pushing:
            from ..workbench.pipeline import push_plan

            built, pushed = push_plan(
                workspace,
                plan,
                store,
                settings,
                reporter,
                shared,
                tags=asked.tags,
                jobs=asked.jobs,
                local=destination is not None or asked.load is not None,
                locked=asked.locked,
                attest=asked.attest,
            )
        else:
            from ..building.images import build_plan
            from ..building.pins import check_pins, check_planned, record_pins

            if asked.locked:
                check_planned(workspace, [image.derivation for image in plan.images], store)
            built = build_plan(workspace, plan, store, reporter, asked.jobs, shared)
            check_pins(workspace, built, strict=asked.locked, store=store)
            if not asked.locked:
                record_pins(workspace, built, reporter)
        if destination is not None:
            from ..delivery.destination import deliver

            deliver(store, built, destination, reporter)
        if asked.load is not None:
            from ..delivery.daemons import load

            loaded = load(store, built, asked.load, reporter)
    text = text_of(asked, Made(built, pushed, loaded, destination, time.monotonic() - started))
    sys.stdout.write(text)
    sys.stdout.flush()
    if destination is None and asked.load is None and not pushing and plan.cached:
        used = [str(store.used_path(image.derivation)) for image in built]
        record.save(question(sys.argv[1:]), {"stdout": text, "used": used})


def text_of(asked: Asked, made: Made) -> str:
    """What is printed about it, in the form that was asked for."""
    from .console import stdout
    from .results import show_built, show_loaded, show_pushed

    with stdout().capture() as printed:
        if asked.as_json:
            stdout().print(json.dumps(_document(asked, made), indent=2), markup=False, soft_wrap=True)
        elif asked.quiet:
            lines = [f"{p.environment} {p.reference}" for p in made.pushed] or [
                f"{i.environment} {i.manifest_digest}" for i in made.built
            ]
            for line in lines:
                stdout().print(line, markup=False, soft_wrap=True)
        else:
            if not made.pushed:
                show_built(made.built, made.seconds)
            if made.written is not None:
                form = OUTPUT_FORMS[made.written.kind]
                stdout().print(f"written to {made.written.path} ({form})", markup=False, soft_wrap=True)
            show_loaded(made.loaded)
            show_pushed(made.pushed, made.seconds)
    return printed.get()


def _document(asked: Asked, made: Made) -> dict[str, Any]:
    document: dict[str, Any] = {"schema": 1, "images": [_image(image) for image in made.built]}
    if asked.registry is not None:
        document["pushed"] = [_pushed(image) for image in made.pushed]
    if asked.load is not None:
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
            for i in made.loaded
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
