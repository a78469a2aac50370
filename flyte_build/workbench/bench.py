"""The workbench: a project opened once, and every verb a method.

    project = flyte_build.open("examples/af2/main.py")
    plan = project.plan("main")
    images = project.build("main")
    run = project.run("main", sequence="AAGG")

Verbs join the stages, in one place for scripts, notebooks, the command line and the plug-in. They print nothing and
parse nothing: progress goes to the reporter, results are values, and errors are those of :mod:`flyte_build.errors`.
Safe in a running event loop, from several threads, and for several projects in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..kernel.reporting import Logged, Reporter
from ..kernel.users_code import reading
from ..planning.workspace import Workspace, find_lockfiles
from ..project.layout import starting
from ..project.modules import Modules
from ..settings import default_file
from ..store import Store
from .registering import Registering

if TYPE_CHECKING:
    from ..delivery.bundle import Bundled
    from ..locking.project import LockReport
    from ..planning.checks import Finding
    from ..submit.sandbox.spec import Network
    from .describing import Document
    from .exporting import Exported
    from .following import Follower
    from .making import Images
    from .named_lock import Named
    from .plans import Planned
    from .readiness import Ready
    from .running import RunOptions
    from .runs import Run
    from .submitting import Submitted
    from .verification import Verification

__all__ = ["Workbench", "open_project"]


def open_project(
    file: Path | str | None = None,
    *,
    root: Path | str | None = None,
    lockfiles: Path | str | None = None,
    reporter: Reporter | None = None,
    store: Store | None = None,
    stand_ins: bool = True,
) -> Workbench:
    """Import the user's ``file`` and find its settings and locks.

    ``file``: default the ``file`` of ``[tool.flyte-build]``; ``root``: where imports start (default: the settings',
    else the folder below which all of the project's code that it imports lies); ``lockfiles``: the folder of the locks
    (default: see docs/settings.md). ``reporter`` hears of progress, notes and warnings (default: the log
    ``flyte_build``). What the tasks import and this machine has not is stood in for, unless ``stand_ins`` is false.
    Raises :class:`LoadError` where the file does not load.
    """
    from ..project.loading import load

    with reading():
        path = Path(file) if file is not None else default_file(Path.cwd())
        layout = starting(path, Path(root) if root is not None else None)
        modules = Modules(layout.root)
        with modules.entered():
            project = load(path, layout.root, search=layout.search, stand_ins=stand_ins)
        folder = Path(lockfiles).absolute() if lockfiles is not None else find_lockfiles(project.root)
        return Workbench(Workspace(project, folder), modules, reporter or Logged(), store or Store())


class Workbench(Registering):
    """An open project. Made by :func:`flyte_build.open`; everything it shows is read-only.

    In every verb, ``task`` is a task's name (its environment and all that one depends on is meant), ``env`` are names
    of environments with all they depend on, and without both all environments of the file are meant. ``platform`` is
    ``linux/amd64``, ``linux/arm64`` or ``all`` (default: this machine's). ``caches`` are repositories of registries
    that are asked instead of the settings'.
    """

    # -- locks and plans -------------------------------------------------------------------------------

    def lock(
        self,
        *,
        env: Sequence[str] = (),
        resolver: Literal["uv", "pip-tools"] = "uv",
        exclude_newer: str | None = None,
        upgrade: bool | Sequence[str] = False,
        reseal: Sequence[str] = (),
        solving: Callable[[], object] | None = None,
    ) -> LockReport:
        """Lock every environment that is meant: one ``lockfiles/<environment>.json`` each.

        ``exclude_newer``: a date, an RFC 3339 instant or an age (``7 days``; default: the settings'). ``upgrade``:
        ``True`` chooses every version anew, names choose these packages anew. ``reseal``: numbers of sealed steps that
        are run again although their seals hold, ``all``: every one. ``solving`` is called where the locks do not answer
        as they are, before anybody is asked. Raises :class:`ResolutionError`,
        :class:`FetchError`, :class:`RefusedError`, :class:`SealError` or :class:`StoreError`; then no lock was touched.
        """
        from .locking import lock_environments

        return lock_environments(
            self.workspace,
            self.select(env=env),
            self.store,
            self.reporter,
            resolver=resolver,
            cutoff=exclude_newer,
            upgrade=upgrade if isinstance(upgrade, bool) else list(upgrade),
            reseal=reseal,
            solving=solving,
        )

    def check_locks(self, *, env: Sequence[str] = ()) -> int:
        """How many locks there are, each answering its recipe. Raises :class:`LockError` that says what changed."""
        from .locking import check_environments

        return check_environments(self.workspace, self.select(env=env))

    def plan(
        self,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        platform: str | None = None,
        caches: Sequence[str] = (),
        online: bool = False,
    ) -> Planned:
        """What would be built and why, and what is wrong with the calls. Fetches and builds nothing.

        ``online``: what is in wheels that are not here is read off the indexes, so that no import stays unchecked.
        Raises :class:`LockError` where a lock is missing or stale.
        """
        from .plans import plan

        return plan(self, self.select(task, env), task, platform, caches, online=online)

    def check(self, task: str | None = None, *, env: Sequence[str] = ()) -> tuple[Finding, ...]:
        """What is wrong with the calls of these tasks (docs/checks.md); ``plan(…, online=True)`` without the plan."""
        return tuple(self.findings(self.select(task, env), reporter=self.reporter))

    # -- images ----------------------------------------------------------------------------------------

    def build(
        self,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        platform: str | None = None,
        caches: Sequence[str] = (),
        check: bool = True,
        locked: bool = False,
        jobs: int | None = None,
        output: str | None = None,
        into: str | None = None,
        follower: Follower | None = None,
    ) -> Images:
        """Build the images that are meant, unless the store has them, and pin their digests in the locks.

        ``check``: refuse a call that would fail. ``locked``: write no pin, and accept only what is pinned. ``jobs``:
        layers assembled at once. ``output``: also write them (``oci:DIR``, ``oci-archive:FILE``,
        ``docker-archive:FILE``); ``into``: also load them (``docker``, ``podman``). ``follower`` hears of the plan
        before anything is built. Raises what the stages raise, :class:`CheckError` and :class:`PinError` among them.
        """
        from .making import Asked, make

        asked = Asked(task, tuple(env), platform, tuple(caches), check, locked, jobs, output, into)
        return make(self, asked, follower)

    def push(
        self,
        task: str | None = None,
        *,
        registry: str | None = None,
        tags: Sequence[str] = (),
        attest: bool = True,
        soci: bool = False,
        env: Sequence[str] = (),
        platform: str | None = None,
        caches: Sequence[str] = (),
        check: bool = True,
        locked: bool = False,
        jobs: int | None = None,
        output: str | None = None,
        into: str | None = None,
        follower: Follower | None = None,
    ) -> Images:
        """Push the images that are meant below ``registry`` (default: the settings'); build what is missing first.

        ``tags`` name them besides their digest; ``attest``: attach SBOM and provenance; ``soci``: push images with SOCI
        indexes beside them. ``platform``: by default all that the images are for. The rest as :meth:`build`.
        """
        from .making import Asked, make

        asked = Asked(
            task, tuple(env), platform, tuple(caches), check, locked, jobs, output, into, registry or "", tuple(tags),
            attest, soci,
        )  # fmt: skip
        return make(self, asked, follower)

    def load(self, task: str | None = None, into: Literal["docker", "podman"] = "docker", **more: Any) -> Images:
        """Put the images that are meant into an engine of this machine: :meth:`build` with ``into``."""
        return self.build(task, into=into, **more)

    def verify(
        self,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        platform: str | None = None,
        registry: str | None = None,
        fetch: bool = False,
        jobs: int | None = None,
    ) -> Verification:
        """Rebuild images from nothing and compare them with pins, the store and ``registry`` (or one image in it).

        ``fetch``: download every artifact anew. What differs is in the result; ``verification.refuse()`` raises it.
        """
        from .verification import verify

        return verify(self, self.select(task, env), platform, registry, fetch=fetch, jobs=jobs)

    def bundle(
        self,
        target: Path | str,
        task: str | None = None,
        *,
        env: Sequence[str] = (),
        platform: str | None = None,
        caches: Sequence[str] = (),
        images: bool = True,
        artifacts: bool = True,
        check: bool = True,
        jobs: int | None = None,
    ) -> Bundled:
        """Write all that the images need to one file for a site without network; :func:`flyte_build.unbundle` there."""
        from .bundling import bundle

        return bundle(
            self, Path(target), self.select(task, env), platform, caches,
            images=images, artifacts=artifacts, check=check, jobs=jobs,
        )  # fmt: skip

    # -- locks and images in other forms ---------------------------------------------------------------

    def named_lock(self, env: str | None = None) -> Named:
        """The lock of one environment, by default of the only one. Raises :class:`InputError`, :class:`LockError`."""
        from .named_lock import of_project

        return of_project(self.workspace, env)

    def export(
        self, form: Literal["requirements", "pylock", "pex"] = "requirements", *, env: str | None = None, **more: Any
    ) -> Exported:
        """One environment's locked wheels for other installers; see :func:`flyte_build.workbench.exporting.export`."""
        from .exporting import export

        return export(self.named_lock(env), form, self.reporter, store=self.store, **more)

    def sbom(
        self, task: str | None = None, *, env: Sequence[str] = (), platform: str | None = None
    ) -> tuple[Document, ...]:
        """What is in the images of ``task``'s environment, of ``env`` alone, or of all: every package by its hash."""
        from .describing import describe

        return describe(self, task, env, platform)

    # -- runs ------------------------------------------------------------------------------------------

    def ready(
        self,
        task: str,
        *,
        caches: Sequence[str] = (),
        check: bool = True,
        locked: bool = False,
        network: Network | None = None,
        follower: Follower | None = None,
    ) -> Ready:
        """Make everything that a run of ``task`` here needs: locks where the project has none, checks, images."""
        from .readiness import get_ready

        return get_ready(self, self.task(task), caches, check=check, locked=locked, network=network, follower=follower)

    def run(self, task: str, options: RunOptions | None = None, /, **arguments: Any) -> Run:
        """Run ``task`` here, and every task it calls, each in a sandbox made from its own environment's image; or,
        with ``options.on``, on that target of the settings, each in a pod (docs/kubernetes.md).

        ``arguments`` are the task's; a ``pathlib.Path`` for a ``File`` or ``Dir`` is uploaded first. A run that fails
        is a result like any other: ``run.result`` raises its :class:`RunError`, ``run.error`` is it. Raises
        :class:`SandboxError` where this machine cannot isolate, and what building raises.
        """
        from .running import RunOptions, start

        options = options or RunOptions()
        if options.on is not None:
            from .submitting import run_on

            return run_on(self, self.task(task), options, arguments)
        return start(self, self.task(task), options, arguments)

    def submit(self, task: str, options: RunOptions, /, **arguments: Any) -> Submitted:
        """Hand a run of ``task`` over to the cluster of the target ``options.on``, and go: it runs on without this
        machine. ``submitted.name`` is the run's; :func:`flyte_build.workbench.reaching.follow_run` waits for it.

        Raises what building, pushing and looking before raise, and :class:`InputError` where no target is named.
        """
        from .submitting import submit

        return submit(self, self.task(task), options, arguments)
