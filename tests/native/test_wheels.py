"""Layers of wheels whose directories and RECORDs the core reads: what Python makes of them, or its words."""

from __future__ import annotations

import ctypes
import random
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble import layer as law
from flyte_build.assemble import wheel as wheels
from flyte_build.assemble.errors import AssembleError
from flyte_build.native import wheels as native_wheels
from flyte_build.native.library import Core
from tests.laws.test_law_3_pure_bytes import GOLDEN_LAYERS, GOLDEN_TOGETHER
from tests.laws.test_law_3_pure_bytes import wheels as golden_wheels
from tests.support.layers import sha256, wheel_layer
from tests.support.wheels import MUTATIONS, Member, build_wheel, record_hash

from .layers import content, deflated

POINTS = "[console_scripts]\nrun = alpha:main\n\n[gui_scripts]\nshow = alpha.gui:main\n"


def made(write: Callable[..., Any], spec: Mapping[str, Any], paths: Sequence[Path], out: Path, **more: Any) -> Any:
    """The result, the listing's order and the blob; or what was refused."""
    known = {sha256(path): str(path) for path in paths}
    with out.open("wb", buffering=0) as f:
        f.write(b"before")
        try:
            result = write(spec, known.__getitem__, f, scratch=str(out.parent), **more)
        except AssembleError as e:
            return str(e)
        f.write(b"after")
    return result, list(result.listing), out.read_bytes()


def same(spec: Mapping[str, Any], paths: Sequence[Path], folder: Path, **more: Any) -> Any:
    """What both make of it, which is the same."""
    ours = made(native_wheels.write_layer, spec, paths, folder / "core", **more)
    assert ours == made(law.write_layer, spec, paths, folder / "python", **more)
    return ours


