"""``docs/adopt.md``, followed word by word on a bare Debian machine, from the wheel, by a user who is not root."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.native import naming
from tests.support.daemons import registry
from tests.support.machine import Machine, bare_machine

from .projects import SHAPES

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
WHEEL = "flyte_build-0.1.0-py3-none-any.whl"


def blocks() -> list[str]:
    """The commands of the page, a block a step."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / "adopt.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run([ROOT / "dev", "wheel", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / WHEEL


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that the machine reaches, empty: ``host:port``."""
    with registry(tmp_path_factory.mktemp("registry") / "own") as address:
        yield address


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    folder.chmod(0o755)
    made = bare_machine(folder / "root", ["ca-certificates", "git", "gpgv", "python3", "python3-venv"])
    shutil.copy(wheel, made.root / "home/dev" / WHEEL)
    yield made
    shutil.rmtree(folder, ignore_errors=True)


def test_the_wheel_is_the_same_each_time(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([ROOT / "dev", "wheel", tmp_path], capture_output=True, check=True)
    assert (tmp_path / WHEEL).read_bytes() == wheel.read_bytes()


def test_the_wheel_has_the_native_core(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert f"flyte_build/native/{naming.library().name}" in archive.namelist()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_project_is_adopted(machine: Machine, host: str, shape: str) -> None:
    files, environments, settings = SHAPES[shape]
    project = f"/home/dev/{shape}"
    for name, text in {**files, ".gitignore": ".venv\n__pycache__\n*.whl\n"}.items():
        path = machine.root / project[1:] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip("\n"))
    setup = "git config --global user.name Dev && git config --global user.email dev@example.org && git init -q"
    code, _, err = machine.run(f"chown -R dev {project} && cp /home/dev/{WHEEL} {project}")
    assert code == 0, err

    def sh(script: str) -> str:
        found = f'export PATH="$PWD/.venv/bin:$PATH"\n{script}'
        code, out, err = machine.run(found, user="dev", cwd=project, timeout=600)
        assert code == 0, f"{script}\n{out}\n{err}"
        return out

    def status() -> list[str]:
        return sorted(line[3:] for line in sh("git status --porcelain").splitlines())

    sh(f"{setup} && git add . && git commit -q -m 'Theirs'")
    install, init, commit, look, build, pin, ci, push = blocks()
    sh(install)
    assert status() == []

    before = files.get("pyproject.toml", "").lstrip("\n")
    said = sh(init)
    for name in environments:
        assert name in next(line for line in said.splitlines() if line.startswith("locked: "))
    assert status() == ["lockfiles/", "pyproject.toml"]
    after = (machine.root / project[1:] / "pyproject.toml").read_text()
    assert after.startswith(before)
    assert after.endswith(f"[tool.flyte-build]\n{settings}")
    sh(commit)

    assert "nothing stands in the way" in sh(look)
    assert status() == []
    sh(build)
    assert status() == [f"lockfiles/{name}.json" for name in sorted(environments)]
    sh(pin)
    sh(ci)
    assert status() == []
    pushed = sh(push.replace("registry.example", host))
    assert pushed.count(f"{host}/team/") >= len(environments)
    assert "nothing to push: the registry has " in pushed
    assert status() == []
    images = json.loads(sh("flyte-build images --json"))["images"]
    assert environments <= {i["environment"] for i in images}
