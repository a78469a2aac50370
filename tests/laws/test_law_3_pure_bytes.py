"""Law 3: a layer's digest is a pure function of its inputs' bytes.

Golden digests are written out: whoever changes a byte of any layer meets this file, raises the assembler's version
(``flyte_build/assemble/version.py``) and writes the new digests down.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from isal import isal_zlib

import flyte_build
from flyte_build.assemble.command import main
from tests.support.layers import TEXT, fixed_compress, plan, sha256, wheel_layer, write, write_plan
from tests.support.wheels import STORED, build_wheel

ROOT = Path(flyte_build.__file__).parent.parent
HOST_PYTHONS = ("3.11", "3.13")


def wheels(folder: Path) -> list[Path]:
    """Synthetic wheels that take every path of the assembler, with streams that no local zlib made."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        build_wheel(
            folder,
            "fold",
            "1.2",
            {"fold/__init__.py": "", "fold/cli.py": TEXT, "fold/données.txt": "é\n", "fold/run.sh": "#!/bin/sh\n"},
            entry_points="[console_scripts]\nfold = fold.cli:main\n",
            modes={"fold/run.sh": 0o755},
            compress=fixed_compress,
        ),
        build_wheel(
            folder,
            "Data-Heavy",
            "0.1",
            {"heavy/blob.bin": bytes(range(256)) * 9000, f"heavy/{'deep/' * 40}x.py": TEXT},
            data={"scripts/tool": "#!python\nprint()\n", "headers/h.h": "int h;\n", "data/share/heavy": "share\n"},
            tag="cp311-cp311-manylinux_2_28_x86_64",
            compress=fixed_compress,
            zip64=True,
        ),
        build_wheel(folder, "plain", "3", {"plain.py": TEXT * 70}, method=STORED),
    ]


GOLDEN_LAYERS = {
    "fold-1.2-py3-none-any.whl": (
        "sha256:9f53145aadf95de0ce2ec2717e887e83a7f34ef3a5b685450804a30c5eacd17a",
        "sha256:88ba584beb48e6bab3d2b92acc4de2f78452209b7eb98cb041f943dca878b84d",
    ),
    "Data_Heavy-0.1-cp311-cp311-manylinux_2_28_x86_64.whl": (
        "sha256:9e32f652670ce642e67b5c4dfdffc16817563a94274a914042671a27aca787ad",
        "sha256:25032a6e79db818f33dbb263c315d339b771367b50ad77c2379e544b1d937ad4",
    ),
    "plain-3-py3-none-any.whl": (
        "sha256:989077c53d0d15d1f266101b925087ad3ef89570a7cb074645d71b6a1c33c1f6",
        "sha256:2d76c7179537f3abc9315f67142432ee2f2f32aaa991972b284863415dc2cca7",
    ),
}
GOLDEN_TOGETHER = (
    "sha256:2afb7a8c6e1af2bdd705989cdd7ef8debb1ec52861cb6df79334da6fedff62a8",
    "sha256:e7e5a0b6c527f8baa880fa21b74698d3063a87a53903bce73454adfd45d43ad6",
)
GOLDEN_IMAGE = "sha256:84f2f3667ad0c989b73bd679d43114238d3fdd0e5ba1b6815280528de611d0b6"


def test_golden_layers(tmp_path: Path) -> None:
    for wheel in wheels(tmp_path):
        result = write(wheel_layer([wheel]), [wheel], tmp_path).result
        assert (result.digest, result.diff_id) == GOLDEN_LAYERS[wheel.name], wheel.name
    together = write(wheel_layer(wheels(tmp_path)), wheels(tmp_path), tmp_path).result
    assert (together.digest, together.diff_id) == GOLDEN_TOGETHER


def test_any_inflater(tmp_path: Path) -> None:
    found = write(wheel_layer(wheels(tmp_path)), wheels(tmp_path), tmp_path, inflate=isal_zlib).result
    assert (found.digest, found.diff_id) == GOLDEN_TOGETHER


def test_any_order_of_wheels_and_files(tmp_path: Path) -> None:
    backwards = wheels(tmp_path)[::-1]
    found = write(wheel_layer(backwards), backwards, tmp_path).result
    assert (found.digest, found.diff_id) == GOLDEN_TOGETHER


