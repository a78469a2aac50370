"""The example's images: built, one package changed by locking a copy anew, and told apart in every way there is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_build.diffing.comparison import Difference, difference
from flyte_build.kernel.platforms import host_platform
from flyte_build.locks.lockfile import read
from flyte_build.store import Store
from flyte_build.workbench.subjects import Context, parse_subject, read_subjects
from tests.support.repository import Repository
from tests.support.tools import need

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Changed:
    """A copy of the example in a repository, built, committed, and then locked with another ruff."""

    repository: Repository
    store: Store
    old: str
    new: str
    before: dict[str, str]

    @property
    def main(self) -> Path:
        return self.repository.folder / "af2/main.py"

    def flyte_build(self, *arguments: str) -> str:
        return flyte_build(self.store, *arguments)

    def diff(self, a: str, b: str, store: Store | None = None) -> Difference:
        subjects = parse_subject(a, self.main), parse_subject(b, self.main)
        return difference(*read_subjects(*subjects, Context(store or self.store)))


def flyte_build(store: Store, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flyte_build", *arguments],
        env={**os.environ, "FLYTE_BUILD_CACHE": str(store.root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def version(folder: Path, environment: str, package: str) -> str:
    lock = read(folder, environment)
    assert lock is not None
    return next(w.version for w in lock.platforms[host_platform()].wheels if w.name == package)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changed]:
    need("git")
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "examples/af2", folder / "af2", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "lockfiles", folder / "lockfiles")
    cache = tmp_path_factory.mktemp("cache")
    store = Store(cache)
    repository = Repository(folder)
    main = str(folder / "af2/main.py")
    built = json.loads(flyte_build(store, "build", main, "--json"))
    repository.git("add", ".")
    repository.commit()
    old = version(folder / "lockfiles", "fold_env", "ruff")
    source = folder / "af2/fold/run.py"
    source.write_text(source.read_text().replace('"ruff"', f'"ruff<{old}"'))
    flyte_build(store, "lock", main, "--quiet")
    new = version(folder / "lockfiles", "fold_env", "ruff")
    assert new != old
    yield Changed(repository, store, old, new, {i["environment"]: i["digest"] for i in built["images"]})
    shutil.rmtree(cache, ignore_errors=True)


def versions(found: Difference) -> list[tuple[str, str | None, str | None]]:
    changes = found.wheels or ()
    return [(c.name, c.before and c.before.version, c.after and c.after.version) for c in changes]


def layers(found: Difference) -> tuple[int, list[str], list[str]]:
    assert found.layers is not None
    return len(found.layers.shared), [x.title for x in found.layers.gone], [x.title for x in found.layers.new]


def test_the_lock_and_its_past(changed: Changed) -> None:
    path = changed.repository.folder / "lockfiles/fold_env.json"
    found = changed.diff(f"HEAD:{path}", str(path))
    assert versions(found) == [("ruff", changed.old, changed.new)]
    assert layers(found) == (3, [f"ruff {changed.old}"], [f"ruff {changed.new}"])
    assert (found.debs, found.env, found.config) == ((), (), ())


def test_before_and_after_it_is_built(changed: Changed, tmp_path: Path) -> None:
    path = changed.repository.folder / "lockfiles/fold_env.json"
    planned = changed.diff(changed.before["fold_env"], "fold_env")
    assert versions(planned) == [("ruff", changed.old, changed.new)]
    assert [n.why for n in planned.unknown("files")] == [f"`ruff {changed.new}`: the layer was not built here"]
    assert changed.diff("store:msa_env", "msa_env").empty, "nothing of msa_env changed"
    explanation = explained(changed)
    assert explanation["fold_env"]["summary"] == f"ruff {changed.old} → {changed.new}"
    assert explanation["msa_env"]["summary"] == "nothing changed since the last build"
    assert [x["kept"] for x in explanation["multi_env"]["layers"]].count(False) == 1

    changed.flyte_build("build", str(changed.main), "--quiet", "--output", f"oci:{tmp_path}/out")
    assert changed.diff("store:fold_env", "fold_env").empty
    found = changed.diff(changed.before["fold_env"], "fold_env")
    assert found.not_known == ()
    names = {c.name: c for c in found.files or ()}
    binary = names.pop("opt/venv/bin/ruff")
    assert (binary.kind, binary.before is not None and binary.before.mode) == ("changed", 0o755)
    assert all("/ruff" in name for name in names)
    assert found.after.size is not None
    assert found.after.size > 50_000_000
    assert changed.diff(str(path), "store:fold_env").empty

    empty = Store(tmp_path / "none")
    layout = f"oci:{tmp_path}/out:fold_env"
    (known, foreign), (_, read_again) = (
        read_subjects(parse_subject("store:fold_env"), parse_subject(layout), Context(changed.store)),
        read_subjects(parse_subject(layout), parse_subject(layout), Context(empty)),
    )
    assert foreign.wheels == known.wheels
    again = difference(known, read_again)
    assert again.empty, "what its tar streams hold is what the listings say"
    assert (again.files, again.wheels, again.debs) == ((), (), ())
    assert len(read_again.debs or ()) > 20


def explained(changed: Changed) -> dict[str, Any]:
    """Explanations by environment, made as ``plan --explain`` makes them, in a process of its own."""
    script = """
import json, sys
from pathlib import Path
from flyte_build.planning.images import plan_images
from flyte_build.planning.explain import explain_plan
from flyte_build.store import Store
from flyte_build.planning.workspace import open_workspace
workspace, store = open_workspace(Path(sys.argv[1])), Store()
plan = plan_images(workspace, workspace.select(), store)
print(json.dumps({e.environment: e.to_json() for e in explain_plan(plan, store, workspace.lockfiles)}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(changed.main)],
        env={**os.environ, "FLYTE_BUILD_CACHE": str(changed.store.root)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_image_in_another_compression(changed: Changed, tmp_path: Path) -> None:
    source = f"oci:{changed.store.oci}:msa_env-{host_platform().replace('/', '-')}"
    target = tmp_path / "zstd"
    subprocess.run(
        [need("skopeo"), "copy", "--quiet", "--dest-compress-format", "zstd", source, f"oci:{target}:app"],
        check=True,
        timeout=300,
    )  # fmt: skip
    found = changed.diff("store:msa_env", f"oci:{target}")
    assert found.empty is False, "every layer is another blob"
    assert layers(found)[0] == 0
    assert found.wheels is None
    assert (found.env, found.config) == ((), ())
    assert {n.side for n in found.unknown("files")} == {"after"}
