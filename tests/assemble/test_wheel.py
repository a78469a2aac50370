"""What installing a wheel means."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from email.parser import Parser
from pathlib import Path

import pytest
from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.sources import WheelFile

from flyte_build.assemble import wheel
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.wheel import install_wheel
from tests.support.full_wheel import ENTRY_POINTS, INFO, full_wheel, installed
from tests.support.layers import SITE, STREAM, TEXT, Written, fixed_compress, wheel_layer, write
from tests.support.wheels import STORED, Member, build_wheel, record_hash


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


@pytest.mark.parametrize(
    "text",
    [
        "Wheel-Version: 1.0\nGenerator: x (1)\nRoot-Is-Purelib: true\nTag: py3-none-any\n\n",
        "Generator: x\nwheel-VERSION:1.9\nWheel-Version: 2.0\n",
        "Wheel-Version:   1.0  \n",
        "Wheel-Version: 1.0\r\nTag: a\r\n\r\n",
        "Tag: a\rWheel-Version: 1.0\r",
        "Wheel-Version:\n 1.0\n",
        "Wheel-Version: 1.0\n .1\n",
        "Tag: a\n b\nWheel-Version: 1.0\n",
        "Tag: a\n\nWheel-Version: 1.0\n",
        "Tag: a\n \nWheel-Version: 1.0\n",
        "\nWheel-Version: 1.0\n",
        "From me\nWheel-Version: 1.0\n",
        "no field\nWheel-Version: 1.0\n",
        ": nameless\nWheel-Version: 1.0\n",
        "A name: x\nWheel-Version: 1.0\n",
        "Täg: a\nWheel-Version: 1.0\n",
        "Tag: ä\nWheel-Version: 1.0\n",
        "Tag: a\x0bWheel-Version: 1.0\n",
        "Wheel-Version : 1.0\n",
        "Wheel-Version: 1.0",
        "Wheel-Version\n",
        "",
    ],
)
def test_a_field_is_what_email_reads(text: str) -> None:
    expected = str(Parser().parsestr(text).get("Wheel-Version", "")).strip()
    assert wheel._field(text, "Wheel-Version").strip() == expected
