"""What installing a wheel means, and which wheels are refused."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.wheel import install_wheel
from tests.support.layers import SITE, STREAM, TEXT, Written, fixed_compress, wheel_layer, write
from tests.support.wheels import MUTATIONS, STORED, Member, build_wheel, record_hash

ENTRY_POINTS = (
    "[console_scripts]\nfold = fold.cli:main\nfold-Raw = fold.cli:Tool.run [extra]\n[gui_scripts]\nview=fold:v\n"
)


def full_wheel(folder: Path, **options: object) -> Path:
    """A wheel with everything a wheel may hold."""
    return build_wheel(
        folder,
        "Fold-Tools",
        "2.0",
        {
            "fold/__init__.py": "",
            "fold/cli.py": TEXT,
            "fold/données/é.txt": "accents\n",
            "fold/run.sh": "#!/bin/sh\n",
            "fold/big.bin": bytes(range(256)) * 5000,
        },
        entry_points=ENTRY_POINTS,
        data={
            "scripts/tool": "#!python -u\nprint('tool')\n",
            "scripts/gui.py": "#!pythonw\nprint('gui')\n",
            "scripts/native": b"\x7fELF\0\0",
            "scripts/other": "#!python3\nprint('no placeholder')\n",
            "data/share/fold/table.csv": "a,b\n",
            "headers/fold/fold.h": "int fold;\n",
            "purelib/fold_pure.py": "pure = 1\n",
            "platlib/fold_plat.py": "plat = 1\n",
        },
        modes={"fold/run.sh": 0o755, "fold/cli.py": 0o600},
        metadata={"INSTALLER": "somebody\n", "REQUESTED": "", "direct_url.json": "{}", "RECORD.jws": "x"},
        **options,  # type: ignore[arg-type]
    )


def installed(wheel: Path, tmp_path: Path) -> Written:
    return write(wheel_layer([wheel]), [wheel], tmp_path)


INFO = f"{SITE}/Fold_Tools-2.0.dist-info"


def test_every_file_has_its_place(tmp_path: Path) -> None:
    found = installed(full_wheel(tmp_path), tmp_path).contents()
    assert sorted(found) == sorted(
        [
            *(f"{SITE}/fold/{name}" for name in ("__init__.py", "cli.py", "données/é.txt", "run.sh", "big.bin")),
            *(f"opt/venv/bin/{name}" for name in ("tool", "gui.py", "native", "other", "fold", "fold-Raw", "view")),
            "opt/venv/share/fold/table.csv",
            "opt/venv/include/site/python3.11/Fold_Tools/fold/fold.h",
            f"{SITE}/fold_pure.py",
            f"{SITE}/fold_plat.py",
            *(f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt", "RECORD", "INSTALLER")),
        ]
    )
    assert found[f"{SITE}/fold/cli.py"] == TEXT
    assert found[f"{INFO}/INSTALLER"] == b"flyte-build\n"


def test_modes_are_0644_or_0755(tmp_path: Path) -> None:
    modes = installed(full_wheel(tmp_path), tmp_path).modes()
    executable = {path for path, mode in modes.items() if mode == 0o755 and "." in path.rpartition("/")[2][1:]}
    assert modes[f"{SITE}/fold/cli.py"] == 0o644
    assert modes[f"{SITE}/fold/run.sh"] == 0o755
    assert all(modes[path] == 0o755 for path in modes if path.startswith("opt/venv/bin"))
    assert {f"{SITE}/fold/run.sh", "opt/venv/bin/gui.py"} <= executable
    assert set(modes.values()) == {0o644, 0o755}


def test_placeholders_become_the_interpreter(tmp_path: Path) -> None:
    found = installed(full_wheel(tmp_path), tmp_path).contents()
    assert found["opt/venv/bin/tool"] == b"#!/opt/venv/bin/python -u\nprint('tool')\n"
    assert found["opt/venv/bin/gui.py"] == b"#!/opt/venv/bin/python\nprint('gui')\n"
    assert found["opt/venv/bin/native"] == b"\x7fELF\0\0"


def rows(content: bytes) -> dict[str, tuple[str, str]]:
    return {path: (digest, size) for path, digest, size in csv.reader(io.StringIO(content.decode()))}


@pytest.mark.parametrize("simple", [True, False], ids=["verbatim", "rewritten"])
def test_record_lists_what_is_installed(tmp_path: Path, simple: bool) -> None:
    wheel = build_wheel(tmp_path, "fold", entry_points=ENTRY_POINTS) if simple else full_wheel(tmp_path)
    found = installed(wheel, tmp_path).contents()
    (record_path,) = [path for path in found if path.endswith("/RECORD")]
    recorded = rows(found[record_path])
    assert {os.path.normpath(f"{SITE}/{path}") for path in recorded} == set(found)
    for path, (digest, size) in recorded.items():
        content = found[os.path.normpath(f"{SITE}/{path}")]
        if path.endswith("/RECORD"):
            assert (digest, size) == ("", "")
        else:
            assert (digest, size) == (record_hash(content), str(len(content)))
    assert len(found[record_path].splitlines()) == len(recorded)


def test_records_own_stream_is_kept_where_its_rows_still_hold(tmp_path: Path) -> None:
    wheel = install_wheel(
        str(build_wheel(tmp_path, "fold")), "fold-1.0-py3-none-any.whl", python="3.11", venv="/opt/venv"
    )
    (entry,) = [e for e in wheel.entries if e.path.endswith("/RECORD")]
    assert [type(segment).__name__ for segment in entry.content] == ["Deflated", "bytes"]


@pytest.mark.parametrize("options", [{"method": STORED}, {"zip64": True}, {"compress": fixed_compress}])
def test_how_the_zip_is_written_makes_no_difference(tmp_path: Path, options: dict[str, object]) -> None:
    (tmp_path / "other").mkdir()
    one = installed(full_wheel(tmp_path), tmp_path)
    other = installed(full_wheel(tmp_path / "other", **options), tmp_path)
    assert other.result.diff_id == one.result.diff_id
    assert other.contents() == one.contents()


def tree(root: Path) -> dict[str, tuple[bytes, bool]]:
    """Path → content and executable bit of the regular files, scripts and installers' notes by name only."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        name = path.relative_to(root).as_posix()
        if path.parent.name.endswith(".dist-info") and path.name in ("RECORD", "INSTALLER", "REQUESTED"):
            continue
        content = path.read_bytes()
        if re.match(rb"#!.*python\n", content) and path.parent.name == "bin":
            content = b"a script"
        found[name] = (content, bool(path.stat().st_mode & 0o111))
    return found


