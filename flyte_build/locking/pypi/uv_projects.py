"""uv projects and scripts, asked of uv itself: ``uv export`` on the user's own files, as a pylock.toml (PEP 751).

A ``uv.lock`` that is there is taken as it is, and uv says whether it still answers the project; without one uv resolves
in a copy. The user's tree is only read, and no build backend is run: neither of a source distribution nor of a local
package, whose dynamic metadata are then not held against the lock (uv documentation, "Locking and syncing").
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ...kernel.errors import FetchError, FlyteBuildError, LoadError, LockError, RefusedError
from ...kernel.scratch import scratch
from ...recipe import PipInstall, SourceTree
from ...recipe.uv_projects import UvFiles, read_uv_files
from ...sources.indexes import Index, IndexFile, IndexSettings
from ...sources.lent import filled, variables_of
from ...sources.uv_projects import uv_settings
from .question import NoSolution, ignored, trimmed
from .uv import CHOOSING, KEPT, Uv
from .uv_repositories import Repositories
from .uv_told import Told
from .uv_tree import mirrored, stand_in, with_version

__all__ = ["Exported", "export"]

# What says where indexes are; it is the user's, as for `uv sync`, but no part of whether a lock is up to date.
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_HOW = ("UV_CONFIG_FILE", "UV_INDEX_STRATEGY", "UV_INSECURE_HOST", "UV_NO_CONFIG", "UV_NO_SYSTEM_CONFIG")
# uv.lock's [options] → the variable that says the same, and the key of [tool.uv].
_LOCKED_WITH = {
    "exclude-newer": ("UV_EXCLUDE_NEWER", "exclude-newer"),
    "resolution-mode": ("UV_RESOLUTION", "resolution"),
    "prerelease-mode": ("UV_PRERELEASE", "prerelease"),
    "fork-strategy": ("UV_FORK_STRATEGY", "fork-strategy"),
}
_UNREACHABLE = ("Failed to fetch", "Request failed", "error sending request", "HTTP status", "Failed to download")

_Moved: TypeAlias = tuple[Path, Path] | None


@dataclass(frozen=True, slots=True)
class Exported:
    """uv's answer: ``text`` is a pylock.toml, whose relative paths start from the project's folder. ``moved`` are the
    folder that uv saw in place of another, and that one, where an absolute path may lead into it. ``commits`` and
    ``archives`` (by SHA-256) are those for which uv saw others; ``guessed``: the repositories of whose version it was
    told that it is 0."""

    text: str
    files: UvFiles
    moved: tuple[Path, Path] | None = None
    warnings: tuple[str, ...] = field(default=())
    commits: Mapping[str, str] = field(default_factory=dict)
    archives: Mapping[str, IndexFile] = field(default_factory=dict)
    guessed: Mapping[str, SourceTree] = field(default_factory=dict)


def export(
    step: PipInstall,
    root: Path,
    settings: IndexSettings,
    cutoff: str | None,
    refresh: bool | tuple[str, ...],
    links: Path | None = None,
    known: Mapping[str, Told] = MappingProxyType({}),
) -> Exported:
    """What uv says of ``step.uv``, a project below ``root``, for every platform at once.

    ``cutoff`` and ``refresh`` as a question has them, and ``links``, a folder of wheels that are there besides, are for
    a project without a ``uv.lock``; ``known`` as :class:`.Repositories` has it. Raises
    :class:`LockError` with uv's own words for a ``uv.lock`` that does not answer the project, :class:`RefusedError` for
    what uv would have to run a program for, :class:`LoadError`, :class:`NoSolution` and :class:`FetchError`.
    """
    assert step.uv is not None
    try:
        uv = Uv.installed()
    except RefusedError as e:
        raise RefusedError(f"{step.uv.file}: uv answers its projects, and {e.message}", hint="pip install uv") from None
    files = read_uv_files(root / step.uv.file, root / step.uv.lock if step.uv.lock is not None else None)
    return _Asked(uv, step, files, settings, cutoff, refresh, links, known).answer()


class _Asked:
    def __init__(
        self,
        uv: Uv,
        step: PipInstall,
        files: UvFiles,
        settings: IndexSettings,
        cutoff: str | None,
        refresh: bool | tuple[str, ...],
        links: Path | None,
        known: Mapping[str, Told],
    ) -> None:
        assert step.uv is not None
        self._uv, self._step, self._files = uv, step, files
        self._cutoff, self._refresh, self._links = cutoff, refresh, links
        self._options, self._known = step.uv.options, known
        # Where uv is told nothing, it is told what pip is; its own configuration it reads itself.
        self._settings = settings if uv_settings(files) is None else None

    def answer(self) -> Exported:
        files = self._files
        in_place = files.lock == files.own_lock and (files.script or files.main.file.name == "pyproject.toml")
        with scratch() as folder:
            python = self._python(folder)
            if in_place:
                return self._frozen(files.folder, folder, python, None)
            if files.lock is None:
                self._refuse_dynamic()
            top = mirrored(files, folder / "copy")
            where, moved = folder / "copy" / files.folder.relative_to(top), (folder / "copy", top)
            if files.lock is not None:
                return self._frozen(where, folder, python, moved)
            return self._resolved(where, folder, python, moved)

    # -- with a uv.lock --------------------------------------------------------------------------------

    def _frozen(self, where: Path, folder: Path, python: str, moved: _Moved) -> Exported:
        dynamic = {p.project.get("name", p.file.parent.name): p.dynamic for p in self._files.packages if p.dynamic}
        if dynamic and "--frozen" not in self._options:
            named = ", ".join(f"{key} of {name}" for name, keys in dynamic.items() for key in keys)
            done = self._run(where, folder, python, ["--frozen"], self._environment(folder))
            note = f"{self._files.own_lock.name} is not held against {named}, which only a build backend can tell"
            return self._given(done, moved, (note,))
        if "--frozen" in self._options:
            return self._given(self._run(where, folder, python, [], self._environment(folder)), moved)
        # What is up to date needs no network to say so, and says so whatever indexes this machine is told of.
        for indexes in (True, False):
            env = self._environment(folder, indexes=indexes) | self._locked_with()
            done = self._run(where, folder, python, ["--locked", "--offline"], env)
            if not done.returncode:
                return self._given(done, moved)
        done = self._run(where, folder, python, ["--locked"], self._environment(folder) | self._locked_with())
        words = trimmed(done.stderr, folder)
        # Whoever resolves, or asks an index, found the lock wanting.
        if done.returncode and ("--locked" in words or "No solution found" in words or _unreachable(words)):
            raise LockError(
                f"{self._files.lock}: does not answer {self._files.main.file.name} as it is now",
                hint=f"run `uv lock` in {self._files.root}, then lock again",
                detail=words,
            )
        return self._given(done, moved)

    def _locked_with(self) -> dict[str, str]:
        """What the ``uv.lock`` was made with and the project does not say: it was said on a command line."""
        assert self._files.lock is not None
        try:
            made = tomllib.loads(self._files.lock.read_text(encoding="utf-8")).get("options", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise LoadError(f"{self._files.lock}: cannot be read: {e}") from None
        stated = {key for package in self._files.packages for key in package.uv}
        out: dict[str, str] = {}
        for key, (variable, said) in _LOCKED_WITH.items():
            if key in made and said not in stated and f"--{said}" not in self._options:
                out[variable] = str(made.get(f"{key}-span", made[key]))
        return out

    # -- without one -----------------------------------------------------------------------------------

    def _resolved(self, where: Path, folder: Path, python: str, moved: tuple[Path, Path]) -> Exported:
        # uv fetches repositories with git, which is to ask nobody for a password.
        # A repository is read where git leads, and not over a service of its forge.
        env = self._environment(folder) | {"GIT_TERMINAL_PROMPT": "0", "UV_NO_GITHUB_FAST_PATH": "1"}
        if self._links is not None:
            env["UV_FIND_LINKS"] = ",".join(filter(None, (env.get("UV_FIND_LINKS"), str(self._links))))
        if self._cutoff is not None:
            env["UV_EXCLUDE_NEWER"] = self._cutoff
        more = ["--refresh"] if self._refresh is True else []
        if self._settings is not None and not self._settings.indexes and self._step.index is None:
            more += ["--no-index"]
        for name in self._refresh if isinstance(self._refresh, tuple) else ():
            more += ["--refresh-package", name]
        copies = {p.file: moved[0] / p.file.relative_to(moved[1]) for p in self._files.packages if p.file.is_file()}
        if not self._files.script:
            copies[self._files.main.file] = where / "pyproject.toml"
        told = Repositories(self._files, copies, folder, self._known)
        while True:
            done = self._run(where, folder, python, more, env | told.mirrors.environment())
            if not done.returncode or not told.tell(done.stderr):
                break
        try:
            given = self._given(done, moved)
        except NoSolution:
            for name, tree in told.guessed.items():
                raise told.untold(name, tree) from None  # with its version there may be one
            raise
        return replace(given, commits=told.mirrors.commits, archives=told.archives, guessed=told.guessed)

    def _refuse_dynamic(self) -> None:
        for package in self._files.packages:
            if package.dynamic and (package.dynamic != ("version",) or with_version(package.file.read_bytes()) is None):
                raise RefusedError(
                    f"{package.file}: {' and '.join(package.dynamic)}: dynamic, which only its build backend can tell",
                    hint=f"run `uv lock` in {self._files.root}, and commit the uv.lock",
                )

    # -- one run ---------------------------------------------------------------------------------------

    def _run(
        self, where: Path, folder: Path, python: str, more: Sequence[str], env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        command = [self._uv.binary, "--no-progress", "--color", "never", "export", "--format", "pylock.toml"]
        command += ["--no-header", "--no-annotate", "--no-build", "--no-python-downloads", "--python", python]
        if self._files.script:
            command += ["--script", str(where / self._files.main.file.name)]
        command += [*self._options, *more]
        return subprocess.run(command, capture_output=True, text=True, env=env, cwd=where, check=False)

    def _given(self, done: subprocess.CompletedProcess[str], moved: _Moved, notes: tuple[str, ...] = ()) -> Exported:
        words = trimmed(done.stderr, moved[0] if moved is not None else None)
        if not done.returncode:
            said = [line.removeprefix("warning: ") for line in words.splitlines() if line.startswith("warning: ")]
            return Exported(done.stdout, self._files, moved, (*notes, *said, *ignored(CHOOSING)))
        asked = self._files.main.file
        first = next((line.removeprefix("error: ") for line in words.splitlines() if line.startswith("error: ")), "")
        # uv's exit codes: 1 is an answer (no solution), 2 a failure to find one.
        fetched = "Git operation failed" in words
        if (done.returncode == 1 and not fetched) or "No solution found" in words:
            unlocked = self._files.lock is None and "building from source is disabled" in words
            way_out = f"run `uv lock` in {self._files.root}, and commit the uv.lock: what has no wheel is built of that"
            raise NoSolution(
                f"{asked}: uv finds no versions that fit together", hint=way_out if unlocked else None, detail=words
            )
        if fetched or _unreachable(words):
            where = next((ln.split("cause: ")[-1] for ln in words.splitlines() if "://" in ln), first)
            raise FetchError(
                f"{asked}: uv could not ask an index or a source: {where}",
                hint="check the addresses in [tool.uv], their credentials, and the network",
                detail=words,
            )
        if done.returncode == 2:
            raise LoadError(f"{asked}: uv refuses the project: {first}", detail=words)
        raise FlyteBuildError(f"{asked}: uv failed with exit code {done.returncode}: {first}", detail=words)

    def _environment(self, folder: Path, *, indexes: bool = True) -> dict[str, str]:
        """Ours, without what would choose; ``indexes``: with what says where they are."""
        kept = {*KEPT, *_HOW, *(_INDEXES if indexes else ())}
        env = {
            k: v
            for k, v in os.environ.items()
            if k in kept
            or (k.startswith("UV_INDEX_") and k.endswith(("_USERNAME", "_PASSWORD")))
            or not (k.startswith(("UV_", "PIP_", "PYTHON")) or k in ("VIRTUAL_ENV", "CONDA_PREFIX"))
        }
        # What uv says is read, and is not to be broken into lines as long as somebody's terminal.
        env |= {"TMPDIR": str(folder), "UV_NO_WRAP": "1"}
        if not indexes:
            env["XDG_CONFIG_HOME"] = str(folder)
        given = self._settings
        if given is not None and indexes:
            *others, last = [_said(index) for index in given.indexes] or [""]
            env |= {"UV_DEFAULT_INDEX": last} if last else {}
            env |= {"UV_INDEX": " ".join(others)} if others else {}
            links = [link for link in given.find_links if "://" in link or Path(link).expanduser().exists()]
            env |= {"UV_FIND_LINKS": ",".join(links)} if links else {}
        if given is not None:
            env |= {"SSL_CERT_FILE": given.cert} if given.cert else {}
            env |= {"SSL_CLIENT_CERT": given.client_cert} if given.client_cert else {}
            env |= {"UV_INSECURE_HOST": " ".join(given.insecure_hosts)} if given.insecure_hosts else {}
        # What the image's own layer says comes before all, as on the command line that the SDK runs.
        lent = variables_of(self._step.secrets, str(self._files.main.file)) if indexes else {}
        env |= {name: value for name, value in lent.items() if name not in CHOOSING}
        if self._step.index is not None and indexes:
            env["UV_DEFAULT_INDEX"] = filled(self._step.index, lent)
        if self._step.extra_indexes and indexes:
            extra = (filled(url, lent) for url in self._step.extra_indexes)
            env["UV_INDEX"] = " ".join([*extra, env.get("UV_INDEX", "")]).strip()
        if self._step.pre:
            env["UV_PRERELEASE"] = "allow"
        return env

    def _python(self, folder: Path) -> str:
        """An interpreter that the project allows; uv asks it for its version, and runs nothing else with it."""
        asked = ",".join(self._files.requires_python)
        try:
            fits = SpecifierSet(asked)
        except InvalidSpecifier:
            return sys.executable  # uv says what is wrong
        if fits.contains(".".join(map(str, sys.version_info[:3])), prereleases=True):
            return sys.executable
        find = [self._uv.binary, "python", "find", "--no-project", "--no-python-downloads", asked]
        found = subprocess.run(find, capture_output=True, text=True, env=self._environment(folder), check=False)
        if not found.returncode and found.stdout.strip():
            return found.stdout.strip()
        for version in (f"3.{minor}.{patch}" for minor in range(8, 30) for patch in range(30)):
            if fits.contains(version):
                return stand_in(folder, version)
        return sys.executable


def _said(index: Index) -> str:
    return f"{index.name}={index.url}" if index.name else index.url


def _unreachable(words: str) -> bool:
    return any(sign in words for sign in _UNREACHABLE)
