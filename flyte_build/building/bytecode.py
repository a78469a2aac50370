"""Layers of bytecode are made: the image's own interpreter compiles, in a sandbox, what the finished layers hold.

It runs over the layers that it starts from, without a network, and has the modules as data: nothing of them is run.
What comes out is read outside as what a stranger wrote (``assemble.bytecode``). For a platform whose programs this
machine does not run, the same version of the same interpreter for this machine does it, where the lock has that.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from isal import isal_zlib

from ..assemble.blob import Inflate
from ..assemble.errors import AssembleError
from ..assemble.layer import LayerResult, write_layer
from ..deriving.bytecode import interpreter_layers, interpreter_of, source_of
from ..deriving.derivation import derive
from ..deriving.from_lock import recorded_recipe
from ..deriving.nouns import ImageDerivation, LayerDerivation
from ..kernel.emulation import foreign
from ..kernel.errors import ArtifactError, RefusedError, SandboxError
from ..kernel.layer_tar import BadLayer, LayerTar, most_inflated
from ..kernel.platforms import host_platform
from ..kernel.reporting import Reporter
from ..locks.nouns import Lock
from ..locks.seals import CONFIGURED
from ..native.blob import write_blob as native_blob
from ..store import LayerRealisation, Session
from .step_logs import log_of

if TYPE_CHECKING:
    from ..sealing import Below

__all__ = ["Hosts", "Wanted", "compile_layers", "hosts_of", "wanted_of"]

Hosts: TypeAlias = Callable[[ImageDerivation], Sequence[LayerDerivation]]
"""An image → the layers of the same interpreter for this machine; none where its lock has none."""

_OUT = "build/out"
_BLOCK = 1 << 20


class Wanted:
    """A layer of bytecode that is to be made: ``of`` its modules' layer, ``over`` those that its interpreter needs."""

    def __init__(self, layer: LayerDerivation, of: LayerDerivation, over: Sequence[LayerDerivation]) -> None:
        self.layer, self.of, self.over = layer, of, tuple(over)

    @property
    def needs(self) -> tuple[LayerDerivation, ...]:
        """What has to be on the disk before."""
        return (self.of, *self.over)


def hosts_of(locks: Mapping[str, Lock]) -> Hosts:
    """By the locks of a project: another platform's interpreter, where it is the same version."""

    def hosts(image: ImageDerivation) -> Sequence[LayerDerivation]:
        lock, here = locks[image.environment], host_platform()
        part, own = lock.platforms.get(here), lock.platforms[image.platform]
        recipe = recorded_recipe(lock)
        if part is None or interpreter_of(part, str(recipe.python)) != interpreter_of(own, str(recipe.python)):
            return ()
        return interpreter_layers(derive(lock, recipe, here, below=CONFIGURED).layers)

    return hosts


def wanted_of(layer: LayerDerivation, image: ImageDerivation, hosts: Hosts | None) -> Wanted:
    """What it takes to make ``layer`` of ``image``. Raises :class:`RefusedError` where nothing here can compile it."""
    source = source_of(layer.spec).hash
    of = next(x for x in image.layers if x.hash == source)
    over: Sequence[LayerDerivation] = interpreter_layers(image.layers)
    if (here := foreign(image.platform)) is not None:
        over = hosts(image) if hosts is not None else ()
        if not over:
            raise RefusedError(
                f"{image.environment} on {image.platform}: its modules are compiled by Python {layer.spec['by']}, and "
                f"this machine ({here}) runs none: the lock has no {here} with the same version",
                hint=f"lock for {here}, too, build on a machine for {image.platform}, take the layers from a shared "
                'cache, or set `bytecode = "none"`',
            )
    return Wanted(layer, of, over)


def compile_layers(
    wanted: Sequence[Wanted], made: Mapping[str, LayerResult], session: Session, reporter: Reporter
) -> dict[str, LayerResult]:
    """Make the layers, whose needs are all in the store; ``made`` has these by derivation.

    Raises :class:`SandboxError` where this machine has no sandbox, :class:`SealError` where the interpreter fails.
    """
    groups: dict[tuple[str, ...], list[Wanted]] = {}
    for one in wanted:
        groups.setdefault(tuple(x.hash for x in one.over), []).append(one)
    found: dict[str, LayerResult] = {}
    for group in groups.values():
        with ExitStack() as stack:
            for derivation in sorted(x.layer.hash for x in group):
                stack.enter_context(session.making(derivation))
            found |= _group(group, made, session, reporter)
    return found


