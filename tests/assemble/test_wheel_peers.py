"""Installed trees are what ``uv pip install`` and ``pip install`` make of the same wheels, synthetic and real."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.layers import wheel_layer, write
from tests.support.wheels import build_wheel

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
# Small, and each with something of its own: data files, many scripts, a compiled module, an executable in .data.
REAL = ("pytest", "pygments", "jsonschema", "markupsafe", "ruff", "setuptools", "docutils")
NOTES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}


def uv() -> str:
    found = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    assert found, "uv is not installed"
    return found


def tree(venv: Path) -> dict[str, tuple[bytes, bool]]:
    """Path → content and executable bit, without caches, installers' notes and what makes a venv a venv."""
    found = {}
    for path in sorted(venv.rglob("*")):
        if not path.is_file() or path.is_symlink() or "__pycache__" in path.parts:
            continue
        if path.parent.name.endswith(".dist-info") and path.name in NOTES:
            continue
        content = path.read_bytes()
        if path.parent == venv / "bin" and b"sys.exit(" in content and len(content) < 700:
            content = b"launcher of " + b" ".join(re.findall(rb"from (\S+) import (\w+)", content)[-1])
        found[path.relative_to(venv).as_posix()] = (content, bool(path.stat().st_mode & 0o111))
    return found


def layer_tree(wheels: list[Path], root: Path, venv: Path) -> dict[str, tuple[bytes, bool]]:
    """Our layer, unpacked, for a venv at the very path that the peer used."""
    root.mkdir()
    layer = write(wheel_layer(wheels, python=PYTHON, venv=str(venv)), wheels, root)
    subprocess.run(["tar", "-xzf", "-", "-C", str(root)], input=layer.blob, check=True)
    return tree(root / str(venv).lstrip("/"))


def peer_tree(install: list[str], venv: Path, wheels: list[Path]) -> dict[str, tuple[bytes, bool]]:
    subprocess.run([uv(), "venv", "-q", "--python", sys.executable, str(venv)], check=True)
    before = set(tree(venv))
    stands_for = {"UV": uv(), "PYTHON": str(venv / "bin/python")}
    arguments = [stands_for.get(argument, argument) for argument in install]
    subprocess.run([*arguments, *map(str, wheels)], check=True, env={**os.environ, "UV_LINK_MODE": "copy"})
    return {path: what for path, what in tree(venv).items() if path not in before and path != ".lock"}


UV = ["UV", "pip", "install", "-q", "--no-deps", "--offline", "--python", "PYTHON"]
PIP = [sys.executable, "-m", "pip", "--python", "PYTHON", "install", "-q", "--no-deps", "--no-index", "--no-compile"]


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return tmp_path / "venv"


@pytest.mark.integration
@pytest.mark.parametrize("installer", [UV, PIP], ids=["uv", "pip"])
def test_a_synthetic_wheel(tmp_path: Path, venv: Path, installer: list[str]) -> None:
    wheel = build_wheel(
        tmp_path,
        "Fold_Tools",
        files={"fold/__init__.py": "", "fold/run.sh": "#!/bin/sh\n", "fold/é/x.txt": "é", "top.py": "x = 1\n"},
        entry_points="[console_scripts]\nfold = fold.cli:main\nFold-Two = fold:Tool.run\n[gui_scripts]\nv = fold:v\n",
        data={
            "scripts/tool": "#!python\nprint()\n",
            "scripts/native": b"\x7fELF\0",
            "data/share/x": "x",
            "headers/x/h.h": "h",
            "purelib/pure.py": "p",
            "platlib/plat.py": "p",
        },
        modes={
            "fold/run.sh": 0o755,
            "Fold_Tools-1.0.data/scripts/tool": 0o755,
            "Fold_Tools-1.0.data/scripts/native": 0o755,
        },
    )
    expected = peer_tree(installer, venv, [wheel])
    assert len(expected) == 16
    found = layer_tree([wheel], tmp_path / "root", venv)
    # The folder of headers is named after the requirement, which has no form that all agree on.
    assert headers_apart(found) == headers_apart(expected)


def headers_apart(found: dict[str, tuple[bytes, bool]]) -> dict[str, tuple[bytes, bool]]:
    return {re.sub(r"(include/site/python[\d.]+/)[^/]+", r"\1NAME", path): what for path, what in found.items()}


@pytest.fixture(scope="session")
def real_wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    subprocess.run([*command, *REAL], check=True)
    return sorted(folder.glob("*.whl"))


@pytest.mark.integration
@pytest.mark.parametrize("installer", [UV, PIP], ids=["uv", "pip"])
def test_real_wheels(tmp_path: Path, venv: Path, installer: list[str], real_wheels: list[Path]) -> None:
    assert len(real_wheels) == len(REAL)
    expected = peer_tree(installer, venv, real_wheels)
    found = layer_tree(real_wheels, tmp_path / "root", venv)
    assert sorted(found) == sorted(expected)
    differing = [path for path in expected if found[path] != expected[path]]
    assert differing == []
