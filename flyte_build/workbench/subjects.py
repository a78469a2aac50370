"""What a command line calls A and B → contents. One grammar, decided by form alone, never by what exists.

    sha256:HEX, HEX      an image built here: its derivation's hash or its manifest's digest, or their beginning
    oci:DIR[:REF]        an image of an OCI layout; REF is a name in it, an environment, or sha256:HEX
    FILE.py::ENV         an environment as FILE and its lock say it now, built or not
    REV:PATH.json        a lock file at a git revision; with nothing before the colon, as staged
    PATH.json            a lock file
    store:ENV            the image that was last built here for ENV
    ENV                  FILE::ENV of ``--file FILE``; without that option, store:ENV

A bare HEX has 12 digits or more, as ``plan`` prints. Nothing is fetched, built or written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..diffing.comparison import Difference, difference
from ..diffing.contents import Contents, of_derivation
from ..diffing.layouts import choose, read_image
from ..diffing.locked import of_lock
from ..diffing.revisions import at_revision
from ..diffing.stored import by_hash, held_layers, read_derivation, read_named
from ..kernel.errors import InputError, LoadError, RefusedError
from ..locks.lockfile import Lock, parse
from ..store import Store

__all__ = ["Context", "Subject", "compare", "parse_subject", "read_subject", "read_subjects"]

Kind = Literal["hash", "oci", "environment", "revision", "lock", "built"]

_FORMS = """\
sha256:HEX     an image built here, by its derivation's hash or manifest's digest, or their beginning
oci:DIR[:REF]  an image of an OCI layout
FILE.py::ENV   an environment as FILE and its lock say it now
REV:PATH.json  a lock file at a git revision
PATH.json      a lock file
store:ENV      the image last built here for ENV
ENV            FILE::ENV with --file FILE, else store:ENV"""
_NAME = re.compile(r"\w[\w.-]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HASH = re.compile(r"sha256:[0-9a-f]{4,64}|[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class Subject:
    """A parsed subject: ``place`` is a path, a digest's beginning or nothing, ``name`` an environment, a reference or a
    revision."""

    kind: Kind
    text: str
    place: str = ""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a subject is read with. ``platform``: the one asked for, ``None`` for this machine's or the only one there
    is. ``root`` and ``lockfiles`` as for every command that takes a file."""

    store: Store
    platform: str | None = None
    root: Path | None = None
    lockfiles: Path | None = None


def parse_subject(text: str, file: Path | None = None) -> Subject:
    """The subject that ``text`` means; ``file`` is that of ``--file``. Raises :class:`InputError` with all forms."""
    if _HASH.fullmatch(text):
        return Subject("hash", text, text if text.startswith("sha256:") else f"sha256:{text}")
    scheme, _, rest = text.partition(":")
    if scheme == "sha256":
        raise InputError(f"`{text}`: expected sha256: and 4 to 64 digits in lower case, found `{rest}`")
    if scheme == "oci" and rest:
        folder, _, ref = rest.partition(":")
        if Path(rest).is_dir() or not ref:
            folder, ref = rest.removesuffix(":"), ""
        return Subject("oci", text, folder, ref or None)
    if "::" in text:
        path, _, name = text.rpartition("::")
        if path.endswith(".py") and name:
            return Subject("environment", text, path, name)
    elif text.endswith(".json"):
        revision, colon, path = text.rpartition(":")
        return Subject("revision", text, path, revision) if colon else Subject("lock", text, text)
    elif scheme == "store" and rest:
        return Subject("built", text, name=rest)
    elif _NAME.fullmatch(text) and not text.endswith(".py"):
        return Subject("environment", text, str(file), text) if file is not None else Subject("built", text, name=text)
    raise InputError(f"`{text}`: expected one of the forms below", hint=_hint(text), detail=_FORMS)


def _hint(text: str) -> str:
    if text.endswith(".py"):
        return f"name the environment: `{text}::ENV`"
    if text and Path(text).is_dir():
        return f"did you mean `oci:{text}`?"
    return "`flyte-build diff --help` has examples"


