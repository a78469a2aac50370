"""Resolution by uv: for any target from any host.

``uv pip compile`` is run with every option written out and its own configuration switched off; what is
left of the environment says how to reach an index, never what to choose. Nothing is built: a version
without wheels does not exist.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import Version

from ...kernel.errors import FetchError, FlyteBuildError, RefusedError
from ...kernel.pythons import is_threaded
from ...kernel.scratch import scratch
from ...sources.indexes import IndexFile, IndexSettings
from ...sources.indexes.settings import uv_binary
from ..wheels import Target
from .advice import advice
from .question import Answer, NoSolution, Pin, Question, asked, ignored, trimmed
from .uv_cutoffs import configuration
from .uv_tree import stand_in

__all__ = ["CHOOSING", "KEPT", "Uv"]

# uv's newest name for a glibc; what is newer is asked as this, which only forgoes wheels that need more.
_NEWEST_GLIBC = (2, 40)
CHOOSING = (
    "UV_CONSTRAINT",
    "UV_EXCLUDE",
    "UV_EXCLUDE_NEWER",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_TORCH_BACKEND",
)
KEPT = {
    "UV_CACHE_DIR",
    "UV_CONCURRENT_DOWNLOADS",
    "UV_CREDENTIALS_DIR",
    "UV_HTTP_CONNECT_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_HTTP_TIMEOUT",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_NO_CACHE",
    "UV_OFFLINE",
    "UV_REQUEST_TIMEOUT",
    "UV_SYSTEM_CERTS",
}


@dataclass(frozen=True, slots=True)
class Uv:
    """The uv at ``binary``."""

    binary: str
    version: str
    name: str = "uv"

    @classmethod
    def installed(cls) -> Uv:
        """The uv of this environment's ``uv`` package, else of ``PATH``."""
        binary = uv_binary()
        if binary is None:
            raise RefusedError("uv is not installed", hint="run `pip install uv`, or lock with `--resolver pip-tools`")
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
        words = done.stdout.split()
        if done.returncode or len(words) < 2:
            raise FlyteBuildError(f"`{binary} --version` failed: {trimmed(done.stderr)}")
        return cls(binary, words[1])

    def resolve(self, question: Question) -> Answer:
        if os.environ.get("UV_TORCH_BACKEND") == "auto":
            raise RefusedError(
                "UV_TORCH_BACKEND=auto chooses packages by this machine's GPU, not by the image's",
                hint="unset it, and name the index of the CUDA version you want in the image",
            )
        with scratch() as folder:
            own = self._own_cutoffs(question, folder)
            command = [self.binary, *_options(question, folder, own)]
            # What uv leaves when it is killed with us lies in here, too.
            env = {**_environment(question.settings, own=own), "TMPDIR": str(folder), "UV_NO_WRAP": "1"}
            done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder, check=False)
            words = trimmed(done.stderr, folder)
            if done.returncode:
                raise _failure(question, done.returncode, words)
            document = tomllib.loads((folder / "pylock.toml").read_text(encoding="utf-8"))
            pins = [_pin(package, folder) for package in document.get("packages", [])]
            warnings = [line.removeprefix("warning: ") for line in words.splitlines() if line.startswith("warning: ")]
            return Answer({pin.name: pin for pin in pins}, (*warnings, *ignored(CHOOSING)))

    def _own_cutoffs(self, question: Question, folder: Path) -> bool:
        """Write the indexes that have cut-offs of their own into a configuration; whether any has.

        Only a file can say them. A uv that does not know them would pass over them in silence: one that does refuses
        what is none.
        """
        if not question.own_cutoffs:
            return False
        file = folder / "uv.toml"
        file.write_text(configuration(question, "?"), encoding="utf-8")
        probe = [self.binary, "--config-file", str(file), "pip", "compile", "--offline", "--quiet", "-"]
        env = _environment(question.settings, own=True)
        done = subprocess.run(probe, input="", capture_output=True, text=True, env=env, cwd=folder, check=False)
        if not done.returncode:
            raise RefusedError(
                f"uv {self.version} knows no cut-off of single indexes, which `exclude-newer-index` asks for",
                hint="upgrade uv (`pip install --upgrade uv`)",
            )
        file.write_text(configuration(question), encoding="utf-8")
        return True


def _platform(target: Target) -> str:
    glibc = min(target.glibc, _NEWEST_GLIBC)
    return f"{target.machine}-manylinux_{glibc[0]}_{glibc[1]}"


