"""Bytecode that an image's own interpreter makes: shared by layer and interpreter, and never with what could lie."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.reporting import Recorder, Silent
from flyte_build.store.sealed import Examiner, seal
from flyte_build.submit import roots as roots_module
from flyte_build.submit.action import ImageRoot
from flyte_build.submit.bytecode import Compiler
from flyte_build.submit.filling import Filling
from flyte_build.submit.imports import RUNTIME
from flyte_build.submit.layers import Layers
from flyte_build.submit.pyc import chained, kept_at, sound_bytecode
from flyte_build.submit.roots import Roots
from flyte_build.submit.sandbox.spec import Engine, Sandbox

from .oci import Made, image

SITE = "usr/lib/python3/dist-packages"
MAGIC = importlib.util.MAGIC_NUMBER
SOURCE = b"x = 1\n"
HASH = importlib.util.source_hash(SOURCE)


@pytest.mark.parametrize(
    ("header", "magic", "sound"),
    [
        (MAGIC + b"\x01\0\0\0" + HASH, MAGIC, True),
        (MAGIC + b"\x01\0\0\0" + bytes(8), MAGIC, False),  # of another source
        (MAGIC + b"\0\0\0\0" + HASH, MAGIC, False),  # dates
        (MAGIC + b"\x03\0\0\0" + HASH, MAGIC, False),  # checked hash
        (b"\1\2\r\n" + b"\x01\0\0\0" + bytes(8), b"\1\2\r\n", True),  # another Python's: its hash is its own
        (b"\1\2\r\n" + b"\x01\0\0\0" + bytes(8), MAGIC, False),
        (b"\1\2\3\4" + b"\x01\0\0\0" + bytes(8), b"\1\2\3\4", False),
        (MAGIC + b"\x01\0\0\0" + HASH[:7], MAGIC, False),
        (b"", b"", False),
    ],
)
def test_headers_are_checked(header: bytes, magic: bytes, sound: bool) -> None:
    assert sound_bytecode(header, magic.hex(), SOURCE) is sound


def _debian_python(extra: list[Made]) -> list[list[Made]]:
    """The host's own Debian Python as a layer, without its bytecode, and one more layer."""
    libraries = subprocess.run(["ldd", "/usr/bin/python3"], capture_output=True, text=True, check=True).stdout
    paths = [word for line in libraries.splitlines() for word in line.split() if word.startswith("/")]
    real = Path("/usr/bin/python3").resolve()
    entries = [Made("usr/bin/python3", real.read_bytes(), 0o755)]
    entries += [Made(path, Path(path).read_bytes(), 0o755) for path in paths]
    standard = Path("/usr/lib") / real.name
    for folder, names, files in os.walk(standard):
        names[:] = [n for n in names if n not in ("__pycache__", "test", "idlelib", "lib2to3", "dist-packages")]
        entries += [Made(p, Path(p).read_bytes()) for p in (f"{folder}/{f}" for f in files) if Path(p).is_file()]
    return [entries, extra]


@pytest.mark.integration
def test_modules_are_compiled_once_for_all_images_of_a_layer(tmp_path: Path, engine: Engine) -> None:
    blobs = tmp_path / "blobs"
    site = "usr/lib/python3/dist-packages"
    good, bad = Made(f"{site}/good.py", b"print('hi')\n"), Made(f"{site}/bad.py", b"print(")
    env = ("PATH=/usr/bin",)
    one = Roots(tmp_path, blobs, engine).get(image(blobs, _debian_python([good, bad]), env=env))
    (made,) = one.root.glob("usr/lib/python3.*/__pycache__/os.*.pyc")
    header = made.read_bytes()[:8]
    assert int.from_bytes(header[4:], "little") == 0b01  # PEP 552: hash-based, not checked
    (compiled,) = (one.root / site / "__pycache__").iterdir()
    assert compiled.name.startswith("good.")
    assert not list((tmp_path / "roots").glob("*.partial"))
    assert not list((one.root / "tmp").iterdir())

    other = image(blobs, _debian_python([Made(f"{site}/good.py", b"print('other')\n")]), env=env)
    two = Roots(tmp_path, blobs, engine).get(other)
    again = two.root / made.relative_to(one.root)
    assert again.samefile(made)  # the shared layer's
    (different,) = (two.root / site / "__pycache__").iterdir()
    assert b"other" in different.read_bytes()


