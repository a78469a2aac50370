"""Bytecode in our encoding is the compiler's own: by structure, by behaviour, and by bytes in whatever process."""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
import marshal
import os
import subprocess
import sys
import sysconfig
import tarfile
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble import compiling

STANDARD = Path(sysconfig.get_paths()["stdlib"])
SCRIPT = Path(compiling.__file__)
# A few of every kind: large, old, full of classes, patterns, generators, constants.
SOME = ("_pydecimal", "typing", "dataclasses", "asyncio/tasks", "re/_parser", "opcode", "enum", "ast", "locale", "stat")

TRICKY = '''
"""Docstring with ümlaut \\ud800."""
from __future__ import annotations
import os.path as p, sys
def sets(x): return x in {"one", "two", "three", 4, 5.5, None, ("nested", 1), b"bytes"}
NUMBERS = (0, -1, 2**31, -(2**31) - 1, 2**200, -(2**99), 0.0, -0.0, 1e308 * 10, 3.5j, -0.0j)
SAME = ("shared", "shared", ("shared", "not a name!"), ("shared", "not a name!"))
LONG = "x" * 1 + "%s"
def closure(a, /, b, *c, d=..., **e):
    seen = a
    def inner():
        nonlocal seen
        seen = [x for x in (seen, a, b) if (lambda: x)]
        yield from seen
    return inner
async def coroutine(x):
    async with x as y:
        async for z in y:
            try:
                await z
            except* ValueError as e:
                raise KeyError from e
def match(x):
    match x:
        case {"a": [1, *rest], **more} if more: return rest
        case A.B(c=1) | None: return x[1:2, ::3]
'''  # fmt: skip


def fields(code: types.CodeType) -> dict[str, Any]:
    """All that a code object shows, code objects within it included."""
    found = {name: getattr(code, name) for name in dir(code) if name.startswith("co_") and name != "co_lnotab"}
    found["co_consts"] = [fields(c) if isinstance(c, types.CodeType) else typed(c) for c in code.co_consts]
    found["co_names"] = [(name, sys.intern(name) is name) for name in code.co_names]
    return {name: value for name, value in found.items() if not callable(value)}


def typed(value: object) -> object:
    """A constant so that -0.0, 0 and False are three things, and a set has no order."""
    if isinstance(value, tuple):
        return "tuple", [typed(x) for x in value]
    if isinstance(value, frozenset):
        return "frozenset", sorted(map(repr, value))
    return type(value).__name__, repr(value)


