"""The example of the documentation: nothing to find in it, and the documented mistakes found in copies of it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.locks.lockfile import read
from flyte_build.locks.nouns import Lock, LockedWheel
from flyte_build.planning.checks import Finding, check
from flyte_build.project.loading import load
from tests.support.recipes import AMD64

REPOSITORY = Path(__file__).parents[3]


def modules_of(wheels: Sequence[LockedWheel]) -> Mapping[str, frozenset[str]]:
    """What these wheels have, as far as the example asks."""
    known = {"flyte": {"flyte", "flyte.io"}, "pytest": {"pytest", "_pytest"}}
    return {w.sha256: frozenset(known.get(w.name, {w.name.replace("-", "_")})) for w in wheels}


Check = Callable[..., list[Finding]]


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Check]:
    """Check a copy of the example with changes ``{file: [(pattern, replacement)]}`` against its own locks.

    ``without``: distributions taken out of an environment's lock, as locking the changed file would.
    """

    def run(changes: Mapping[str, Sequence[tuple[str, str]]], without: Mapping[str, set[str]]) -> list[Finding]:
        root = tmp_path / "af2"
        shutil.copytree(REPOSITORY / "examples" / "af2", root, ignore=shutil.ignore_patterns("__pycache__"))
        for name, pairs in changes.items():
            text = (root / name).read_text()
            for pattern, replacement in pairs:
                text, count = re.subn(pattern, replacement, text, count=1)
                assert count, pattern
            (root / name).write_text(text)
        project = load(root / "main.py", stand_ins=True)
        locks = {name: _lock(name, without.get(name, set())) for name in project.environments}
        return check(project, project.environments.values(), locks, AMD64, modules_of)

    modules, path = set(sys.modules), list(sys.path)
    yield run
    for name in set(sys.modules) - modules:
        if "site-packages" not in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    sys.path[:] = path


def _lock(name: str, without: set[str]) -> Lock:
    lock = read(REPOSITORY / "lockfiles", name)
    assert lock is not None
    platforms = {
        n: replace(p, wheels=tuple(w for w in p.wheels if w.name not in without)) for n, p in lock.platforms.items()
    }
    return replace(lock, platforms=platforms)


def test_the_example_is_well(checked: Check) -> None:
    assert checked({}, {}) == []


def test_without_depends_on(checked: Check) -> None:
    found = checked({"main.py": [(r"depends_on=\[fold_env, msa_env\]", "depends_on=[fold_env]")]}, {})
    assert [(f.severity, f.code, f.message, f.hint) for f in found] == [
        (
            "error",
            "depends-on-missing",
            "main (multi_env) calls run_msa (msa_env), but multi_env does not depend on msa_env",
            "in main.py:15: `env` with `depends_on=[fold_env, msa_env]`",
        )
    ]
    line = (REPOSITORY / "examples/af2/main.py").read_text().splitlines()[found[0].line - 1]
    assert "run_msa(sequence)" in line


def test_without_the_packages_of_a_task_whose_module_imports_them(checked: Check) -> None:
    found = checked(
        {
            "main.py": [(r"fold_image\.with_pip_packages\(\*MSA_PACKAGES\)", "fold_image")],
            "msa/run.py": [(r"\nimport flyte\n", "\nimport flyte\nimport pytest\n")],
        },
        {"multi_env": {"pytest", "iniconfig", "pluggy"}},
    )
    lock = read(REPOSITORY / "lockfiles", "msa_env")
    assert lock is not None
    version = next(w.version for w in lock.platforms[AMD64].wheels if w.name == "pytest")
    assert [(f.severity, f.code, f.file, f.environment, f.message, f.hint) for f in found] == [
        (
            "error",
            "import-missing",
            "main.py",
            "multi_env",
            f"multi_env calls run_msa (msa_env), whose module imports pytest (pytest {version}): main_image lacks it",
            "add it: `main_image = fold_image.with_pip_packages(*MSA_PACKAGES)` (`from msa.run import MSA_PACKAGES`), "
            "or call the task remotely (`flyte.remote.Task.get`)",
        )
    ]


def test_without_the_packages_of_a_task_that_imports_them_itself(checked: Check) -> None:
    """As the example is: `import pytest` is in the task, so that its callers can do without."""
    changes = {"main.py": [(r"fold_image\.with_pip_packages\(\*MSA_PACKAGES\)", "fold_image")]}
    assert checked(changes, {"multi_env": {"pytest", "iniconfig", "pluggy"}}) == []
