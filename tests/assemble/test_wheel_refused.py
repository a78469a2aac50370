"""Which wheels are refused, and that none changes unnoticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flyte_build.assemble.errors import AssembleError
from tests.support.full_wheel import ENTRY_POINTS, installed
from tests.support.layers import TEXT
from tests.support.wheels import MUTATIONS, build_wheel


@pytest.mark.parametrize(
    ("mutation", "message"),
    [
        ("absolute", "`/etc/evil`: the path is absolute"),
        ("backslash", r"the path holds a backslash"),
        ("bad-crc", "expected CRC-32 deadbeef"),
        ("bad-stream", "DEFLATE stream"),
        ("bad-utf8-metadata", "/WHEEL`: expected UTF-8"),
        ("bzip2", "expected compression stored or deflated, found method 12"),
        ("dot-component", r"has a component `\.`"),
        ("duplicate", "`fold/__init__.py`: the archive holds this name twice"),
        ("empty-component", "has a component ``"),
        ("encrypted", "`fold/__init__.py`: the member is encrypted"),
        ("file-is-directory", "`opt/.*/fold/__init__.py` is a file, and a folder in"),
        ("local-crc", "its local header has CRC-32 1, the zip directory"),
        ("local-name", "its local header has another name"),
        ("no-dist-info", "expected one .dist-info folder, found 0"),
        ("no-record", "fold-1.0.dist-info/RECORD` is missing"),
        ("no-wheel-file", "fold-1.0.dist-info/WHEEL` is missing"),
        ("not-a-zip", "not a zip archive, or cut off"),
        ("nul", r"`evil\\x00.py`: the path holds a NUL"),
        ("record-hash-value", r"`opt/.*/fold/__init__\.py`: expected sha256 d9298a10d1b0"),
        ("symlink", "`evil`: a symbolic link"),
        ("trailing-bytes", "ends before its compressed size"),
        ("truncated", "not a zip archive, or cut off"),
        ("two-dist-info", "expected one .dist-info folder, found 2: fold-1.0.dist-info, other-1.0.dist-info"),
        ("unknown-scheme", "expected a scheme among purelib, .*, found `elsewhere`"),
        ("wheel-version", "expected Wheel-Version 1.x, found 2.0"),
        ("whiteout", r"`evil/\.wh\.passwd`: the path has a component `\.wh\.passwd`, which would be a whiteout"),
        ("wrong-size", r"expected \d+ bytes"),
        ("zstandard", "found method 93, Zstandard, which no specification of wheels allows so far: ask for a version"),
        ("zip-slip", r"`\.\./\.\./evil.py`: the path has a component `\.\.`"),
    ],
)
def test_a_corrupt_or_hostile_wheel_is_refused(tmp_path: Path, mutation: str, message: str) -> None:
    wheel = build_wheel(tmp_path, "fold", mutate=mutation)
    with pytest.raises(AssembleError, match=message) as caught:
        installed(wheel, tmp_path)
    assert caught.value.artifact == "fold-1.0-py3-none-any.whl"
    assert str(caught.value).startswith("fold-1.0-py3-none-any.whl: ")
    assert str(caught.value).isprintable()


def test_every_mutation_is_tested() -> None:
    (mark,) = test_a_corrupt_or_hostile_wheel_is_refused.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in mark.args[1]} | {case[0] for case in DISAGREEING} == set(MUTATIONS)


DISAGREEING = [
    ("record-hash", "`fold/__init__.py` has `sha256=AAAA"),
    ("record-misses", "`fold/__init__.py` is in the wheel, and not listed"),
    ("record-missing-file", "`gone.py` is listed, and not in the wheel"),
    ("record-size", "`fold/__init__.py` has "),
    ("record-unhashed", "`fold/__init__.py` has `` where a SHA-256 or better was expected"),
]


@pytest.mark.parametrize(("mutation", "message"), DISAGREEING)
def test_a_record_that_disagrees_is_a_warning_and_made_anew(tmp_path: Path, mutation: str, message: str) -> None:
    """As installers have it; the wheel as a whole is the one that was locked."""
    sound, odd = tmp_path / "sound", tmp_path / "odd"
    for folder in (sound, odd):
        folder.mkdir()
    expected = installed(build_wheel(sound, "fold"), sound)
    found = installed(build_wheel(odd, "fold", mutate=mutation), odd)
    (warning,) = found.result.warnings
    assert warning.startswith("fold-1.0-py3-none-any.whl: its RECORD is not what it holds, which is installed: ")
    assert message in warning
    record = "opt/venv/lib/python3.11/site-packages/fold-1.0.dist-info/RECORD"
    assert found.contents().keys() == expected.contents().keys()
    assert sorted(found.contents()[record].splitlines()) == sorted(expected.contents()[record].splitlines())


def test_a_newer_minor_version_is_a_warning(tmp_path: Path) -> None:
    result = installed(build_wheel(tmp_path, "fold", wheel_version="1.9"), tmp_path).result
    assert result.warnings == ("fold-1.0-py3-none-any.whl: Wheel-Version 1.9 is newer than 1.0; installed as 1.0",)
    assert installed(build_wheel(tmp_path, "fold"), tmp_path).result.warnings == ()


@pytest.mark.parametrize("text", ["1", "", "one.two"])
def test_a_wheel_version_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssembleError, match=r"expected a Wheel-Version such as 1\.0, found `"):
        installed(build_wheel(tmp_path, "fold", wheel_version=text), tmp_path)


def test_the_file_name_and_the_metadata_name_one_distribution(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "fold")
    renamed = wheel.rename(tmp_path / "other-1.0-py3-none-any.whl")
    with pytest.raises(AssembleError, match=r"expected the \.dist-info folder of other, found fold-1\.0\.dist-info"):
        installed(renamed, tmp_path)
    assert installed(renamed.rename(tmp_path / "FOLD-1.0-py3-none-any.whl"), tmp_path).contents()


def test_a_script_twice_is_refused(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "fold", entry_points="[console_scripts]\nt=fold:t\n", data={"scripts/t": "#!/bin/sh"})
    with pytest.raises(AssembleError, match="the wheel installs `opt/venv/bin/t` twice"):
        installed(wheel, tmp_path)


@pytest.mark.parametrize("name", ["../../../etc/evil", "a/b", "..", ".wh.python"])
def test_a_script_name_stays_in_bin(tmp_path: Path, name: str) -> None:
    wheel = build_wheel(tmp_path, "fold", entry_points=f"[console_scripts]\n{name} = fold:main\n")
    with pytest.raises(AssembleError, match=r"entry_points\.txt`: script `.*`: not a file name"):
        installed(wheel, tmp_path)


def test_a_wheel_of_any_prefix_of_itself_is_refused(tmp_path: Path) -> None:
    """Whatever a download was cut off to."""
    wheel = build_wheel(tmp_path, "fold", zip64=True)
    whole = wheel.read_bytes()
    for size in range(0, len(whole), 7):
        wheel.write_bytes(whole[:size])
        with pytest.raises(AssembleError):
            installed(wheel, tmp_path)


def test_flipped_bytes_never_change_contents_unnoticed(tmp_path: Path) -> None:
    """One byte of the archive at a time: an error, or the very same files."""
    wheel = build_wheel(tmp_path, "fold", files={"fold/__init__.py": TEXT}, entry_points=ENTRY_POINTS)
    whole = wheel.read_bytes()
    expected = installed(wheel, tmp_path).result.diff_id
    directory = [m.start() for m in re.finditer(b"PK\1\2", whole)]
    permissions = {start + 40 + i for start in directory for i in range(2)}
    refused = 0
    for at in range(len(whole)):
        wheel.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            found = installed(wheel, tmp_path).result.diff_id
        except AssembleError:
            refused += 1
            continue
        assert found == expected or at in permissions, at
    assert refused > len(whole) // 2
