"""What lies under the Python packages of each image: Debian from locked packages, or a registry base.

Of several images on one base all get one digest, and what is found in a base decides what may be put on it: that is
judged here, before anything is resolved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

from packaging.utils import canonicalize_name

from ..kernel.errors import LockError, RefusedError
from ..kernel.reporting import Reporter
from ..locks.base import BaseFacts, LockedBase
from ..locks.nouns import LockedDeb, LockedPlatform, LockedPython
from ..recipe import DebianBase, ImageSettings, Platform, Recipe, RegistryBase, RunCommands
from ..recipe.conventions import USER
from .apt import DebianResolution
from .conda_machine import held_against
from .registry_bases import Bases
from .wheels import Target, glibc_of

__all__ = [
    "ARCHITECTURE",
    "BasesFactory",
    "DebianFactory",
    "DebianLocker",
    "PythonFinder",
    "Scripts",
    "Systems",
    "base_pins",
    "check_base",
    "target",
]

ARCHITECTURE: dict[Platform, str] = {"linux/amd64": "amd64", "linux/arm64": "arm64"}
# Engines stop at 127 layers (Docker) and about 125 (podman); ours need some.
_MOST_LAYERS = 115


Scripts = Callable[[Sequence[LockedDeb], str], bool]
"""Whether dpkg has to run the scripts of these packages, which are of the archive's state at this snapshot."""


class DebianLocker(Protocol):
    """What locks the Debian part: :class:`flyte_build.locking.apt.Debian`, or a test's stand-in. ``scripts`` is given
    where somebody runs them."""

    def lock(
        self, suite: str, architecture: str, python: str | None, packages: Sequence[str], scripts: Scripts | None = None
    ) -> DebianResolution: ...

    def add(
        self, suite: str, architecture: str, status: Sequence[str], packages: Sequence[str]
    ) -> DebianResolution: ...


class PythonFinder(Protocol):
    """What finds a relocatable Python: :func:`flyte_build.locking.pythons.find_python`, or a test's stand-in."""

    def __call__(self, minor: str, platform: Platform, at: str | None) -> LockedPython: ...


DebianFactory = Callable[[str | None, Reporter], AbstractContextManager[DebianLocker]]
BasesFactory = Callable[[Reporter], AbstractContextManager[Bases]]


class Systems:
    """Finds the parts one by one; opens what it asks when it first asks it. A context manager."""

    def __init__(
        self,
        debian: DebianFactory,
        bases: BasesFactory,
        reporter: Reporter,
        python: PythonFinder | None = None,
        scripts: Scripts | None = None,
    ) -> None:
        self._scripts = (scripts,) if scripts is not None else ()
        self._debian, self._bases, self._reporter, self._python = debian, bases, reporter, python
        self._pythons: dict[tuple[str, Platform, str | None], LockedPython] = {}
        self._stack = ExitStack()
        self._lockers: dict[str | None, DebianLocker] = {}
        self._opened: Bases | None = None
        self._solved: dict[object, DebianResolution] = {}
        self._locked: dict[tuple[RegistryBase, Platform], LockedBase] = {}
        self._said: set[str] = set()

    def __enter__(self) -> Systems:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def debian(self, recipe: Recipe, platform: Platform, at: str | None) -> LockedPlatform:
        """The packages of an image on our own Debian, as of the instant ``at``."""
        assert isinstance(recipe.base, DebianBase)
        suite, architecture = recipe.base.suite, ARCHITECTURE[platform]
        python = None if recipe.base.standalone else str(recipe.python)
        key = (at, suite, architecture, python, recipe.apt_packages)
        relocatable = self._relocatable(str(recipe.python), platform, at) if python is None else None
        if key not in self._solved:
            self._solved[key] = self._locker(at).lock(suite, architecture, python, recipe.apt_packages, *self._scripts)
        found = self._told(self._solved[key])
        return LockedPlatform(found.suite, found.snapshot, found.debs, (), python=relocatable)

    def _relocatable(self, minor: str, platform: Platform, at: str | None) -> LockedPython:
        key = minor, platform, at
        if key not in self._pythons:
            if self._python is None:
                raise LockError(f"Python {minor} on our own Debian is a relocatable one, and nothing here finds one")
            self._pythons[key] = self._python(minor, platform, at)
        return self._pythons[key]

    def base(self, name: str, recipe: Recipe, platform: Platform, kept: LockedBase | None) -> LockedBase:
        """The registry base of environment ``name``; ``kept`` is what its lock has."""
        assert isinstance(recipe.base, RegistryBase)
        if (recipe.base, platform) not in self._locked or (
            self._locked[recipe.base, platform].facts is None and not recipe.as_is
        ):
            kept = self._locked.get((recipe.base, platform), kept)
            locked = self._open().lock(recipe.base, platform, kept, as_is=recipe.as_is)
            self._locked[recipe.base, platform] = locked
        locked = self._locked[recipe.base, platform]
        check_base(name, recipe, locked, self._reporter)
        return locked

    def named(self, base: RegistryBase, platform: Platform, kept: LockedBase | None) -> LockedBase:
        """What a stage stands on: nothing is installed into it, so that nothing is asked of it."""
        known = self._locked.get((base, platform))
        if known is None or known.facts is None:
            known = self._locked[base, platform] = self._open().lock(base, platform, known or kept, as_is=False)
        return known

    def added(self, name: str, recipe: Recipe, platform: Platform, base: LockedBase, at: str | None) -> LockedPlatform:
        """The Debian packages that an image adds to ``base``, solved against those that are installed there."""
        if not recipe.apt_packages:
            return LockedPlatform("", "", (), (), base)
        suite = _suite(name, base)
        key = (at, base.manifest.digest, recipe.apt_packages)
        if key not in self._solved:
            status = self._open().found(base, platform).status
            self._solved[key] = self._locker(at).add(suite, ARCHITECTURE[platform], status or (), recipe.apt_packages)
        found = self._told(self._solved[key])
        return LockedPlatform(found.suite, found.snapshot, found.debs, (), base)

    def moved(self, named: RegistryBase, base: LockedBase) -> bool:
        """Whether the name leads to another image than ``base`` now, as far as that can be asked."""
        return self._open().moved(named, base)

    def _open(self) -> Bases:
        if self._opened is None:
            self._opened = self._stack.enter_context(self._bases(self._reporter))
        return self._opened

    def _locker(self, at: str | None) -> DebianLocker:
        if at not in self._lockers:
            self._lockers[at] = self._stack.enter_context(self._debian(at, self._reporter))
        return self._lockers[at]

    def _told(self, found: DebianResolution) -> DebianResolution:
        for note in found.notes:
            if note not in self._said:
                self._reporter.note(note)
            self._said.add(note)
        return found


