"""``export``: a lock for other installers. The installers are the real ones, on the loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import uv

from ..support.offline import FLYTE, Offline, workflow
from ..support.wheels import build_wheel


@pytest.fixture
def locked(offline: Offline) -> Offline:
    offline.locked()
    return offline


def installed(command: list[str | Path], target: Path) -> set[str]:
    """Distributions in ``target`` after the command, which has to succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return {p.name.removesuffix(".dist-info") for p in target.glob("*.dist-info")}


def pip(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check", *arguments]


TOP = {"alpha-1.0", "beta-1.0", f"flyte-{FLYTE}"}


def test_pip_installs_it_with_hashes_from_the_configured_index(locked: Offline, tmp_path: Path) -> None:
    done = locked.ok("export", "requirements", "flow.py", "--env", "top", "-o", "out/requirements.txt")
    assert done.out == "written to out/requirements.txt: 3 wheels, for Python 3.11\n"
    written = locked.project / "out" / "requirements.txt"
    assert sorted(os.listdir(written.parent)) == ["requirements.txt"]
    target = tmp_path / "target"
    arguments = ("--require-hashes", "-r", written, "--target", target, "--index-url", locked.index.url)
    assert installed(pip(*arguments), target) == TOP
    build_wheel(locked.index.folder, "alpha", files={"alpha/__init__.py": "evil = 1\n"})
    done = subprocess.run(
        [*pip(*arguments[:-3], tmp_path / "other", *arguments[-2:]), "--no-cache-dir"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def test_pip_installs_it_without_any_index(locked: Offline, tmp_path: Path) -> None:
    done = locked.ok("export", "requirements", "lockfiles/top.json", "--wheels", "wheels")
    (tmp_path / "r.txt").write_text(done.out)
    folder, target = locked.project / "wheels", tmp_path / "target"
    assert {p.name.rsplit("-", 3)[0] for p in folder.iterdir()} == TOP
    arguments = ("--require-hashes", "--no-index", "--find-links", folder, "-r", tmp_path / "r.txt")
    assert installed(pip(*arguments, "--target", target), target) == TOP


def test_uv_installs_the_pylock_from_the_folder_beside_it(locked: Offline, tmp_path: Path) -> None:
    out = tmp_path / "moved"
    locked.ok(
        *("export", "requirements", "flow.py", "-e", "top", "--format", "pylock"),
        *("-o", out / "pylock.toml", "--wheels", out / "wheels"),
    )
    # The two go together, wherever that is.
    elsewhere = out.rename(tmp_path / "elsewhere")
    target = tmp_path / "target"
    command: list[str | Path] = [uv.find_uv_bin(), "pip", "install", "--offline", "--no-index", "--preview"]
    command += ["--python-version", "3.11", "--target", target, "-r", elsewhere / "pylock.toml"]
    assert installed(command, target) == TOP
    [wheel] = (elsewhere / "wheels").glob("alpha-*")
    size, files = wheel.stat().st_size, {"alpha/__init__.py": "evil = 1\n"}
    wheel.unlink()
    # As long as the right one, and a sound wheel: only its hash gives it away.
    short = build_wheel(wheel.parent, "alpha", files=files).stat().st_size
    comment = size - short
    assert comment > 0
    data = wheel.read_bytes()
    wheel.write_bytes(data[:-2] + comment.to_bytes(2, "little") + bytes(comment))
    assert wheel.stat().st_size == size
    done = subprocess.run([*command, "--no-cache", "--reinstall"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "hash mismatch" in done.stderr.lower()


def test_a_lock_says_it_all_and_nothing_is_imported(locked: Offline) -> None:
    by_file = locked.ok("export", "requirements", "flow.py", "--env", "low").out
    locked.write("raise RuntimeError('imported')\n")
    assert locked.ok("export", "requirements", "lockfiles/low.json").out == by_file
    assert "alpha==1.0" in by_file
    assert "beta" not in by_file
    assert "127.0.0.1" not in by_file


def test_the_only_environment_needs_no_name(offline: Offline) -> None:
    offline.write(workflow("main_env: alpha"))
    offline.locked()
    assert "alpha==1.0" in offline.ok("export", "requirements", "flow.py").out


def test_what_is_refused(locked: Offline) -> None:
    said = locked.refused(2, "export", "requirements", "flow.py")
    assert "expected one environment, found 2: low, top" in said
    assert "no environment `nope`; there are: low, top" in locked.refused(
        3, "export", "requirements", "flow.py", "--env", "nope"
    )
    said = locked.refused(2, "export", "requirements", "flow.py", "--env", "low", "--format", "pylock")
    assert "--wheels DIR" in said
    assert "not of `top`" in locked.refused(2, "export", "requirements", "lockfiles/low.json", "--env", "top")
    assert "cannot be read" in locked.refused(3, "export", "requirements", "lockfiles/gone.json")
    assert "is not for linux/arm64" in locked.refused(
        2, "export", "requirements", "flow.py", "--env", "low", "--platform", "linux/arm64"
    )
    assert "flow.py/x: cannot be written: flow.py is no folder" in locked.refused(
        9, "export", "requirements", "flow.py", "--env", "low", "-o", "flow.py/x"
    )
    (locked.lockfiles / "low.json").write_text("{}")
    locked.refused(4, "export", "requirements", "lockfiles/low.json")
    text = (locked.project / "flow.py").read_text().replace("'alpha', 'beta'", "'alpha>=1', 'beta'")
    locked.write(text)
    assert "stale" in locked.refused(4, "export", "requirements", "flow.py", "--env", "top")


def test_a_wheel_that_is_gone_is_an_error_and_no_file_is_written(locked: Offline) -> None:
    next(locked.index.folder.glob("alpha-*")).unlink()
    said = locked.refused(
        6, "export", "requirements", "flow.py", "-e", "low", "--wheels", "wheels", "-o", "requirements.txt"
    )
    assert "alpha-1.0-py3-none-any.whl" in said
    assert not (locked.project / "requirements.txt").exists()


def test_pex_says_what_it_lacks(locked: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from flyte_build.exporting import pex

    monkeypatch.setattr(pex, "find_spec", lambda name: None if name == "pex" else importlib.util.find_spec(name))
    said = locked.refused(2, "export", "pex", "flow.py", "--env", "low", "-o", "low.pex")
    assert "needs the pex tool" in said
    assert "pip install 'flyte-build[pex]'" in said
    assert not (locked.project / "low.pex").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-c", "a", "-m", "b"], "expected a script or an entry point, found both"),
        (["-c", "a b"], "-c: expected the name of a console script, found `a b`"),
        (["-m", "a:b:c"], "--entry-point: expected `module` or `module:function`, found `a:b:c`"),
        (["-m", "-x"], "--entry-point: expected"),
    ],
)
def test_pex_entry_points_that_are_none(locked: Offline, options: list[str], said: str) -> None:
    assert said in locked.refused(2, "export", "pex", "flow.py", "--env", "low", "-o", "low.pex", *options)


def test_the_group_lists_its_forms_without_importing_them(offline: Offline) -> None:
    done = offline.ok("export", "--help")
    for form in ("requirements", "pex", "nix"):
        assert form in done.out
    assert "no command `nope`" in offline.refused(2, "export", "nope")
    assert "did you mean `pex`?" in offline.refused(2, "export", "pec")
