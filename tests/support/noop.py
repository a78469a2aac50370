"""A project of which everything that a plan can depend on may change, planned, recorded and recalled."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flyte_build.kernel.errors import FlyteBuildError
from flyte_build.locks.lockfile import write
from flyte_build.planning import noop
from flyte_build.planning.images import plan_images
from flyte_build.planning.recording import Recording
from flyte_build.planning.watching import recording
from flyte_build.planning.workspace import open_workspace
from flyte_build.project.layout import starting
from flyte_build.settings import default_file
from flyte_build.store import Store
from tests.support.recipes import lock_of

KEY = "k" * 64

MAIN = """
import json, os, pathlib
import flyte
import helper_of_noop
import installed_of_noop

here = pathlib.Path(__file__).parent
packages = ["a", *json.loads((here / "data" / "config.json").read_text()), *helper_of_noop.EXTRA]
packages += [installed_of_noop.REQUIREMENT]
if os.environ.get("NOOP_USE_B"):
    packages.append("b")
packages += sorted(p.stem for p in (here / "reqs").glob("*.txt"))
if (here / "flag").exists():
    packages.append("flagged")
image = (
    flyte.Image.from_debian_base(python_version=(3, 11), flyte_version="2.12.1", platform=("linux/amd64",))
    .with_pip_packages(*packages)
    .with_source_file(here / "linked.txt", "/data/linked.txt")
)
env = flyte.TaskEnvironment("env", image=image)
"""


STATED = "[tool.flyte-build]\nfile = 'main_of_noop.py'\n"
"""As the project's settings begin; without them a command names the file."""


class Bench:
    """A project in a folder of its own, with everything a plan can depend on, and the ways to change it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "project"
        self.installed = folder / "lib" / "site-packages"
        self.file = self.root / "main_of_noop.py"
        self.restore()

    def restore(self) -> None:
        """Everything as in the beginning."""
        for made in (self.root / "flag", self.root / "json.py", self.root / "linked.txt"):
            made.unlink(missing_ok=True)
        for folder in ("data", "reqs", "lockfiles", "other"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for stray in (self.root / "reqs").iterdir():
            stray.unlink()
        self.installed.mkdir(parents=True, exist_ok=True)
        (self.installed / "installed_of_noop.py").write_text('REQUIREMENT = "x==1"\n')
        (self.root / "main_of_noop.py").write_text(MAIN)
        (self.root / "helper_of_noop.py").write_text("EXTRA = ['h1']\n")
        (self.root / "data" / "config.json").write_text('["d1"]')
        (self.root / "reqs" / "r1.txt").write_text("")
        (self.root / "one.txt").write_text("1")
        (self.root / "two.txt").write_text("2")
        (self.root / "linked.txt").symlink_to("one.txt")
        os.environ.pop("NOOP_USE_B", None)
        for stated in (self.folder / "pyproject.toml", self.root / "pyproject.toml"):
            stated.unlink(missing_ok=True)
        for extra in (self.root / "lockfiles").iterdir():
            extra.unlink()
        self.lock()

    def lock(self) -> None:
        recipe = open_afresh(self).project.environments["env"].recipe
        write(self.root / "lockfiles", lock_of(recipe))

    def plan(self) -> Any:
        """The answer of planning anew, or the error's words."""
        with self.recorded() as (_, answer):
            return answer

    def recall(self) -> Any:
        """The recorded answer, as a new process would find it."""
        forget(self)
        return noop.load(KEY)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[tuple[Recording, Any]]:
        forget(self)
        with recording() as recorder:
            try:
                file = default_file(self.root) if (self.root / "pyproject.toml").is_file() else self.file
                recorder.about(starting(file).root)
                workspace = open_workspace(file)
                answer = plan_images(workspace, workspace.select(), Store(), "linux/amd64").to_json()
            except FlyteBuildError as e:
                answer = {"error": e.message}
        yield recorder, json.loads(json.dumps(answer))


def forget(bench: Bench) -> None:
    """As a new process would begin."""
    for name in [n for n in sys.modules if n.endswith("_of_noop")]:
        del sys.modules[name]
    sys.path[:] = [p for p in sys.path if not p.startswith(str(bench.folder))]
    sys.path.append(str(bench.installed))
    sys.path_importer_cache.clear()


def open_afresh(bench: Bench) -> Any:
    forget(bench)
    return open_workspace(bench.root / "main_of_noop.py")


def replace(path: Path, text: str) -> None:
    """As editors do: a new file under the old name."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def edit_keeping_times(path: Path, text: str) -> None:
    """A change that size and mtime do not show: a skewed clock, a restored backup, `touch -r`."""
    before = path.stat() if path.exists() else None
    path.write_text(text)
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
