"""The plug-in on the example, with its real packages; and on the oldest Flyte SDK that we say works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from uv import find_uv_bin

from flyte_build.kernel.platforms import host_platform
from tests.support.backend import Backend
from tests.support.cli import Cli
from tests.support.registry import RegistryServer
from tests.support.site import flyte_configuration, image_lookup, images_of

from .conftest import EXAMPLE, LOCKFILES, ROOT, Layout

pytestmark = pytest.mark.integration

# What depends on the SDK: the plug-in, reading images and files, and the runtime's protocol.
TESTS = (
    "tests/plugin",
    "tests/project",
    "tests/submit/test_service.py",
    "tests/submit/test_template.py",
    "tests/submit/test_runs.py",
)


def oldest() -> str:
    """The version in ``flyte>=…`` of our own requirements."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (found,) = (m for r in project["dependencies"] if (m := re.fullmatch(r"flyte>=([\d.]+),<3", r)))
    return str(found[1])


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose environment has this checkout, and the oldest SDK instead of the newest."""
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True, timeout=120)
    made = folder / "bin" / "python"
    wanted = ["-e", f"{ROOT}[dev]", f"flyte=={oldest()}"]
    command = [uv, "pip", "install", "-q", "--python", made, *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return made


def test_it_is_another_version(python: Path) -> None:
    code = "import importlib.metadata as m; print(m.version('flyte'), m.version('flyte-build'))"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split()[0] == oldest()


def test_the_contract_holds_on_the_oldest_version(python: Path) -> None:
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not integration", *TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


def test_the_examples_task_templates_name_its_images(layout: Layout, cli: Cli, tmp_path: Path) -> None:
    """Every image in every template is one that was built here, by the digest that it has here."""
    shutil.copytree(EXAMPLE.parent, tmp_path / "af2")
    shutil.copytree(LOCKFILES, tmp_path / "lockfiles")
    (tmp_path / "pyproject.toml").write_text(f'[tool.flyte-build]\nplatforms = ["{host_platform()}"]\n')
    with RegistryServer() as registry, Backend() as backend:
        (tmp_path / "af2" / "config.yaml").write_text(flyte_configuration(backend))
        variables = {"FLYTE_BUILD_REGISTRY": f"{registry.host}/team", "HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
        command = [Path(sys.executable).parent / "flyte", "deploy", "main.py", "env"]
        done = subprocess.run(
            command,
            cwd=tmp_path / "af2",
            env=cli.environment() | {k: v for k, v in os.environ.items() if k.startswith(("UV_", "PIP_"))} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        expected = {name: f"{registry.host}/team/{name}@{digest}" for name, digest in layout.digests.items()}
        templates = [request.spec.task_template for request in backend.deployed]
    assert sorted(t.id.name for t in templates) == ["fold_env.run_fold", "msa_env.run_msa", "multi_env.main"]
    for template in templates:
        assert template.container.image == expected[template.id.name.partition(".")[0]]
        assert image_lookup(template) == expected
        assert images_of(template) == set(expected.values())