def test_what_another_image_had_made_of_all_that_is_wanted_starts_no_interpreter(tmp_path: Path) -> None:
    layers = [tmp_path / "layers" / (letter * 64) for letter in "abc"]
    none: Any = None
    compiler = Compiler(none, tmp_path, "/bin/python3", layers, none, tmp_path, Silent())
    wanted = [(layers[0], ["/lib/one.py"]), (layers[1], []), (layers[2], ["/lib/two.py"])]

    def make(layer: Path, module: str, count: int) -> str:
        chain = compiler._chain(count)
        path = kept_at(chained(layer, chain), module, "tag")
        path.parent.mkdir(parents=True)
        path.touch()
        return chain

    assert compiler._all_made(wanted, "tag", 1) is None
    make(layers[0], "/lib/one.py", 2)
    whole = make(layers[0], "/lib/one.py", 3)
    assert compiler._all_made(wanted, "tag", 1) is None, "the other one is lacking"
    make(layers[2], "/lib/two.py", 3)
    assert compiler._all_made(wanted, "tag", 1) == whole
    shorter = make(layers[2], "/lib/two.py", 2)
    assert compiler._all_made(wanted, "tag", 1) == shorter
    assert compiler._all_made(wanted, "tag", 3) == whole, "an interpreter of fewer layers lacks something"
    assert compiler._all_made(wanted, "other", 1) is None


# From then on everything is compiled to the same lie.
HOSTILE = b"""
import builtins
honest = builtins.compile
builtins.compile = lambda source, path, *more, **options: honest("'planted'", path, "exec")
"""


def _bytecode(root: ImageRoot, name: str) -> bytes:
    (found,) = (root.root / SITE / "__pycache__").glob(f"{name}.*.pyc")
    return found.read_bytes()


@pytest.mark.integration
@pytest.mark.parametrize("module", ["contextlib.py", "marshal.py", "importlib/util.py", "collections/__init__.py"])
def test_a_hostile_interpreter_gives_nothing_to_other_images(tmp_path: Path, engine: Engine, module: str) -> None:
    """Two images share Python and a wheel; the one that is compiled first replaces part of the standard library."""
    blobs, env = tmp_path / "blobs", ("PATH=/usr/bin",)
    python, wheel = _debian_python([Made(f"{SITE}/good.py", b"'good'\n")])
    standard = Path("/usr/lib") / Path("/usr/bin/python3").resolve().name
    real = Path("/", standard, module)
    evil = [Made(f"{standard}/{module}", (real.read_bytes() if real.exists() else b"") + HOSTILE)]
    hostile = Roots(tmp_path, blobs, engine, imports=["good"]).get(image(blobs, [python, wheel, evil], env=env))
    if module == "contextlib.py":
        assert b"planted" in _bytecode(hostile, "good")  # it lies to itself
    honest = Roots(tmp_path, blobs, engine, imports=["good"]).get(image(blobs, [python, wheel], env=env))
    assert b"planted" not in _bytecode(honest, "good")
    assert b"good" in _bytecode(honest, "good")
    for made in honest.root.rglob("*.pyc"):
        assert b"planted" not in made.read_bytes(), made


@pytest.mark.integration
def test_bytecode_that_was_changed_is_made_again(tmp_path: Path, engine: Engine) -> None:
    blobs, env = tmp_path / "blobs", ("PATH=/usr/bin",)
    python, wheel = _debian_python([Made(f"{SITE}/good.py", b"'good'\n")])
    Roots(tmp_path, blobs, engine, imports=["good"]).get(image(blobs, [python, wheel], env=env))
    (kept,) = (tmp_path / "layers").glob(f"*.*/{SITE}/__pycache__/good.*.pyc")
    data = kept.read_bytes()
    times = kept.stat()
    kept.write_bytes(data.replace(b"good", b"evil"))
    os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))  # a look would not show it
    another = image(blobs, [python, wheel, [Made("more", b"")]], env=env)
    other = Roots(tmp_path, blobs, engine, imports=["good"]).get(another)
    assert _bytecode(other, "good") == data


def _compiled(root: ImageRoot) -> set[str]:
    return {path.name.partition(".")[0] for path in (root.root / SITE).glob("__pycache__/*.pyc")}


