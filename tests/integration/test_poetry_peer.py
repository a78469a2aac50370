"""Locks of Poetry 1 against Poetry itself: what it exports, and what it would install here, is what we install.

For the night: ``FLYTE_BUILD_TEST_POETRY=1``. It needs an index with Poetry and some packages, as pip is configured.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flyte_build.recipe.poetry import poetry_choice, poetry_requirements
from flyte_build.recipe.requirements import ParsedRequirements
from flyte_build.sources.indexes import configured

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("FLYTE_BUILD_TEST_POETRY" not in os.environ, reason="for the night"),
]

PROJECT = """\
[tool.poetry]
name = "app"
version = "0.1"
description = ""
authors = []
package-mode = false
[tool.poetry.dependencies]
python = ">=3.10,<3.14"
httpx = {{version = "0.27.*", extras = ["http2"]}}
importlib-metadata = {{version = "<8.6", python = "<3.12"}}
rich = {{version = "<14", optional = true}}
numpy = [{{version = "1.26.4", python = "<3.12"}}, {{version = "2.1.3", python = ">=3.12"}}]
{more}
[tool.poetry.extras]
pretty = ["rich"]
[tool.poetry.group.dev.dependencies]
pytest = "8.3.*"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
jinja2 = "<3.2"
[[tool.poetry.source]]
name = "main"
url = "{url}"
priority = "primary"
"""
# Our arguments, and what the export has for the same; it leaves groups out unless they are named.
CHOICES: Mapping[str, str] = {
    "": "--with dev",
    "--only main": "",
    "--only main -E pretty": "-E pretty",
    "--with docs": "--with dev,docs",
}
MACHINES = (("linux", "Linux", "x86_64"), ("darwin", "Darwin", "arm64"), ("win32", "Windows", "AMD64"))


@pytest.fixture(scope="module")
def poetry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poetry")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "-q", folder, "--python", sys.executable], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", folder / "bin/python", "poetry==1.8.5"], check=True)
    return folder / "bin/poetry"


def locked(poetry: Path, folder: Path, more: str) -> None:
    index = configured(folder).default
    assert index is not None
    (folder / "pyproject.toml").write_text(PROJECT.format(url=index.url, more=more))
    subprocess.run([poetry, "lock", "--no-interaction", "-q"], cwd=folder, check=True)
    assert 'lock-version = "2.0"' in (folder / "poetry.lock").read_text()


def ours(folder: Path, words: str) -> ParsedRequirements:
    choice = poetry_choice(words.split(), "here")
    return poetry_requirements(
        folder / "pyproject.toml", folder / "poetry.lock", choice, lambda path: path.name, installs=False
    )


def taken(texts: Iterable[str], machine: Mapping[str, str]) -> dict[str, str]:
    found = map(Requirement, texts)
    return {
        canonicalize_name(r.name): str(r.specifier) for r in found if r.marker is None or r.marker.evaluate(machine)
    }


def test_what_poetry_exports(poetry: Path, tmp_path: Path) -> None:
    """On twelve machines, with the same hashes."""
    locked(poetry, tmp_path, "")
    for words, asked in CHOICES.items():
        said = subprocess.run(
            [poetry, "export", "--without-urls", *asked.split()],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        rows = [row.split(" --hash=sha256:") for row in said.replace("\\\n", " ").splitlines() if row.strip()]
        found = ours(tmp_path, words)
        hashes: dict[str, set[str]] = {}
        for text, *listed in rows:
            hashes.setdefault(canonicalize_name(Requirement(text).name), set()).update(h.strip() for h in listed)
        assert {name: set(held) for name, held in found.hashes.items()} == hashes
        for full in ("3.10.4", "3.11.9", "3.12.1", "3.13.0"):
            for platform, system, processor in MACHINES:
                machine = {**{k: str(v) for k, v in default_environment().items()}, "python_full_version": full} | {
                    "python_version": full.rpartition(".")[0], "sys_platform": platform, "platform_system": system,
                    "platform_machine": processor, "os_name": "nt" if platform == "win32" else "posix",
                }  # fmt: skip
                expected = taken((text for text, *_ in rows), machine)
                assert expected
                assert taken(found.requirements, machine) == expected, (words, full, platform)


def test_what_poetry_would_install(poetry: Path, tmp_path: Path) -> None:
    """Where two versions are locked of what a third package asks for without saying which; an export gives up there."""
    locked(poetry, tmp_path, 'contourpy = "1.3.0"')
    for words in CHOICES:
        said = subprocess.run(
            [poetry, "install", "--dry-run", "--no-ansi", "--no-interaction", *words.split()],
            cwd=tmp_path, check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        rows = re.findall(r"- Installing (\S+) \(([\w.]+)\)(.*)", said)
        expected = {canonicalize_name(name): f"=={version}" for name, version, rest in rows if "Skipped" not in rest}
        assert "contourpy" in expected
        machine = {key: str(value) for key, value in default_environment().items()}
        assert taken(ours(tmp_path, words).requirements, machine) == expected, words
