"""Where packages come from, as uv and pip have it configured. Reads environment and files, asks no network.

One rule, so that it can be remembered: **uv's settings if there are any, else pip's, else the default
that the tools themselves have**. What a recipe states comes before all of them.

* uv: ``UV_DEFAULT_INDEX``/``UV_INDEX_URL``, ``UV_INDEX``, ``UV_EXTRA_INDEX_URL``, ``UV_FIND_LINKS``, then
  the project's ``uv.toml`` or ``[tool.uv]``, then the user's and the system's ``uv.toml``.
* pip: ``PIP_INDEX_URL``, ``PIP_EXTRA_INDEX_URL``, ``PIP_FIND_LINKS``, then pip's configuration files in
  pip's order (pip documentation, "Configuration").
* the default: what the installed uv says its default is (pip's, where uv cannot say).

How to reach an index (certificates, proxies, hosts to trust) is taken from both.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from ...kernel.cutoff import NONE
from ...kernel.errors import InputError
from ...recipe.located import hidden

__all__ = ["Index", "IndexSettings", "configured", "uv_binary"]


@dataclass(frozen=True, slots=True)
class Index:
    """One index: the URL of its Simple API's root (PEP 503), and uv's name for it."""

    url: str = field(repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What is asked for a package, and how.

    ``extra`` are asked before ``default`` (uv's order); ``default`` is ``None`` with pip's ``no-index``.
    ``find_links`` are folders, wheels' pages or files, as both tools have them. ``strategy`` is uv's index
    strategy. ``cert``, ``client_cert``: PEM files. ``insecure_hosts``: certificates not verified.
    ``pip`` holds the options of pip's files that say how to reach an index. ``newer`` are cut-offs of single
    indexes, by their name or address: instants (RFC 3339), or ``none``.
    """

    default: Index | None
    extra: tuple[Index, ...] = ()
    find_links: tuple[str, ...] = ()
    strategy: str = "first-index"
    cert: str | None = None
    client_cert: str | None = None
    insecure_hosts: tuple[str, ...] = ()
    pip: tuple[tuple[str, str], ...] = ()
    origin: str = "the tools' default"
    newer: tuple[tuple[str, str], ...] = ()

    @property
    def indexes(self) -> tuple[Index, ...]:
        """All of them in the order they are asked, without repeats."""
        found = {i.url.rstrip("/"): i for i in (*self.extra, *([self.default] if self.default else []))}
        return tuple(found.values())

    def cutoff_of(self, index: Index, general: str | None) -> str | None:
        """The instant that holds for ``index``: its own, else the ``general`` one."""
        for key, instant in self.newer:
            address = "://" in key and hidden(key.rstrip("/")) == hidden(index.url.rstrip("/"))
            if address or key == index.name:
                return None if instant == NONE else instant
        return general

    def for_recipe(self, own: Sequence[str], extra: Sequence[str], *, keep_default: bool) -> IndexSettings:
        """With the indexes a recipe states: ``own`` replace the default unless ``keep_default`` (some step
        states none), ``extra`` are asked besides. With two sources for a name the recipe's come first, and
        the others only where those have no version that fits (uv's ``unsafe-first-match``)."""
        if not own and not extra:
            return self
        ours = [Index(url) for url in dict.fromkeys([*own, *extra])]
        if keep_default or not own:
            return replace(self, extra=(*ours, *self.extra), strategy="unsafe-first-match", origin="the recipe")
        first = Index(own[0])
        rest = tuple(i for i in ours if i.url != first.url)
        return replace(
            self, default=first, extra=(*rest, *self.extra), strategy="unsafe-first-match", origin="the recipe"
        )


def configured(root: Path | None = None, environ: Mapping[str, str] | None = None) -> IndexSettings:
    """The settings in force for a project at ``root`` (its ``uv.toml`` or ``pyproject.toml`` is read)."""
    env = os.environ if environ is None else environ
    uv = _uv_settings(env, root)
    pip = _pip_settings(env)
    transport: dict[str, Any] = {
        "cert": pip.get("cert")
        or env.get("SSL_CERT_FILE")
        or env.get("REQUESTS_CA_BUNDLE")
        or env.get("CURL_CA_BUNDLE"),
        "client_cert": pip.get("client-cert") or env.get("SSL_CLIENT_CERT"),
        "insecure_hosts": tuple(dict.fromkeys((*pip.get("trusted-host", "").split(), *uv.get("hosts", ())))),
        "pip": tuple(sorted((k, v) for k, v in pip.items() if k in _PIP_TRANSPORT)),
    }
    if uv.get("default") or uv.get("extra") or uv.get("links"):
        return IndexSettings(
            default=uv.get("default") or _default(),
            extra=tuple(uv.get("extra", ())),
            find_links=tuple(uv.get("links", ())),
            strategy=uv.get("strategy", "first-index"),
            origin="uv's configuration",
            **transport,
        )
    no_index = pip.get("no-index", "").lower() in ("1", "true", "yes", "on")
    url = pip.get("index-url")
    extra = tuple(Index(u) for u in pip.get("extra-index-url", "").split())
    links = tuple(pip.get("find-links", "").split())
    return IndexSettings(
        default=None if no_index else (Index(url) if url else _default()),
        extra=() if no_index else extra,
        find_links=links,
        strategy=uv.get("strategy", "first-index"),
        origin="pip's configuration" if url or extra or links or no_index else "the tools' default",
        **transport,
    )


# -- uv ----------------------------------------------------------------------------------------------


def _named(text: str) -> Index:
    m = re.match(r"([A-Za-z0-9._-]+)=(?=\S)", text)
    return Index(text[m.end() :], m[1]) if m else Index(text)