@pytest.mark.integration
def test_only_what_is_about_to_be_imported_is_compiled(tmp_path: Path, engine: Engine) -> None:
    """And more of it when another run imports more, in the same root, unless somebody runs in it."""
    blobs, said = tmp_path / "blobs", Recorder()
    site = {"one.py": b"import two\n", "two.py": b"", "three.py": b"", "four.py": b""}
    digest = image(blobs, _debian_python([Made(f"{SITE}/{n}", d) for n, d in site.items()]), env=("PATH=/usr/bin",))

    def roots(*imports: str) -> Roots:
        return Roots(tmp_path, blobs, engine, said, imports=imports)

    first = roots("one")
    root = first.get(digest)
    assert _compiled(root) == {"one", "two"}
    roots("three").get(digest)
    assert _compiled(root) == {"one", "two"}  # `first` is there
    del first
    before = (root.root / SITE / "one.py").stat().st_ino
    roots("three", "one").get(digest)
    assert _compiled(root) == {"one", "two", "three"}
    assert (root.root / SITE / "one.py").stat().st_ino == before  # it was not unpacked again
    said.titles.clear()
    assert not Examiner().look(root.root, digest, full=True)
    roots("two", "three").get(digest)
    assert said.titles == []
    assert said.warnings == []


@pytest.mark.integration
def test_a_run_may_begin_before_anything_is_compiled(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is done beside what the run does, and put into the root after it; the next image of the layers has it."""
    # On a busy machine the root is not there sooner than compiling would begin without it.
    monkeypatch.setattr(roots_module, "_PATIENCE", 600.0)
    blobs, env = tmp_path / "blobs", ("PATH=/usr/bin",)
    layers = _debian_python([Made(f"{SITE}/one.py", b"import two\n"), Made(f"{SITE}/two.py", b"")])
    digest, other = image(blobs, layers, env=env), image(blobs, [*layers, [Made("more", b"")]], env=env)

    def roots(*imports: str) -> Roots:
        return Roots(tmp_path, blobs, engine, imports=imports, later=True)

    first = roots("one")
    with first.ahead([]):
        root = first.get(digest)
        assert _compiled(root) == set()
    assert _compiled(root) == {"one", "two"}
    assert not Examiner().look(root.root, digest, full=True)
    first = roots("one")
    assert _compiled(first.get(other)) == {"one", "two"}
    with first.ahead([digest]):
        assert _compiled(root) == {"one", "two"}
    assert (tmp_path / "roots" / f"{digest[7:]}.compiled").is_file()


class Sleeping:
    """An engine whose sandboxes never end."""

    name = "sleeping"

    def command(self, box: Sandbox, seccomp: int | None = None) -> Sequence[str]:
        return ["sleep", "600"]


def test_what_nobody_wants_any_more_is_ended(tmp_path: Path) -> None:
    """And nothing is said of a Python that was not waited for."""
    said, layer = Recorder(), tmp_path / ("a" * 64)
    layer.mkdir()
    wanted = iter([False, False])

    def left() -> bool:
        return next(wanted, True)

    compiler = Compiler(Sleeping(), tmp_path, "/python", [layer], nullcontext, tmp_path, said, left=left)  # type: ignore[arg-type]
    assert compiler.make() is None
    assert said.warnings == []


class Entered:
    """An engine by name: nothing is run by it."""

    name = "none"

    def command(self, box: Sandbox, seccomp: int | None = None) -> Sequence[str]:
        raise AssertionError("nothing runs")


@pytest.mark.parametrize(
    ("note", "lacking"),
    [
        ({}, set()),
        ({"imports": None}, set()),
        ({"imports": [*RUNTIME, "a"]}, {"b", "everything"}),
        ({"imports": list(RUNTIME)}, {"a", "b", "everything"}),
        ({"imports": 1}, {"a", "b", "everything"}),
        ({"imports": None, "seal": "sha256:0"}, {"a", "b", "everything"}),
        ({"imports": None, "schema": 2}, {"a", "b", "everything"}),
        (None, {"a", "b", "everything"}),
    ],
)
def test_what_a_root_lacks_is_told_by_its_note(
    tmp_path: Path, note: dict[str, object] | None, lacking: set[str]
) -> None:
    """A note that is none, or of another seal, tells nothing: what is there then is compiled for."""
    root = tmp_path / "roots" / ("a" * 64)
    root.mkdir(parents=True)
    sealed = seal(root, root, "sha256:" + root.name, (), lambda _: None)
    layers = Layers(tmp_path, tmp_path / "blobs", tmp_path / "locks", Silent())
    asked = {"a": ["a"], "b": ["b"], "everything": None}
    fillings = {name: Filling(Entered(), layers, tmp_path / "locks", Silent(), i) for name, i in asked.items()}
    if note == {}:
        for filling in fillings.values():
            filling.note(root)
    elif note is not None:
        document = json.dumps({"schema": 1, "seal": sealed, **note})
        root.with_name(f"{root.name}.compiled").write_text(document)
    assert {name for name, filling in fillings.items() if filling.lacks(root)} == lacking
