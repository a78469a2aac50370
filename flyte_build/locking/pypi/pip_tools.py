"""Resolution by pip-tools: pip's own resolver, for this machine's platform and this interpreter's Python only.

pip judges markers for the interpreter it runs in, down to its patch release and the host's kernel. What
the image's Python needs is checked afterwards from the wheels themselves (``closure``), so that a
difference is an error that names it, never a wrong image. A cut-off needs pip 26.0, which can leave
out newer uploads.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from ...kernel.errors import FetchError, FlyteBuildError, RefusedError
from ...kernel.scratch import scratch
from ...sources.indexes import IndexClient, IndexSettings
from .advice import advice
from .question import Answer, NoSolution, Pin, Question, asked, ignored, trimmed

__all__ = ["PipTools", "host"]

_CHOOSING = ("PIP_CONSTRAINT", "PIP_PRE", "PIP_UPLOADED_PRIOR_TO")
_CUTOFF_SINCE = Version("26.0")
_MACHINES = {"x86_64": "linux/amd64", "amd64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}
_UNREACHABLE = re.compile(r"connection broken by|Could not fetch URL|HTTP error|Max retries exceeded|ReadTimeout")


def host() -> tuple[str, str]:
    """This machine's platform and the running interpreter's Python."""
    system = _MACHINES.get(platform.machine().lower(), platform.machine())
    system = system if sys.platform == "linux" else f"{sys.platform}/{platform.machine()}"
    return system, f"{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass(frozen=True, slots=True)
class PipTools:
    """The pip-tools of the running interpreter; ``host`` gives its platform and Python."""

    version: str
    pip: Version
    name: str = "pip-tools"
    host: Callable[[], tuple[str, str]] = field(default=host, repr=False)

    @classmethod
    def installed(cls) -> PipTools:
        """Raises :class:`RefusedError` where the optional dependency is missing."""
        try:
            version, pip = importlib.metadata.version("pip-tools"), importlib.metadata.version("pip")
        except importlib.metadata.PackageNotFoundError as e:
            raise RefusedError(
                f"locking with pip-tools needs `{e.name}`, which is not installed",
                hint="run `pip install 'flyte-build[pip-tools]'`, or lock with uv",
            ) from None
        return cls(version, Version(pip))

    def resolve(self, question: Question) -> Answer:
        self._check(question)
        with scratch() as folder:
            command = [sys.executable, "-m", "piptools", "compile", *_options(question, folder)]
            # One stream: pip's errors go to stderr, what they are caused by to stdout.
            done = subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**_environment(question.settings), "TMPDIR": str(folder)},
                cwd=folder,
                check=False,
            )
            if done.returncode:
                raise _failure(question, _words(done.stdout, folder), done.stdout)
            pins = _parse((folder / "requirements.txt").read_text(encoding="utf-8"))
            yanked = re.findall(r"^\s*WARNING: (.*yanked.*)$", done.stdout, re.MULTILINE)
            return Answer(pins, (*yanked, *ignored(_CHOOSING)))

    def _check(self, question: Question) -> None:
        target = question.target
        system, python = self.host()
        if (system, python) != (target.platform, target.python):
            raise RefusedError(
                f"pip-tools resolves for {system} and Python {python}, where it runs; "
                f"asked for {target.platform} and Python {target.python}",
                hint="lock with uv, which resolves for any platform, or run flyte-build with that Python there",
            )
        if question.own_cutoffs:
            raise RefusedError(
                "pip has one cut-off for all indexes: `exclude-newer-index` cannot be honoured by pip-tools",
                hint="lock with uv, which has one for each",
            )
        if question.cutoff is not None and self.pip < _CUTOFF_SINCE:
            raise RefusedError(
                f"a cut-off needs pip {_CUTOFF_SINCE} or newer, found {self.pip}",
                hint="upgrade pip in flyte-build's environment, or lock with uv",
            )


def _options(question: Question, folder: Path) -> list[str]:
    (folder / "requirements.in").write_text("\n".join(_lines(question)) + "\n", encoding="utf-8")
    (folder / "constraints.txt").write_text("\n".join(question.constraints) + "\n", encoding="utf-8")
    if question.preferences:
        kept = "".join(f"{name}=={question.preferences[name]}\n" for name in sorted(question.preferences))
        (folder / "requirements.txt").write_text(kept, encoding="utf-8")
    # Without hashes: for them it would download every file of every pin, and the index states them.
    # Verbose, or pip leaves out what a conflict is caused by.
    options = ["--verbose", "requirements.in", "--constraint", "constraints.txt", "--output-file", "requirements.txt"]
    options += ["--no-config", "--no-header", "--no-annotate", "--no-emit-options", "--no-emit-index-url"]
    options += ["--allow-unsafe", "--strip-extras", "--resolver", "backtracking"]
    if question.pre:
        options += ["--pre"]
    if question.refresh is True:
        options += ["--rebuild"]
    pip = ["--only-binary", ":all:"]
    if question.cutoff is not None:
        pip += ["--uploaded-prior-to", question.cutoff]
    return [*options, "--pip-args", " ".join(pip)]


def _lines(question: Question) -> list[str]:
    """The question's lines, without requirements that a wheel beside them answers: pip-compile looks each up on an
    index, where a package that was built has no wheel. The extras of such a one are asked of the wheel."""
    answers = {canonicalize_name(n): v for n, v, *_ in (parse_wheel_filename(w.name) for w in question.wheels)}
    extras: dict[str, set[str]] = {}
    kept = []
    for line in question.lines:
        parsed = Requirement(line)
        name = canonicalize_name(parsed.name)
        if parsed.url is None and name in answers and parsed.specifier.contains(answers[name], prereleases=True):
            extras.setdefault(name, set()).update(parsed.extras)
        else:
            kept.append(line)
    return [_with(line, extras) for line in kept]


def _with(line: str, extras: Mapping[str, set[str]]) -> str:
    parsed = Requirement(line)
    more = extras.get(canonicalize_name(parsed.name)) if parsed.url is not None else None
    return f"{parsed.name}[{','.join(sorted({*parsed.extras, *more}))}] @ {parsed.url}" if more else line


def _environment(settings: IndexSettings) -> dict[str, str]:
    """Ours, with pip's configuration replaced by the settings in force and how to reach an index."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "PYTHON"))}
    env |= {f"PIP_{key.upper().replace('-', '_')}": value for key, value in settings.pip}
    for kept in ("PIP_CACHE_DIR", "PIP_TOOLS_CACHE_DIR"):
        if kept in os.environ:
            env[kept] = os.environ[kept]
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    *others, last = [i.url for i in settings.indexes] or [""]
    env |= {"PIP_INDEX_URL": last} if last else {"PIP_NO_INDEX": "1"}
    if others:
        env["PIP_EXTRA_INDEX_URL"] = " ".join(others)
    if settings.find_links:
        env["PIP_FIND_LINKS"] = " ".join(settings.find_links)
    if settings.cert:
        env["PIP_CERT"] = settings.cert
    if settings.client_cert:
        env["PIP_CLIENT_CERT"] = settings.client_cert
    if settings.insecure_hosts:
        env["PIP_TRUSTED_HOST"] = " ".join(settings.insecure_hosts)
    return env