def check_base(name: str, recipe: Recipe, base: LockedBase, reporter: Reporter) -> None:
    """Raises :class:`RefusedError` where ``base`` cannot be what environment ``name`` asks it for, with the way out.

    What may still be right is a warning: no CA bundle, no flyte where the image is used as it is.
    """
    facts = base.facts
    if facts is None:
        return
    where = f"environment {name}: {base.name}"
    if len(base.layers) > _MOST_LAYERS and not recipe.as_is:
        raise RefusedError(
            f"{where} has {len(base.layers)} layers, which leaves no room for more",
            hint="container engines take about 125; flatten the base (`buildah commit --squash`), or use another",
        )
    if (later := base.settings.get("OnBuild")) and not recipe.as_is and not recipe.triggers and not delegates(recipe):
        first = f" (`{later[0]}`)" if isinstance(later, list) else ""
        reporter.warn(f"{where} has instructions for images that are built on it (ONBUILD){first}, which are not run")
    for step in recipe.steps:
        said = json.loads(step.settings).get("Entrypoint") if isinstance(step, ImageSettings) else None
        if said:
            reporter.warn(
                f"environment {name}: its ENTRYPOINT ({' '.join(said)}) gets a task's command as its arguments on a "
                'cluster: only one that runs them, as `exec "$@"` does, starts a task'
            )
    if recipe.installs and recipe.conda is None:
        _installable(where, recipe, facts)
    taken = _taken(facts) if isinstance(recipe.base, RegistryBase) and recipe.base.official else None
    if taken is not None:
        raise RefusedError(f"{where}: the user `{taken}` has the number of the image's user `{USER['name']}`")
    if facts.uid is None and not (isinstance(recipe.base, RegistryBase) and recipe.base.official):
        reporter.warn(f"{where} runs as the user `{base.settings.get('User')}`, whom it does not know")
    if facts.certificates is None:
        reporter.warn(
            f"{where} has no CA bundle, so that nothing in it can check a TLS certificate; install one in the base "
            "(Debian's package is ca-certificates), or copy one in and name it in SSL_CERT_FILE"
        )
    if recipe.as_is and not any(d.name == "flyte" for d in facts.distributions):
        reporter.warn(f"{where} holds no flyte package, which every task needs to start; add it with with_pip_packages")


def delegates(recipe: Recipe) -> bool:
    """Whether another builder builds it, which runs what its base says."""
    return any(isinstance(step, RunCommands) and step.delegation is not None for step in recipe.steps)