@pytest.fixture
def taken(native: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every wheel is the core's to the end; here are those that Python read."""
    read, install = [], wheels.install_wheel

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the core gave up")

    def seen(path: str, file: str, **more: Any) -> Any:
        read.append(file)
        return install(path, file, **more)

    monkeypatch.setattr(law, "write_layer", never)
    monkeypatch.setattr(wheels, "install_wheel", seen)
    return read


def by_core(paths: Sequence[Path], folder: Path, **more: Any) -> Any:
    return made(native_wheels.write_layer, wheel_layer(paths), paths, folder / "core", **more)


def by_law(paths: Sequence[Path], folder: Path, **more: Any) -> Any:
    return made(LAW, wheel_layer(paths), paths, folder / "python", **more)


LAW = law.write_layer

FILES: dict[str, bytes | str] = {
    "alpha/__init__.py": b"",
    "alpha/main.py": b"def main(): ...\n" * 300,
    "alpha/" + "deep/" * 12 + "n" * 60 + ".py": b"x = 1\n",
    "alpha/data.bin": bytes(range(256)) * 1100,
    "alpha-extra.py": b"import alpha\n",
    "alpha/.hidden": b"h",
    "beta.data": b"a file, and no folder",
}


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("verify", [True, False])
def test_plain_wheels_are_the_cores(taken: list[str], tmp_path: Path, method: int, verify: bool) -> None:
    modes = {"alpha/main.py": 0o755}
    one = build_wheel(tmp_path, "alpha", files=FILES, entry_points=POINTS, modes=modes, method=method)
    two = build_wheel(
        tmp_path, "beta", files={"beta/__init__.py": b"y = 2\n", "beta/n.so": bytes(700_000)}, method=method
    )
    found = by_core([one, two], tmp_path, verify=verify)
    assert found == by_law([one, two], tmp_path, verify=verify)
    assert not taken
    listing = found[0].listing
    assert "opt/venv/bin/show" in listing
    assert listing["opt/venv/lib/python3.11/site-packages/alpha/main.py"].startswith("f 0755 4800 ")


def test_golden_layers(native: ctypes.CDLL, tmp_path: Path) -> None:
    known = golden_wheels(tmp_path / "wheels")
    for wheel in known:
        result = by_core([wheel], tmp_path)[0]
        assert (result.digest, result.diff_id) == GOLDEN_LAYERS[wheel.name], wheel.name
    result = by_core(known, tmp_path)[0]
    assert (result.digest, result.diff_id) == GOLDEN_TOGETHER


def test_a_wheel_that_is_not_plain_is_read_by_python_and_joins_the_others(taken: list[str], tmp_path: Path) -> None:
    odd = build_wheel(tmp_path, "odd", data={"scripts/tool": b"#!python\nprint(1)\n", "data/share/x": b"x"})
    far = build_wheel(tmp_path, "far", zip64=True)
    plain = build_wheel(tmp_path, "plain", files={"plain.py": b"z = 3\n"})
    paths = [odd, far, plain]
    assert by_core(paths, tmp_path) == by_law(paths, tmp_path)
    assert sorted(taken) == sorted([odd.name, far.name])


def test_folders_that_a_base_has_are_left_as_they_are(taken: list[str], tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "alpha", files=FILES, entry_points=POINTS)
    spec = {**wheel_layer([wheel]), "folders": False}
    found = made(native_wheels.write_layer, spec, [wheel], tmp_path / "core")
    assert found == made(LAW, spec, [wheel], tmp_path / "python")
    assert not taken
    assert found[1][:2] == ["opt/venv/bin/run", "opt/venv/bin/show"]


RECORDS: dict[str, Callable[[str], str]] = {
    "in another order": lambda text: "".join(sorted(text.splitlines(True), reverse=True)),
    "with the other line ends": lambda text: text.replace("\n", "\r\n"),
    "that does not list itself": lambda text: "".join(r for r in text.splitlines(True) if "/RECORD," not in r),
    "without a last line's end": lambda text: text.removesuffix("\n"),
    "with empty lines": lambda text: "\n" + text.replace("\n", "\n\n", 1),
    "without sizes": lambda text: "".join(r.rsplit(",", 1)[0] + ",\n" for r in text.splitlines()),
    "with bits that mean nothing": lambda text: re.sub(
        r"(sha256=.{42})(.),", lambda m: f"{m[1]}{chr(ord(m[2]) + 1)},", text
    ),
}


def recorded(change: Callable[[str], str]) -> Callable[[list[Member]], list[Member]]:
    return lambda members: [
        replace(m, data=change(m.data.decode()).encode()) if m.name.endswith("/RECORD") else m for m in members
    ]


@pytest.mark.parametrize("how", RECORDS)
def test_records(taken: list[str], tmp_path: Path, how: str) -> None:
    wheel = build_wheel(tmp_path, "alpha", files=FILES, mutate=recorded(RECORDS[how]))
    assert by_core([wheel], tmp_path) == by_law([wheel], tmp_path)
    assert not taken


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_is_wrong_is_said_by_python(native: ctypes.CDLL, tmp_path: Path, name: str) -> None:
    files = {"alpha/__init__.py": b"x = 1\n" * 99, "alpha/b.py": b""}
    bad = build_wheel(tmp_path, "alpha", files=files, mutate=name)
    good = build_wheel(tmp_path, "beta")
    same(wheel_layer([bad, good]), [bad, good], tmp_path)


ODD: dict[str, Callable[[list[Member]], list[Member]]] = {
    "comma": lambda m: [Member("alpha/a,b.py", b"x"), *m],
    "quote": lambda m: [Member('alpha/a"b.py', b"x"), *m],
    "its own notes": lambda m: [Member("alpha-1.0.dist-info/INSTALLER", b"pip\n"), *m],
    "signed": lambda m: [Member("alpha-1.0.dist-info/RECORD.jws", b"{}"), *m],
    "folder": lambda m: [Member("alpha/sub/", b""), *m],
    "folders": lambda m: [
        Member("alpha/", b"", mode=0o040755, method=0),
        *m,
        Member("z/", b"", method=0),
        Member("z/z/", b""),
    ],
    "a folder called as a file": lambda m: [*m, Member("alpha/__init__.py/", b"")],
    "a file called as a folder": lambda m: [
        Member("alpha/x/", b""),
        Member("alpha/x/y/", b""),
        Member("alpha/x", b"x"),
        *m,
    ],
    "a folder that is full": lambda m: [Member("alpha/x/", b"x"), *m],
    "a folder twice": lambda m: [Member("alpha/", b""), Member("alpha/", b""), *m],
    "a folder in RECORD": lambda m: recorded(lambda text: "alpha/,,\n" + text)([Member("alpha/", b""), *m]),
    "file and folder": lambda m: [Member("alpha", b"x"), *m],
    "dot": lambda m: [Member(".alpha", b"x"), *m],
    "two dots": lambda m: [Member("alpha/..", b"x"), *m],
    "whiteout": lambda m: [Member(".wh.alpha", b"x"), *m],
    "long": lambda m: [Member("alpha/" + "l" * 200, b"x"), *m],
    "longer": lambda m: [Member("alpha/" + "l" * 256, b"x"), *m],
    "deep": lambda m: [Member("alpha/" + "d/" * 140 + "x", b"x"), *m],
    "letters": lambda m: [Member("alpha/é.py", b"x"), *m],
    "sizes that follow": lambda m: [replace(x, flags=8) for x in m],
    "an empty file of five bytes": lambda m: [Member("alpha/empty", b"", raw=b"\x01\0\0\xff\xff"), *m],
    "an empty file that does not end": lambda m: [Member("alpha/empty", b"", raw=b"\0\0\0\xff\xff"), *m],
    "an empty file of nothing": lambda m: [Member("alpha/empty", b"", raw=b""), *m],
    "an empty file's sum": lambda m: [Member("alpha/empty", b"", crc=1), *m],
    "setuid": lambda m: [Member("alpha/s", b"x", mode=0o104755), *m],
    "a folder's mode": lambda m: [Member("alpha/s", b"x", mode=0o040755), *m],
    "extra": lambda m: [Member("alpha/x", b"x", extra=struct.pack("<HH", 0x5455, 9) + bytes(9)), *m],
    "much extra": lambda m: [Member("alpha/x", b"", extra=struct.pack("<HH", 0x5455, 900) + bytes(900)), *m],
    "the environment's own": lambda m: [Member("../pyvenv.cfg", b"x"), *m],
}


@pytest.mark.parametrize("recording", ["listed", "not listed"])
@pytest.mark.parametrize("name", ODD)
def test_odd_wheels(native: ctypes.CDLL, tmp_path: Path, name: str, recording: str) -> None:
    def mutate(members: list[Member]) -> list[Member]:
        found = ODD[name](members)
        if recording == "not listed":
            return found
        new = [m for m in found if all(m.name != other.name for other in members)]
        rows = "".join(f'"{m.name.replace(chr(34), chr(34) * 2)}",{record_hash(m.data)},{len(m.data)}\n' for m in new)
        return recorded(lambda text: rows + text)(found)

    wheel = build_wheel(tmp_path, "alpha", mutate=mutate)
    same(wheel_layer([wheel]), [wheel], tmp_path)


def test_files_of_two_wheels_at_one_path_are_for_python_to_decide(native: ctypes.CDLL, tmp_path: Path) -> None:
    for other in ({"alpha/a.py": b"1"}, {"alpha/a.py": b"2"}, {"alpha/a.py/x": b"1"}, {"alpha": b"1"}):
        one = build_wheel(tmp_path, "alpha", files={"alpha/a.py": b"1"})
        two = build_wheel(tmp_path, "beta", files=other)  # type: ignore[arg-type]
        same(wheel_layer([one, two]), [one, two], tmp_path)


def drawn(r: random.Random, folder: Path, number: int) -> Path:
    """A wheel of anything that may be in one, mostly plain."""
    parts = ("a", "lib", "x" * 40, "y" * 70, "_", "a-b", "a.b", "tests", "Z")
    files: dict[str, bytes] = {}
    for i in range(r.choice((1, 2, 5, r.randrange(1, 60)))):
        rare = r.choice((*parts, "é", ".x")) if r.random() < 0.02 else r.choice(parts)
        path = "/".join([f"p{number}", *(r.choice(parts) for _ in range(r.randrange(5))), f"{rare}{i}"])
        files[path] = content(r, r.choice((10, 300, 3000, 3000, 80_000)))
    if r.random() < 0.2:
        files["shared/__init__.py"] = r.choice((b"", b"x", b"x"))
    shuffled = list(files)
    r.shuffle(shuffled)
    more: dict[str, Any] = {"method": r.choice((0, 8, 8, 8)), "modes": {p: 0o755 for p in files if r.random() < 0.1}}
    if r.random() < 0.5:
        more["entry_points"] = POINTS.replace("run", f"run{number}").replace("show", f"show{number}")
    if r.random() < 0.1:
        more["data"] = {"scripts/s": b"#!python\n", "data/d": b"d"}
    change = r.choice(list(RECORDS.values())[:-1]) if r.random() < 0.4 else None
    mutate = recorded(change) if change is not None else None
    compress = lambda data: deflated(r, data) if data else b"\3\0"  # noqa: E731
    name = f"{r.choice(('alpha', 'Beta', 'c_d'))}{number}"
    ordered = {p: files[p] for p in shuffled}
    return build_wheel(folder, name, files=ordered, mutate=mutate, compress=compress, **more)


def test_drawn_wheels(native: ctypes.CDLL, tmp_path: Path) -> None:
    for number in range(40):
        r = random.Random(f"wheels {number}")
        paths = [drawn(r, tmp_path, i) for i in range(r.randrange(1, 5))]
        same(wheel_layer(paths), paths, tmp_path, verify=r.random() < 0.8)


@pytest.mark.slow
def test_drawn_wheels_with_small_limits(
    small: Core, native: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With checks of undefined behaviour, and with changes that no builder makes."""
    monkeypatch.setattr(native_wheels, "core", lambda: small)
    for number in range(200):
        r = random.Random(f"small wheels {number}")
        paths = [drawn(r, tmp_path, i) for i in range(r.randrange(1, 4))]
        same(wheel_layer(paths), paths, tmp_path)
        data = bytearray(paths[0].read_bytes())
        for _ in range(r.randrange(1, 4)):
            # The end, where the directory is, or anywhere.
            at = r.randrange(max(0, len(data) - 3000), len(data)) if r.random() < 0.8 else r.randrange(len(data))
            data[at] = r.choice((data[at] ^ 1 << r.randrange(8), r.randrange(256), 0, 255))
        paths[0].write_bytes(data)
        same(wheel_layer(paths), paths, tmp_path)


def test_it_is_asked_whether_to_go_on(taken: list[str], tmp_path: Path) -> None:
    files = {f"alpha/f{i}.bin": random.Random(i).randbytes(1_500_000) for i in range(12)}
    wheel = build_wheel(tmp_path, "alpha", files=files, method=0)
    told: list[int] = []
    result = by_core([wheel], tmp_path, progress=told.append)[0]
    assert (sum(told), len(told) >= 2) == (result.diff_size, True)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_core([wheel], tmp_path, progress=stop)


def test_other_layers_and_other_cores(native: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a wheel, and a machine without a core: as the law has it."""
    wheel = build_wheel(tmp_path, "alpha", files=FILES)
    spec = wheel_layer([wheel])
    same({**spec, "part": {"number": 1, "of": 2, "ceiling": 1000}}, [wheel], tmp_path)
    assert same({**spec, "assembler": 1}, [wheel], tmp_path).startswith("the plan is for assembler 1")
    monkeypatch.setattr(native_wheels, "core", lambda: Core(None, "not here"))
    same(spec, [wheel], tmp_path)


@pytest.mark.parametrize(
    "name", ["folder", "folders", "an empty file of five bytes", "extra", "sizes that follow", "a folder twice"]
)
def test_what_many_wheels_have_is_the_cores(taken: list[str], tmp_path: Path, name: str) -> None:
    """Folders of their own, which tools that repair wheels write; sizes behind contents; other ways to be empty."""
    made_of = [m for m in ODD[name]([]) if m.name.endswith("/")]
    files = {m.name: m.data for m in ODD[name]([]) if not m.name.endswith("/")}

    def mutate(members: list[Member]) -> list[Member]:
        odd = {m.name: m for m in ODD[name](members)}
        return [*made_of, *(odd.get(m.name, m) for m in members)]

    wheel = build_wheel(tmp_path, "alpha", files={"alpha/__init__.py": b"x", "alpha/e.py": b"", **files}, mutate=mutate)
    assert by_core([wheel], tmp_path) == by_law([wheel], tmp_path)
    assert not taken