def with_installer(wheel: Path, root: Path) -> None:
    """The reference: the packaging authority's own library."""
    venv, site = root / "opt/venv", root / SITE
    schemes = {"purelib": site, "platlib": site, "scripts": venv / "bin", "data": venv}
    schemes["headers"] = venv / "include/site/python3.11" / wheel.name.partition("-")[0]
    destination = SchemeDictionaryDestination(
        {scheme: str(path) for scheme, path in schemes.items()},
        interpreter="/opt/venv/bin/python",
        script_kind="posix",
    )
    with WheelFile.open(wheel) as source:
        install(source, destination, {"INSTALLER": b"installer"})


def unpack(layer: Written, root: Path) -> None:
    root.mkdir()
    subprocess.run(["tar", "-xzf", "-", "-C", str(root)], input=layer.blob, check=True)


def test_the_tree_is_what_the_installer_library_makes(tmp_path: Path) -> None:
    wheel = build_wheel(
        tmp_path,
        "fold",
        files={"fold/__init__.py": "", "fold/cli.py": TEXT, "fold/run.sh": "#!/bin/sh\n", "fold_top.py": "x = 1\n"},
        entry_points="[console_scripts]\nfold = fold.cli:main\n",
        data={"scripts/tool": "#!python\nprint()\n", "data/share/t": "t", "headers/h.h": "h", "platlib/p.py": "p"},
        modes={"fold/run.sh": 0o755, "fold-1.0.data/scripts/tool": 0o755},
    )
    with_installer(wheel, tmp_path / "expected")
    unpack(installed(wheel, tmp_path), tmp_path / "found")
    expected = tree(tmp_path / "expected")
    assert len(expected) == 12
    assert tree(tmp_path / "found") == expected