def _installable(where: str, recipe: Recipe, facts: BaseFacts) -> None:
    if facts.python is None:
        raise RefusedError(
            f"{where} has no Python on its PATH, so that no package can be installed for it",
            hint="use a base with a Python of at least 3.10, or `flyte.Image.from_debian_base()`",
        )
    if facts.glibc is None:
        raise RefusedError(
            f"{where} has no GNU C library (Alpine and its like have musl), and wheels are locked for glibc",
            hint="use the variant of the base that is built on Debian or Ubuntu (`-slim` instead of `-alpine`)",
        )
    if recipe.python is not None and recipe.python != facts.minor:
        raise RefusedError(
            f"{where}: expected Python {recipe.python}, found {facts.python_full} ({facts.python})",
            hint="a mirror holds another image under this name, or the name was moved",
        )


def _taken(facts: BaseFacts) -> str | None:
    """Who has the number that the image's user is to have."""
    rows = (line.split(":") for line in (facts.accounts or ("", ""))[0].splitlines())
    return next((r[0] for r in rows if len(r) > 2 and r[2] == str(USER["uid"])), None)


def _suite(name: str, base: LockedBase) -> str:
    """The Debian suite of ``base``; raises :class:`RefusedError` where nothing can be added to it soundly."""
    facts = base.facts
    if facts is None:
        raise LockError(
            f"environment {name}: nobody looked into {base.name}", hint="`flyte-build lock --upgrade` looks"
        )
    system, _, suite = (facts.system or "").partition(" ")
    why = None
    if system != "debian" or not re.fullmatch("[a-z]+", suite):
        why = f"it is {facts.system or 'of an unknown system'}, not a release of Debian"
    elif not facts.debs:
        why = "it has no database of its packages, against which more could be solved"
    elif not facts.merged:
        why = "its /bin and /lib are no links into /usr, as Debian's packages expect today"
    if why is not None:
        raise RefusedError(
            f"environment {name}: Debian packages cannot be added to {base.name}: {why}",
            hint="install them in the base itself, or start from `flyte.Image.from_debian_base()`",
        )
    return suite


def target(recipe: Recipe, platform: Platform, part: LockedPlatform) -> Target:
    """The image's Python and C library: as its own Debian packages, its base, or its conda packages have them."""
    facts = part.base.facts if part.base is not None else None
    if recipe.conda is not None:
        return held_against(recipe.conda, _of_conda(recipe, platform, part))
    if facts is not None:
        assert facts.python_full is not None
        major, minor = (int(number) for number in str(facts.glibc).split("."))
        return Target(platform, str(facts.minor), facts.python_full, (major, minor))
    assert isinstance(recipe.base, DebianBase)
    if part.python is not None:
        return Target(platform, part.python.minor, part.python.version, glibc_of(recipe.base.suite))
    versions = {deb.name: deb.version for deb in part.debs}
    python = str(recipe.python)
    full = f"{python}.0"
    for name in (f"python{python}-minimal", f"python{python}", f"libpython{python}-minimal"):
        m = re.match(r"(?:\d+:)?(\d+\.\d+\.\d+)(?:~((?:a|b|rc)\d+))?", versions.get(name, ""))
        if m:
            full = m[1] + (m[2] or "")
            break
    return Target(platform, python, full, glibc_of(recipe.base.suite, versions.get("libc6")))


def _of_conda(recipe: Recipe, platform: Platform, part: LockedPlatform) -> Target:
    assert recipe.conda is not None
    full = next(p.version for p in recipe.conda.of(platform) if p.name == "python")
    facts = part.base.facts if part.base is not None else None
    if part.base is not None and (facts is None or facts.glibc is None):
        raise RefusedError(
            f"{part.base.name} has no GNU C library, which conda's packages need",
            hint="use a base that is built on Debian or Ubuntu",
        )
    if facts is not None:
        major, minor = (int(number) for number in str(facts.glibc).split("."))
        return Target(platform, recipe.conda.python, full, (major, minor))
    assert isinstance(recipe.base, DebianBase)
    libc = next((deb.version for deb in part.debs if deb.name == "libc6"), None)
    return Target(platform, recipe.conda.python, full, glibc_of(recipe.base.suite, libc))


def base_pins(parts: Mapping[tuple[str, str], LockedPlatform], *, without: Iterable[str]) -> dict[str, dict[str, str]]:
    """What bases hold already, by environment: the versions that are preferred where requirements leave a choice, as an
    installer leaves alone what is there and will do."""
    gone = {canonicalize_name(name) for name in without}
    out: dict[str, dict[str, str]] = {}
    for (name, _), part in parts.items():
        if part.base is not None and part.base.facts is not None:
            out.setdefault(name, {}).update(
                {d.name: d.version for d in part.base.facts.distributions if d.name not in gone and d.version}
            )
    return out