def _parse(text: str) -> dict[str, Pin]:
    """The pins of a requirements.txt; a local wheel (``name @ file:…``) has no version in it."""
    pins: dict[str, Pin] = {}
    for line in text.replace("\\\n", " ").splitlines():
        m = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?\s*(==\s*([^\s;]+)|@)", line)
        if m is None:
            continue
        name = canonicalize_name(m[1])
        pins[name] = Pin(name, str(Version(m[3])) if m[3] else "", None if m[3] else ())
    return pins


def _words(text: str, folder: Path) -> str:
    """What pip says is wrong, out of its progress and Python's tracebacks: errors, warnings, the conflict's cause."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.strip().startswith("The conflict is caused by"):
            inside = True
        elif inside and line.strip() and not line.startswith("   "):
            inside = False
        # pip's tries are many, and their number says nothing about why.
        if inside or (line.strip().startswith(("ERROR:", "WARNING:")) and "WARNING: Retrying" not in line):
            kept.append(line.removeprefix("  "))
    return trimmed("\n".join(kept), folder)


def _failure(question: Question, words: str, everything: str) -> FlyteBuildError:
    if _UNREACHABLE.search(everything):
        return FetchError("pip could not ask an index", hint="check the index's address and the network", detail=words)
    known = ("ResolutionImpossible", "No matching distribution", "DistributionNotFound", "NoCandidateFound")
    if any(sign in everything for sign in known):
        _reachable(question)
        return NoSolution(
            f"no versions of {asked(question.asked)} fit together on {question.target}",
            hint=advice(question, words),
            detail=words,
        )
    last = everything.strip().splitlines()[-1:] or ["nothing"]
    return FlyteBuildError(f"pip-compile failed: {trimmed(last[0])}", detail=words)


def _reachable(question: Question) -> None:
    """pip takes an index that it cannot reach for one that is empty; this raises :class:`FetchError` instead."""
    client = IndexClient(question.settings, attempts=2)
    try:
        for text in question.requirements:
            client.files(Requirement(text).name)
    finally:
        client.close()