def _group(
    group: Sequence[Wanted], made: Mapping[str, LayerResult], session: Session, reporter: Reporter
) -> dict[str, LayerResult]:
    """Layers that one interpreter compiles, in one sandbox."""
    from ..sealing import Below, Step, seal

    store, first = session.store, group[0]
    over = [Below(store.blob_path(made[x.hash].digest), made[x.hash].diff_id) for x in first.over]
    given, folder = session.temporary("given"), session.temporary("compiled")
    python = _program(first.over)
    commands = []
    for number, one in enumerate(group):
        folders = " ".join(cast("Sequence[str]", one.layer.spec["folders"]))
        script = f"/build/compiling.py /build/{number}.tar /{_OUT}/{number}"
        commands.append(f"{python} -I -S -B {script} {folders}")
    below = [*over, _given(given, [store.blob_path(made[x.of.hash].digest) for x in group])]
    step = Step("compile modules", tuple(commands), {"PATH": "/usr/bin:/bin"}, "/", "none")
    try:
        log = log_of("bytecode", -1, first.layer.hash)
        outcome = seal(step, below, folder, log, reporter, twice=False)
        files = _files(outcome.layer, session)
        return {one.layer.hash: _written(one, files[str(n)], session, reporter) for n, one in enumerate(group)}
    except SandboxError as e:
        ways = 'take the layers from a shared cache, or set `bytecode = "none"`'
        hint = f"{e.hint}; or {ways}" if e.hint else ways
        raise SandboxError(f"modules cannot be compiled here: {e.message}", hint=hint) from None
    finally:
        given.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _program(over: Sequence[LayerDerivation]) -> str:
    """The interpreter, by its path in the image."""
    system = next(x.spec for x in over if x.kind == "system")
    return str(system.get("interpreter", f"/usr/bin/python{system['python']}"))


def _given(out: Path, blobs: Sequence[Path]) -> Below:
    """A layer with the script, and of each blob a tar of its modules."""
    from ..assemble.compiling import __file__ as script
    from ..sealing import Below

    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo(_OUT)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(folder)
        _put(tar, "build/compiling.py", Path(script).read_bytes())
        for number, blob in enumerate(blobs):
            _put(tar, f"build/{number}.tar", _modules(blob))
    with open(out, "rb") as f:
        return Below(out, f"sha256:{hashlib.file_digest(f, 'sha256').hexdigest()}")


def _put(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _modules(blob: Path) -> bytes:
    """What is called like a module in a layer, links included, as a tar."""
    out = io.BytesIO()
    with open(blob, "rb") as raw, tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        try:
            for member, path, content in LayerTar(raw, compressed=True, limit=_limit(blob)).members():
                if path.endswith(".py") and not member.isdir():
                    member.name = path
                    tar.addfile(member, cast(Any, content))
        except BadLayer as e:
            raise ArtifactError(f"{blob.name}: {e}", hint="run `flyte-build store verify`") from None
    return out.getvalue()


def _limit(blob: Path) -> int:
    return most_inflated(os.stat(blob).st_size)


def _files(layer: Path, session: Session) -> dict[str, Path]:
    """What the script wrote, by its number, as files of the session. The tar is ours, what is in them is not."""
    found = {}
    with tarfile.open(layer) as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            content = tar.extractfile(member) if folder == _OUT and member.isreg() else None
            if content is not None and name.isdecimal():
                found[name] = session.temporary("bytecode")
                with open(found[name], "xb") as out:
                    shutil.copyfileobj(content, out, _BLOCK)
    return found


def _written(one: Wanted, compiled: Path, session: Session, reporter: Reporter) -> LayerResult:
    blob = session.temporary("layer")
    try:
        with open(blob, "xb") as out:
            result = write_layer(
                one.layer.spec, _nothing, out, scratch="", inflate=cast(Inflate, isal_zlib), write=native_blob,
                compiled=str(compiled),
            )  # fmt: skip
    except AssembleError as e:
        raise ArtifactError(
            f"{one.layer.title}: {e}", hint="run it again; if it stays, it is a fault of ours"
        ) from None
    finally:
        compiled.unlink()
    for warning in result.warnings:
        reporter.note(warning)
    made = LayerRealisation(result.digest, result.size, result.diff_id, result.diff_size)
    session.put_layer(one.layer.hash, made, result.listing, blob)
    return result


def _nothing(sha256: str) -> str:
    raise AssertionError(f"a layer of bytecode asked for {sha256}")