def compare(
    before: str,
    after: str,
    *,
    file: Path | str | None = None,
    platform: str | None = None,
    root: Path | None = None,
    lockfiles: Path | None = None,
    store: Store | None = None,
) -> Difference:
    """What differs between two subjects, each in one of the forms above; ``file`` is the one whose environments a bare
    name means. Raises :class:`InputError` for a form that is none or a subject that is not there."""
    if platform == "all":
        raise InputError("--platform: expected one platform to compare on, found `all`")
    first, second = (parse_subject(text, Path(file) if file is not None else None) for text in (before, after))
    return difference(*read_subjects(first, second, Context(store or Store(), platform, root, lockfiles)))


def read_subjects(before: Subject, after: Subject, context: Context) -> tuple[Contents, Contents]:
    """Read two subjects, as :func:`read_subject` does. Two files may call their modules by the same names."""
    return read_subject(before, context), read_subject(after, context)


def read_subject(subject: Subject, context: Context) -> Contents:
    """Read a subject. Raises :class:`InputError` where it is not there, and what reading its files raises."""
    if subject.kind == "lock":
        return _of_lock(_read_text(Path(subject.place)), subject, context)
    if subject.kind == "revision":
        text = at_revision(Path(subject.place), subject.name or "")
        if text is None:
            raise _not_at_revision(subject)
        return _of_lock(text, subject, context)
    if subject.kind == "environment":
        return _read_environment(subject, context)
    with context.store.reading():
        if subject.kind == "oci":
            return _read_layout(subject, context)
        if subject.kind == "hash":
            return by_hash(context.store, subject.place)
        return read_named(context.store, subject.name or "", context.platform, _here())


def _here() -> str:
    """This machine's platform, and the usual one on a machine that runs no image."""
    from ..kernel.platforms import host_platform

    try:
        return host_platform()
    except RefusedError:
        return "linux/amd64"


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path}: expected a lock file, found nothing",
            hint="locks lie in lockfiles/; `REV:PATH.json` names one that a git revision has",
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path}: expected a lock file that can be read: {e}") from None


def _of_lock(text: str, subject: Subject, context: Context) -> Contents:
    lock = parse(text, Path(subject.text))
    return of_lock(lock, _platform(lock, context.platform), subject.text)


def _platform(lock: Lock, asked: str | None) -> str:
    """The platform asked for, else this machine's where the lock has it, else its first."""
    if asked is not None or not lock.platforms:
        return asked or _here()
    return here if (here := _here()) in lock.platforms else min(lock.platforms)


def _not_at_revision(subject: Subject) -> InputError:
    path = Path(subject.place)
    when = f"revision {subject.name}" if subject.name else "what is staged"
    return InputError(
        f"{path}: expected the file in {when}, found none",
        hint="paths start at the current folder, as in `HEAD:lockfiles/ENV.json`"
        + ("" if path.exists() else f"; there is no {path} here now either"),
    )


def _read_layout(subject: Subject, context: Context) -> Contents:
    folder, store = Path(subject.place), context.store
    chosen = choose(folder, subject.name, context.platform, _here())
    if chosen.derivation is not None and _DIGEST.fullmatch(chosen.derivation):
        # Its index claims a derivation; the store knows whether that became these very bytes.
        made = store.image(chosen.derivation)
        if made is not None and made.manifest == chosen.digest:
            found = read_derivation(store, chosen.derivation, subject.text)
            if found is not None:
                return replace(found, kind="image", identity=chosen.digest)
    return read_image(folder, chosen.digest, subject.text)


def _read_environment(subject: Subject, context: Context) -> Contents:
    """An environment as its file and its lock say it now; what the store has of its layers is known."""
    from .bench import open_project

    workspace = open_project(
        subject.place, root=context.root, lockfiles=context.lockfiles, store=context.store, stand_ins=False
    ).workspace
    have = workspace.project.environments
    name = subject.name or ""
    if name not in have:
        raise LoadError(
            f"{subject.place}: no environment `{name}`; there are: {', '.join(have) or 'none'}",
            hint=None if "::" in subject.text else f"`store:{name}` is the image that was last built for it",
        )
    environment = [have[name]]
    locks = workspace.locks(environment)
    (platform,) = workspace.platforms(environment, context.platform)
    (image,) = workspace.derivations(environment, locks, platform)
    with context.store.reading():
        held = held_layers(context.store, [layer.spec for layer in image.layers], files=True)
    return of_derivation(image, f"{subject.place}::{name}", held)