def check(source: bytes, path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
    made = compiling.canonical(code)
    back = marshal.loads(made)
    assert fields(back) == fields(code)
    # A function of the value: of what was read from our bytes, or from CPython's, come the same again.
    assert compiling.canonical(back) == made
    assert compiling.canonical(marshal.loads(marshal.dumps(code))) == made
    assert compiling.canonical(marshal.loads(marshal.dumps(code, 4))) == made


def test_what_is_read_is_what_was_compiled() -> None:
    check(TRICKY.encode(), "/opt/venv/lib/tricky.py")
    for name in SOME:
        check((STANDARD / f"{name}.py").read_bytes(), f"/usr/lib/{name}.py")


@pytest.mark.slow
def test_of_every_module_of_the_standard_library() -> None:
    count = 0
    for path in sorted(STANDARD.rglob("*.py")):
        if not {"site-packages", "dist-packages", "test", "tests"} & {*path.parts}:
            check(path.read_bytes(), str(path))
            count += 1
    assert count > 400


def test_nothing_in_it_refers_to_anything_else() -> None:
    """Equal objects are written twice: of a thousand equal strings there are a thousand."""
    source = b"x = ['not a name!', " + b"('not a name!', 1.5), " * 1000 + b"]"
    made = compiling.canonical(compile(source, "f", "exec"))
    assert made.count(b"z\x0bnot a name!") == 1001
    strings = compiling.canonical(compile(b"def word(): return word", "f", "exec"))
    assert strings.count(b"Z\x04word") == 4  # a name twice, the function's own, and its qualified one


def test_names_are_interned_and_texts_are_not() -> None:
    source = "identifier = 'a text', 'ident', 'ümlaut', '" + "y" * 300 + "', '" + "z " * 150 + "'"
    made = compiling.canonical(compile(source, "f.py", "exec"))
    names = (b"Z\x0aidentifier", b"Z\x05ident", b"A\x2c\x01\0\0yyy", b"Z\x04f.py")
    for found in (*names, b"z\x06a text", b"u\x07\0\0\0\xc3\xbcmlaut", b"a\x2c\x01\0\0z z"):
        assert found in made, found


@pytest.mark.parametrize("damaged", [b"", b"c", b"\x63\0\0", b"?", b"z\x05abc", b"r\0\0\0\0", b"(\xff\0\0\0N"])
def test_what_is_no_marshalled_object_is_refused(damaged: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        compiling._Reader(damaged).object()


@pytest.mark.parametrize("source", [b"print 'two'", b"x = \0", b"\xff\xfe", b"# coding: nonsense\n", b"(" * 3000])
def test_what_does_not_compile_has_none(source: bytes) -> None:
    assert compiling.bytecode(source, "/x.py") is None


def test_sources_say_their_encoding() -> None:
    made = compiling.bytecode("# coding: latin-1\nx = 'é'\n".encode("latin-1"), "/x.py")
    assert made is not None
    found: dict[str, object] = {}
    exec(marshal.loads(made[16:]), found)  # noqa: S102
    assert found["x"] == "é"


# -- the script --------------------------------------------------------------------------------------


def tar_of(path: Path, files: dict[str, bytes | str | None], compression: str = "gz") -> Path:
    """A layer: bytes are files, a text is a symbolic link's target, ``None`` a folder."""
    with tarfile.open(path, f"w:{compression}") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = (tarfile.LNKTYPE, content[1:]) if content[0] == "=" else (b"2", content)
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def script(layer: Path, out: Path, *words: str, **variables: str) -> tuple[dict[str, Any], bytes]:
    """Run it as the image's interpreter would; the head of what it wrote, and the rest."""
    command = [sys.executable, "-I", "-S", "-B", str(SCRIPT), str(layer), str(out), *words]
    if "PYTHONHASHSEED" in variables:
        command.remove("-I")
    subprocess.run(command, check=True, env={**os.environ, **variables}, capture_output=True)
    line, _, rest = out.read_bytes().partition(b"\n")
    return json.loads(line), rest


def test_another_process_makes_the_same_bytes(tmp_path: Path) -> None:
    files: dict[str, bytes | str | None] = {
        f"lib/{name}.py": (STANDARD / f"{name}.py").read_bytes() for name in SOME[2:6]
    }
    whole = tar_of(tmp_path / "tar", {**files, "lib/tricky.py": TRICKY.encode()}, "").read_bytes()
    layer = tmp_path / "layer"
    # As our layers are: gzip of many members.
    layer.write_bytes(b"".join(gzip.compress(whole[at : at + 50_000]) for at in range(0, len(whole), 50_000)))
    one = script(layer, tmp_path / "one", "lib", "--jobs", "1", PYTHONHASHSEED="1")
    two = script(layer, tmp_path / "two", "/lib/", "--jobs", "3", PYTHONHASHSEED="2")
    assert one == two
    assert one[0]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert bytes.fromhex(one[0]["magic"]) == importlib.util.MAGIC_NUMBER
    assert [path for path, _ in one[0]["rows"]] == sorted([*files, "lib/tricky.py"])


def test_what_is_compiled(tmp_path: Path) -> None:
    layer = tar_of(
        tmp_path / "layer",
        {
            "lib/a/__init__.py": b"",
            "lib/a": None,
            "lib/a/broken.py": b"print 1",
            "lib/a/link.py": "__init__.py",
            "lib/a/hard.py": "=lib/a/__init__.py",
            "lib/a/tests/test_a.py": b"x = 1",
            "lib/lib/python3.11/test/support.py": b"x = 1",
            "lib/a/test/client.py": b"x = 1",
            "lib/a/data.pyi": b"x: int",
            "library/other.py": b"x = 1",
        },
        "",
    )
    head, rest = script(layer, tmp_path / "out", "lib")
    sizes = dict(head["rows"])
    assert list(sizes) == [f"lib/a/{name}.py" for name in ("__init__", "broken", "hard", "link", "test/client")]
    assert sizes["lib/a/broken.py"] is None
    assert sizes["lib/a/link.py"] == 0
    assert sizes["lib/a/hard.py"] > 100  # of the file that it is another name of
    assert sum(size or 0 for size in sizes.values()) == len(rest)


def test_an_interpreter_takes_it_without_looking_at_the_module(tmp_path: Path) -> None:
    """What runs is the bytecode, even where date and text of the module are others."""
    made = compiling.bytecode(b"said = 'compiled', __file__\n", str(tmp_path / "told.py"))
    assert made is not None
    assert made[:8] == importlib.util.MAGIC_NUMBER + b"\1\0\0\0"
    assert made[8:16] == importlib.util.source_hash(b"said = 'compiled', __file__\n")
    cached = Path(importlib.util.cache_from_source(str(tmp_path / "told.py")))
    cached.parent.mkdir()
    cached.write_bytes(made)
    (tmp_path / "told.py").write_text("said = 'source', __file__\n")
    told = subprocess.run(
        [sys.executable, "-c", "import told; print(told.said)"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert told.stdout == f"{('compiled', str(tmp_path / 'told.py'))}\n"