def test_gnu_tools_accept_the_blob(tmp_path: Path) -> None:
    layer = installed(full_wheel(tmp_path), tmp_path)
    subprocess.run(["gzip", "-t"], input=layer.blob, check=True)
    listed = subprocess.run(["tar", "-tzf", "-"], input=layer.blob, capture_output=True, check=True)
    escaped = listed.stdout.decode().splitlines()
    assert len(escaped) == len(layer.members()) == len(set(escaped))
    assert listed.stderr == b""


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
        ("record-hash", "expected a SHA-256 or better in RECORD, found `sha256=AAAA"),
        ("record-hash-value", r"`opt/.*/fold/__init__\.py`: expected sha256 d9298a10d1b0"),
        ("record-misses", "`fold/__init__.py`: in the wheel, but not listed in RECORD"),
        ("record-missing-file", "`gone.py`: listed in RECORD, but not in the wheel"),
        ("record-size", "`fold/__init__.py`: RECORD says"),
        ("record-unhashed", "`fold/__init__.py`: expected a SHA-256 or better in RECORD, found ``"),
        ("symlink", "`evil`: a symbolic link"),
        ("trailing-bytes", "ends before its compressed size"),
        ("truncated", "not a zip archive, or cut off"),
        ("two-dist-info", "expected one .dist-info folder, found 2: fold-1.0.dist-info, other-1.0.dist-info"),
        ("unknown-scheme", "expected a scheme among purelib, .*, found `elsewhere`"),
        ("wheel-version", "expected Wheel-Version 1.x, found 2.0"),
        ("whiteout", r"`evil/\.wh\.passwd`: the path has a component `\.wh\.passwd`, which would be a whiteout"),
        ("wrong-size", r"expected \d+ bytes"),
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
    assert {case[0] for case in mark.args[1]} == set(MUTATIONS)


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


@pytest.mark.parametrize("extra", [[], ["-X", "utf8"]])
def test_launchers_behave_as_the_references(tmp_path: Path, extra: list[str]) -> None:
    """Exit code, arguments, output: what the entry points specification asks of a script."""
    wheel = build_wheel(
        tmp_path,
        "fold",
        files={
            "fold/__init__.py": "",
            "fold/cli.py": (
                "import sys\n\n\nclass Tool:\n    @staticmethod\n    def run():\n"
                "        print(sys.argv[0].rpartition('/')[2], sys.argv[1:])\n        return len(sys.argv)\n"
            ),
        },
        entry_points="[console_scripts]\nfold = fold.cli:Tool.run\nfold.exe = fold.cli:Tool.run\n",
    )
    with_installer(wheel, tmp_path / "expected")
    unpack(installed(wheel, tmp_path), tmp_path / "found")
    for name, arguments in (("fold", ["a", "b c"]), ("fold.exe", [])):
        outcomes = [
            subprocess.run(
                [sys.executable, *extra, str(tmp_path / root / "opt/venv/bin" / name), *arguments],
                env={"PYTHONPATH": str(tmp_path / root / SITE)},
                capture_output=True,
                check=False,
            )
            for root in ("expected", "found")
        ]
        assert outcomes[0].returncode == outcomes[1].returncode == len(arguments) + 1
        assert outcomes[0].stdout == outcomes[1].stdout
        assert outcomes[0].stderr == outcomes[1].stderr == b""


def test_the_stream_constant_is_the_texts() -> None:
    assert zlib.decompress(STREAM, -15) == TEXT


@pytest.mark.parametrize("path", ["fold/empty.py", "fold-1.0.data/scripts/tool", "fold/stored.bin"])
def test_every_hash_of_record_is_verified(tmp_path: Path, path: str) -> None:
    """Those of empty files, of scripts that are rewritten, and of members that are not compressed too."""
    files = {"fold/empty.py": "", "fold/stored.bin": b"stored"}
    data = {"scripts/tool": "#!python\nprint()\n"}

    def change(members: list[Member]) -> list[Member]:
        wrong = {m.name: record_hash(m.data) for m in members}[path]
        return [
            replace(m, data=m.data.replace(f"{path},{wrong}".encode(), f"{path},{record_hash(b'?')}".encode()))
            if m.name.endswith("/RECORD")
            else replace(m, method=STORED)
            if m.name.endswith(".bin")
            else m
            for m in members
        ]

    assert installed(build_wheel(tmp_path, "fold", files=files, data=data), tmp_path).contents()
    wheel = build_wheel(tmp_path, "fold", files=files, data=data, mutate=change)
    with pytest.raises(AssembleError, match=r"tool|empty|stored"):
        installed(wheel, tmp_path)


def test_hashes_can_be_left_to_who_verified_them_before(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "fold", mutate="record-hash-value")
    assert write(wheel_layer([wheel]), [wheel], tmp_path, verify=False).contents()
