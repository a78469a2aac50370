"""``docs/python.md``, word by word: its examples run one after the other and print what the page says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.offline_fixtures import registry
from tests.support.registry import RegistryServer

from .conftest import LOCKFILES, ROOT, Layout

__all__ = ["registry"]

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "python.md"


def examples() -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def test_the_page_has_every_public_name() -> None:
    import flyte_build

    text = PAGE.read_text(encoding="utf-8")
    verbs = {name for name in vars(flyte_build.Workbench) if not name.startswith("_")}
    assert {v for v in verbs if f"project.{v}(" not in text} == {"named_lock"}
    offered = set(flyte_build.__all__) - {"Workbench", "__version__"}
    assert {name for name in offered if f"flyte_build.{name}" not in text} == set()


def test_the_page_is_true(cli: Cli, layout: Layout, registry: RegistryServer, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "af2", tmp_path / "examples" / "af2")
    shutil.copytree(LOCKFILES, tmp_path / "lockfiles")
    code = examples()
    expected = [line[4:] for line in code.splitlines() if line.startswith("# → ")]
    assert len(expected) >= 12
    script = tmp_path / "page.py"
    script.write_text(code.replace("registry.example", registry.host))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=cli.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(registry.host, "registry.example").splitlines() == expected