def _options(question: Question, folder: Path, own: bool) -> list[str]:
    (folder / "requirements.in").write_text("\n".join(question.lines) + "\n", encoding="utf-8")
    output = folder / "pylock.toml"
    if question.preferences:
        output.write_text(_preferences(question.preferences), encoding="utf-8")
    configured = ["--config-file", "uv.toml"] if own else ["--no-config"]
    options = [*configured, "--no-progress", "--color", "never", "pip", "compile", "requirements.in"]
    options += ["--output-file", "pylock.toml", "--format", "pylock.toml"]
    if question.constraints:
        (folder / "constraints.txt").write_text("\n".join(question.constraints) + "\n", encoding="utf-8")
        options += ["--constraints", "constraints.txt"]
    # Which wheels a free-threaded build takes uv reads off an interpreter only.
    threaded = is_threaded(question.target.python)
    python = stand_in(folder, question.target.python_full, threaded=True) if threaded else sys.executable
    options += ["--python", python, "--no-python-downloads", "--no-header", "--no-annotate", "--no-sources"]
    options += ["--python-version", question.target.python_full, "--python-platform", _platform(question.target)]
    options += ["--only-binary", ":all:", "--index-strategy", question.settings.strategy]
    if question.pre:
        options += ["--prerelease", "allow"]
    if question.cutoff is not None:
        options += ["--exclude-newer", question.cutoff]
    if question.refresh is True:
        options += ["--refresh"]
    elif question.refresh:
        options += [word for name in question.refresh for word in ("--refresh-package", name)]
    if not question.settings.indexes:
        options += ["--no-index"]
    return options


def _preferences(pins: Mapping[str, str]) -> str:
    """A pylock.toml (PEP 751) of versions alone: what is in the output file is what uv keeps if it can."""
    rows = "".join(f'\n[[packages]]\nname = "{name}"\nversion = "{pins[name]}"\n' for name in sorted(pins))
    return f'lock-version = "1.0"\ncreated-by = "flyte-build"\n{rows}'


def _environment(settings: IndexSettings, *, own: bool = False) -> dict[str, str]:
    """Ours, without what would choose: no ``UV_*`` but how to reach an index, no active virtual environment."""
    env = {
        k: v
        for k, v in os.environ.items()
        if k in KEPT
        or (k.startswith("UV_INDEX_") and k.endswith(("_USERNAME", "_PASSWORD")))
        or not (k.startswith(("UV_", "PIP_", "PYTHON")) or k in ("VIRTUAL_ENV", "CONDA_PREFIX"))
    }
    # In the environment, or (``own``) in a file of ours, rather than on the command line, where other users of the
    # machine would see credentials.
    *others, last = [f"{i.name}={i.url}" if i.name else i.url for i in settings.indexes] or [""]
    if last and not own:
        env["UV_DEFAULT_INDEX"] = last
    if others and not own:
        env["UV_INDEX"] = " ".join(others)
    links = [link for link in settings.find_links if "://" in link or Path(link).expanduser().exists()]
    if links:
        env["UV_FIND_LINKS"] = ",".join(links)
    if settings.insecure_hosts:
        env["UV_INSECURE_HOST"] = " ".join(settings.insecure_hosts)
    if settings.cert:
        env["SSL_CERT_FILE"] = settings.cert
    if settings.client_cert:
        env["SSL_CLIENT_CERT"] = settings.client_cert
    return env


def _pin(package: Mapping[str, Any], folder: Path) -> Pin:
    """A ``[[packages]]`` table of PEP 751; a local wheel has an archive and maybe no version."""
    name = canonicalize_name(package["name"])
    if "archive" in package:
        return Pin(name, str(package.get("version", "")), ())
    files = []
    for wheel in package.get("wheels", []):
        url = wheel.get("url") or (folder / wheel["path"]).resolve().as_uri()
        files.append(
            IndexFile(
                name=wheel.get("name") or unquote(urlsplit(url).path.rsplit("/", 1)[-1]),
                url=url,
                sha256=wheel.get("hashes", {}).get("sha256"),
                size=wheel.get("size"),
            )
        )
    return Pin(name, str(Version(package["version"])), tuple(files))


_SOURCES = (
    "some of these have source distributions only, and none that was built helps: ask for a version that has a wheel, "
    "or build the wheel and add it to the image as a local wheel"
)


def _failure(question: Question, code: int, words: str) -> FlyteBuildError:
    first = next((line.removeprefix("error: ") for line in words.splitlines() if line.startswith("error: ")), "")
    # uv's exit codes: 1 is an answer (no solution), 2 a failure to find one.
    if code == 1:
        unbuilt = "no usable wheels" in words or "building from source is disabled" in words
        return NoSolution(
            f"no versions of {asked(question.asked)} fit together on {question.target}",
            hint=_SOURCES if unbuilt else advice(question, words),
            detail=words,
        )
    if any(sign in words for sign in ("Failed to fetch", "Request failed", "error sending request", "HTTP status")):
        return FetchError(
            f"uv could not ask an index: {first}", hint="check the index's address and the network", detail=words
        )
    return FlyteBuildError(f"uv failed with exit code {code}: {first}", detail=words)