def _uv_settings(env: Mapping[str, str], root: Path | None) -> dict[str, Any]:
    out: dict[str, Any] = {"extra": [], "links": [], "hosts": env.get("UV_INSECURE_HOST", "").split()}
    default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    if default:
        out["default"] = _named(default)
    out["extra"] = [_named(t) for t in (env.get("UV_INDEX", "") + " " + env.get("UV_EXTRA_INDEX_URL", "")).split()]
    out["links"] = [t for t in re.split(r"[,\s]+", env.get("UV_FIND_LINKS", "")) if t]
    if env.get("UV_INDEX_STRATEGY"):
        out["strategy"] = env["UV_INDEX_STRATEGY"]
    for path, table in _uv_files(env, root):
        for part in (table, table.get("pip", {})):
            _uv_table(part, out, path)
    return out


def _uv_table(table: Mapping[str, Any], out: dict[str, Any], path: Path) -> None:
    for entry in table.get("index", []):
        if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
            raise InputError(f"{path}: index: expected tables with a url, found {entry!r}")
        index = Index(entry["url"], entry.get("name"))
        if entry.get("explicit"):
            continue
        if entry.get("default"):
            out.setdefault("default", index)
        else:
            out["extra"].append(index)
    if isinstance(table.get("index-url"), str):
        out.setdefault("default", Index(table["index-url"]))
    out["extra"] += [Index(u) for u in table.get("extra-index-url", [])]
    out["links"] += [str(path.parent / u) if "://" not in u else u for u in table.get("find-links", [])]
    out["hosts"] += table.get("allow-insecure-host", [])
    if isinstance(table.get("index-strategy"), str):
        out.setdefault("strategy", table["index-strategy"])


def _uv_files(env: Mapping[str, str], root: Path | None) -> list[tuple[Path, dict[str, Any]]]:
    """The tables in force, nearest first (uv documentation, "Configuration files")."""
    if env.get("UV_NO_CONFIG", "").lower() in ("1", "true", "yes", "on"):
        return []
    if env.get("UV_CONFIG_FILE"):
        path = Path(env["UV_CONFIG_FILE"])
        return [(path, _toml(path))]
    found: list[tuple[Path, dict[str, Any]]] = []
    for folder in (root.absolute(), *root.absolute().parents) if root is not None else ():
        own, project = folder / "uv.toml", folder / "pyproject.toml"
        if own.is_file():
            found.append((own, _toml(own)))
            break
        if project.is_file():
            table = _toml(project).get("tool", {}).get("uv")
            if isinstance(table, dict):
                found.append((project, table))
                break
    home = env.get("XDG_CONFIG_HOME") or (f"{env['HOME']}/.config" if env.get("HOME") else None)
    for path in ([Path(home, "uv/uv.toml")] if home else []) + [Path("/etc/uv/uv.toml")]:
        if path.is_file():
            found.append((path, _toml(path)))
    return found


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise InputError(f"{path}: cannot be read as uv's configuration: {e}") from None


# -- pip ---------------------------------------------------------------------------------------------

_PIP_TRANSPORT = (
    "cert",
    "client-cert",
    "proxy",
    "retries",
    "timeout",
    "default-timeout",
    "trusted-host",
    "keyring-provider",
)
_PIP_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", *_PIP_TRANSPORT)


def _pip_settings(env: Mapping[str, str]) -> dict[str, str]:
    """``pip config list`` for the options that matter here: files in pip's order, then the environment."""
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}}
    for path in _pip_files(env):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as e:
            raise InputError(f"{path}: cannot be read as pip's configuration: {' '.join(str(e).split())}") from None
        for section, found in sections.items():
            if parser.has_section(section):
                items = {k.replace("_", "-"): v for k, v in parser.items(section)}
                found |= {k: v for k, v in items.items() if k in _PIP_KEYS}
    out = sections["global"] | sections["install"]
    for key in _PIP_KEYS:
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            out[key] = value
    return out


def _pip_files(env: Mapping[str, str]) -> list[Path]:
    """Least binding first: system, user, the environment's own, ``PIP_CONFIG_FILE`` (which silences the user's)."""
    named = env.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    files = [Path(d, "pip.conf") for d in platformdirs.site_config_dir("pip", multipath=True).split(os.pathsep)]
    files.append(Path("/etc/pip.conf"))
    if not (named and Path(named).exists()):
        home = Path(env.get("HOME") or "~").expanduser()
        files += [home / ".pip/pip.conf", Path(env.get("XDG_CONFIG_HOME") or home / ".config", "pip/pip.conf")]
    files.append(Path(sys.prefix, "pip.conf"))
    if named:
        files.append(Path(named))
    return [f for f in files if f.is_file()]


# -- the default -------------------------------------------------------------------------------------


def uv_binary() -> str | None:
    """The uv of this environment's ``uv`` package, else the one on ``PATH``."""
    try:
        import uv

        return os.fspath(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


@cache
def _default() -> Index:
    """What uv says its default index is (asked with nothing configured), else what pip's code says."""
    binary = uv_binary()
    if binary is not None:
        command = [binary, "--no-config", "pip", "compile", "--no-header", "--emit-index-url", "--quiet"]
        command += ["--no-python-downloads", "--python", sys.executable, "-"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("UV_") or k == "UV_CACHE_DIR"}
        done = subprocess.run(command, input="", capture_output=True, text=True, env=clean, check=False)
        said = re.search(r"^--(?:index-url|default-index)[ =](\S+)", done.stdout, re.MULTILINE)
        if said:
            return Index(said[1])
    try:
        from pip._internal.models.index import PyPI

        return Index(str(PyPI.simple_url))
    except (ImportError, AttributeError):
        raise InputError(
            "no package index is configured, and neither uv nor pip can say what its default is",
            hint="set UV_DEFAULT_INDEX or PIP_INDEX_URL",
        ) from None
