"""``./dev`` where it has nothing to run with: it says so in its own words, and help needs no program at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def dev(*arguments: str, path: Path, cwd: Path = ROOT) -> tuple[int, str, str]:
    """Exit code, output and errors, with ``path`` as PATH and no other variable."""
    command = ["/bin/sh", str(ROOT / "dev"), *arguments]
    done = subprocess.run(command, env={"PATH": str(path)}, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_help_needs_no_program(tmp_path: Path) -> None:
    code, out, err = dev(path=tmp_path, cwd=tmp_path)
    assert (code, err) == (0, "")
    for command in (
        "flyte-build ARGS...",
        "test [ARGS...]",
        "test --all [ARGS...]",
        "check",
        "bench",
        "cluster up",
        "setup",
    ):
        assert f"  ./dev {command}" in out
    assert "set -eu" not in out
    assert dev("nonsense", path=tmp_path)[:2] == (1, out)


@pytest.mark.parametrize("command", ["setup", "flyte-build", "test", "check", "bench", "cluster"])
def test_a_program_that_is_missing_is_named(tmp_path: Path, command: str) -> None:
    code, out, err = dev(command, path=tmp_path)
    assert (code, out) == (1, "")
    assert err == f"dev: expected the program cat on PATH, found none; PATH is {tmp_path}\n"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(0, 0, 0), (0, 5, 0), (5, 0, 0), (5, 5, 5), (1, 0, 1), (0, 1, 1), (1, 5, 1), (2, 0, 2)],
)
def test_all_fails_where_either_half_does(tmp_path: Path, first: int, second: int, code: int) -> None:
    """5 is pytest's word for no tests: of a part, one half may have none."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" != -c ] || exit 0\necho "$*" >>{tmp_path}/told\n'
        f'case "$*" in *"not integration"*) exit {first} ;; *) exit {second} ;; esac\n'
    )
    python.chmod(0o755)
    said = subprocess.run(["cksum"], input=_setup_of(), capture_output=True, check=True).stdout.decode().strip()
    (tmp_path / ".flyte-build").write_text(f"{said} {ROOT}")
    variables = {"PATH": "/usr/bin:/bin", "FLYTE_BUILD_VENV": str(tmp_path)}
    command = ["/bin/sh", str(ROOT / "dev"), "test", "--all", "tests/store", "-q"]
    assert subprocess.run(command, env=variables, check=False).returncode == code
    told = (tmp_path / "told").read_text().splitlines()
    assert told[0] == "-m flyte_build.native build"
    assert all(line.startswith("-m compileall -q ") for line in told[1:3])
    told = told[3:]
    assert told[0] == "-m pytest --all -m not integration tests/store -q"
    assert told[1:] == ([] if first == 2 else ["-m pytest --all -m integration -n 0 tests/store -q"])


def test_a_checkout_gets_bytecode_whatever_the_shell_says(tmp_path: Path) -> None:
    """Or every start of flyte-build compiles its sources anew."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "flyte-build").write_text('#!/bin/sh\necho "${PYTHONDONTWRITEBYTECODE-unset} $*"\n')
    for program in (tmp_path / "bin").iterdir():
        program.chmod(0o755)
    said = subprocess.run(["cksum"], input=_setup_of(), capture_output=True, check=True).stdout.decode().strip()
    (tmp_path / ".flyte-build").write_text(f"{said} {ROOT}")
    variables = {"PATH": "/usr/bin:/bin", "FLYTE_BUILD_VENV": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["/bin/sh", str(ROOT / "dev"), "flyte-build", "plan"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "unset plan\n"


def test_what_tests_need_is_installed_when_they_are_asked_for(tmp_path: Path) -> None:
    """README's first command goes without; what it has installed stays."""
    (tmp_path / "bin").mkdir()
    log = tmp_path / "told"
    for name in ("python", "flyte-build", "uv"):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\n[ "$1" = -c ] || echo "{name} $*" >>{log}\n')
        program.chmod(0o755)
    said = subprocess.run(["cksum"], input=_setup_of(), capture_output=True, check=True).stdout.decode().strip()
    stamp = tmp_path / ".flyte-build"
    stamp.write_text(f"{said} {ROOT} to run")
    variables = {"PATH": "/usr/bin:/bin", "FLYTE_BUILD_VENV": str(tmp_path)}

    def told(*words: str) -> list[str]:
        log.write_text("")
        done = subprocess.run(["/bin/sh", str(ROOT / "dev"), *words], env=variables, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return log.read_text().splitlines()

    assert told("flyte-build", "plan")[-1:] == ["flyte-build plan"]
    assert stamp.read_text().endswith(" to run")
    installing = [line for line in told("setup") if line.startswith("uv ")]
    assert installing == [
        f"uv pip install -q -p {tmp_path}/bin/python -c {ROOT}/constraints.txt -r {ROOT}/pyproject.toml --extra dev"
    ]
    assert stamp.read_text() == f"{said} {ROOT}"
    for words in (("setup",), ("flyte-build", "plan")):
        assert not [line for line in told(*words) if line.startswith("uv ")]


def _setup_of() -> bytes:
    """What decides whether the environment is up to date."""
    return (ROOT / "constraints.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
