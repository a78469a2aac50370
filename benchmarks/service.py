"""(j) A service of fifteen layers of which one source file changes, pushed again: what a person waits for all day.

Ours is the command that a user types: it reads the file, checks it, makes one layer, pushes it with config, manifest,
SBOM and provenance, and pins it. The peer, ``skopeo copy``, is given the image ready-made, as an OCI layout. Both push
to one docker-registry on the loopback, which has all other layers. Locks the project first, so it needs the network.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from flyte_build.store import layout

from .context import CLI, NO_PEERS, Context
from .measure import Sample, Series, command
from .registry import PROGRAM, Place, started
from .report import Case, Ratio
from .sets import AMD64, ROOT

__all__ = ["cases"]

LAYERS, GOAL_S, GOAL_PERCENT = 15, 1, 0.5
OURS, PEER = "flyte-build push", "skopeo copy"
_FILE = """
import pathlib
import flyte

here = pathlib.Path(__file__).parent
image = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",)).with_pip_packages("pytest")
for part in sorted(here.glob("part-*")):
    image = image.with_source_folder(part, f"/srv/{part.name}")
service = flyte.TaskEnvironment("service", image=image.with_source_folder(here / "source", "/srv/source"))


@service.task
def main(x: int) -> int:
    return x
"""


def cases(context: Context) -> Iterator[Case]:
    title = f"a service of {LAYERS} layers: one source file changed"
    missing = [p for p in (PROGRAM, "skopeo") if shutil.which(p) is None]
    if context.quick:
        yield Case(title, [], skipped="not measured: --quick, and its packages come from the network")
    elif PROGRAM in missing:
        yield Case(title, [], skipped=f"not measured: no `{PROGRAM}` on PATH")
    else:
        reason = None if context.peers else NO_PEERS
        if reason is None and missing:
            reason = f"peer not measured: no `{missing[0]}` on PATH"
        with started(context.fresh("registry"), real=True) as place:
            yield _Service(context, place).measured(title, reason)


class _Service:
    """The project and its store; ``edit`` makes every version of it another one."""

    def __init__(self, context: Context, place: Place) -> None:
        self._context, self._place = context, place
        self._project, self._store = context.fresh("project"), context.fresh("store")
        self._edits = 0
        (self._project / "service.py").write_text(_FILE)
        self.edit()
        self._run("lock", "service.py", "-q")
        self._run("push", "service.py", "-q", registry=place.host)
        # Debian's layers, the runtime's and pytest's are as many as they are; the project's own make up the number.
        for number in range(LAYERS - self._layers()):
            folder = self._project / f"part-{number:02}"
            folder.mkdir()
            (folder / "part.py").write_text(f"NUMBER = {number}\n")
        self._run("lock", "service.py", "-q")
        self._run("push", "service.py", "-q", registry=place.host)

    def measured(self, title: str, reason: str | None) -> Case:
        self.edit()
        with self._place.counted() as traffic:
            self._push(self._place.counting)
        size = self._size()
        sides: dict[str, Callable[[], Sample]] = {OURS: self._ours}
        if reason is None:
            sides[PEER] = self._theirs
            self._theirs()
        found = {label: Series(label) for label in sides}
        for _ in range(self._context.rounds):
            for label, side in sides.items():
                self.edit()
                found[label].samples.append(side())
        [sent] = traffic
        ratios = [
            Ratio(OURS, found[OURS].wall, GOAL_S, unit="s"),
            Ratio("sent, of the image's bytes", 100 * sent.up / size, GOAL_PERCENT, unit="%"),
        ]
        if reason is None:
            ratios.append(Ratio(f"wall: {OURS} / {PEER}", found[OURS].wall / found[PEER].wall))
        facts: dict[str, object] = {"layers": self._layers(), "image": f"{size / 1e6:.1f} MB", "sent": str(sent)}
        return Case(title, list(found.values()), ratios, facts, reason)

    def edit(self) -> None:
        self._edits += 1
        source = self._project / "source"
        source.mkdir(exist_ok=True)
        (source / "app.py").write_text(f"VERSION = {self._edits}\n")

    def _ours(self) -> Sample:
        return self._push(self._place.host)

    def _push(self, host: str) -> Sample:
        return self._run("push", "service.py", "-q", registry=host)

    def _theirs(self) -> Sample:
        folder = self._built()
        what = f"oci:{folder}:{layout.ref_name('service', AMD64)}"
        where = f"docker://{self._place.host}/peer/service:now"
        return command(("sh", "-c", f"exec skopeo copy -q --dest-tls-verify=false {shlex.quote(what)} {where}"))

    def _built(self) -> Path:
        folder = self._context.fresh("layouts") / "service"
        self._run("build", "service.py", "-q", "--output", f"oci:{folder}")
        return folder

    def _manifest(self) -> tuple[int, int]:
        """How many layers the image has, and how many bytes they are."""
        folder = self._built()
        index = layout.parse((folder / "index.json").read_bytes())
        [entry] = layout.manifests(index or {})
        document = layout.parse((folder / "blobs" / str(entry["digest"]).replace(":", "/")).read_bytes())
        assert document is not None
        sizes = [int(layer["size"]) for layer in document["layers"]]
        return len(sizes), sum(sizes)

    def _layers(self) -> int:
        return self._manifest()[0]

    def _size(self) -> int:
        return self._manifest()[1]

    def _run(self, verb: str, *words: str, registry: str | None = None) -> Sample:
        where = {
            "FLYTE_BUILD_CACHE": str(self._store),
            "FLYTE_BUILD_STATE": str(self._context.scratch / "state"),
            "FLYTE_BUILD_REGISTRY": f"{registry}/team" if registry else "",
            "FLYTE_BUILD_REMOTE_CACHE": "",
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        }
        return command((*CLI, verb, *words), env=where, cwd=self._project)