def interpreter(version: str) -> str:
    """A Python of ``version`` on this machine; none is a skip: Debian has one, and the integration tests assemble with
    the 3.13 of an image of their own."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")))
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        asked = subprocess.run(
            [uv, "python", "find", "--offline", version], capture_output=True, text=True, check=False
        )
        candidates.append(asked.stdout.strip())
    probe = f"import sys; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
    for candidate in candidates:
        # A shim is there for versions that are not: ask.
        if candidate and subprocess.run([candidate, "-c", probe], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip(f"no Python {version} found; install one (uv python install {version})")


@pytest.fixture
def everyone() -> Iterator[Path]:
    """A folder that any user can read and write; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def assemble(
    python: str,
    arguments: list[str],
    out: Path,
    *,
    folder: Path = ROOT / "flyte_build" / "assemble",
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
    umask: int = 0o022,
    user: int | None = None,
) -> str:
    """The manifest's digest, from a process of its own."""
    done = subprocess.run(
        [python, "-I", "-S", str(folder), arguments[0], str(out), *arguments[1:]],
        env=environment or {},
        cwd=cwd,
        umask=umask,
        user=user,
        extra_groups=[] if user is not None else None,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("version", HOST_PYTHONS)
def test_any_host_python(tmp_path: Path, version: str) -> None:
    arguments = write_plan(tmp_path / "in", wheels(tmp_path / "wheels"))
    assert assemble(interpreter(version), arguments, tmp_path / "out") == GOLDEN_IMAGE


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Pacific/Kiritimati", "LANG": "C"},
        {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        {"PYTHONHASHSEED": "1", "SOURCE_DATE_EPOCH": "1", "HOME": "/nowhere"},
        {"PYTHONHASHSEED": "4294967295", "TMPDIR": "/nowhere", "COLUMNS": "7"},
    ],
    ids=lambda e: ",".join(f"{k}={v}" for k, v in e.items()),
)
@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_any_environment_and_umask(tmp_path: Path, environment: dict[str, str], umask: int) -> None:
    """Without ``-I`` too, since that would hide ``PYTHON*`` from what is tested."""
    arguments = write_plan(tmp_path / "in", wheels(tmp_path / "wheels"))
    assert assemble(sys.executable, arguments, tmp_path / "out", environment=environment, umask=umask) == GOLDEN_IMAGE
    done = subprocess.run(
        [sys.executable, "-m", "flyte_build.assemble", arguments[0], str(tmp_path / "out2"), *arguments[1:]],
        env={**environment, "PYTHONPATH": str(ROOT)},
        umask=umask,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == GOLDEN_IMAGE


def test_any_working_directory_and_place(tmp_path: Path) -> None:
    """Relative paths, a copy of the folder under another name, another folder for the output."""
    arguments = write_plan(tmp_path / "in", wheels(tmp_path / "wheels"))
    relative = ["plan.json", "--artifacts", "artifacts"]
    assert assemble(sys.executable, relative, Path("../out-é"), cwd=tmp_path / "in") == GOLDEN_IMAGE
    copy = tmp_path / "0abc-assemble+x"
    shutil.copytree(ROOT / "flyte_build" / "assemble", copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert assemble(sys.executable, arguments, tmp_path / "deep/er/out", folder=copy, cwd=Path("/")) == GOLDEN_IMAGE
    # Python itself caches the __main__ that it was told to run.
    assert {path.name.partition(".")[0] for path in copy.rglob("*.pyc")} <= {"__main__"}


def test_any_user(everyone: Path) -> None:
    """As root, the assembler is run as another user too; as a user, that is what all other tests do."""
    arguments = write_plan(everyone / "in", wheels(everyone / "wheels"))
    if os.getuid() != 0:
        assert assemble(sys.executable, arguments, everyone / "out") == GOLDEN_IMAGE
        return
    copy = everyone / "assemble"
    shutil.copytree(ROOT / "flyte_build" / "assemble", copy)
    python = next(
        candidate
        for candidate in ("/usr/bin/python3", "/usr/local/bin/python3", sys.executable)
        if subprocess.run(
            [candidate, "-c", ""], user=65534, extra_groups=[], capture_output=True, check=False
        ).returncode
        == 0
    )
    subprocess.run(["chmod", "-R", "a+rX", str(everyone)], check=True)
    assert assemble(python, arguments, everyone / "out", folder=copy, user=65534, umask=0o027) == GOLDEN_IMAGE
    assert (everyone / "out").stat().st_uid == 65534


def test_any_order_of_arguments_and_of_names_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = wheels(tmp_path / "wheels")
    path = tmp_path / "plan.json"
    text = json.dumps(plan([wheel_layer([wheel]) for wheel in found]))
    shuffled = json.dumps(dict(reversed(json.loads(text).items())), indent=3)
    for i, (content, order) in enumerate([(text, found), (shuffled, found[::-1])]):
        path.write_text(content)
        artifacts = [argument for wheel in order for argument in ("--artifact", f"{sha256(wheel)}={wheel}")]
        assert main([str(path), str(tmp_path / f"out{i}"), *artifacts]) == 0
    assert capsys.readouterr().out.split() == [GOLDEN_IMAGE, GOLDEN_IMAGE]
