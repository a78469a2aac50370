"""Whose name and password a registry gets: the environment's, else Docker's and podman's own configuration.

Asked in this order; the first that knows the host wins:

1. ``FLYTE_BUILD_REGISTRY_USER_<HOST>`` and ``FLYTE_BUILD_REGISTRY_PASSWORD_<HOST>``, the host in capitals with
   ``_`` for every other character; then the same without ``_<HOST>``, which are for the host of
   ``FLYTE_BUILD_REGISTRY`` (or the ``home`` that the program names) alone: a password must not go to whichever
   registry asks.
2. ``$REGISTRY_AUTH_FILE``, then ``$DOCKER_CONFIG/config.json`` (``~/.docker/config.json``), then podman's
   ``$XDG_RUNTIME_DIR/containers/auth.json`` and ``~/.config/containers/auth.json``. In each: ``credHelpers`` of the
   host, ``auths`` of the repository, its parents and the host, ``credsStore``.

Helpers are the programs ``docker-credential-NAME`` on ``PATH``; they are given the host on standard input. Nothing is
ever written, and no value is part of a message.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..kernel.errors import RegistryError
from ..kernel.values import dataclass, field

__all__ = ["Credentials", "Keychain"]

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")
_NO_CREDENTIALS = "credentials not found"
_TOKEN_USER = "<token>"
_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password, or an identity token that is exchanged for others; ``source`` says where they are from."""

    user: str
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)
    source: str = ""


class Keychain:
    """Finds credentials; safe to use from several threads. Each host and repository is looked up once."""

    def __init__(self, environ: Mapping[str, str], docker_config: Path | None = None, home: str | None = None) -> None:
        self._environ = environ
        self._home = (home or environ.get("FLYTE_BUILD_REGISTRY", "")).partition("/")[0]
        self._docker_config = docker_config
        self._found: dict[tuple[str, str], Credentials | None] = {}
        self._guard = threading.Lock()

    def find(self, host: str, repository: str = "") -> Credentials | None:
        """The credentials for ``repository`` at ``host``, or ``None``: then requests go without.

        Raises :class:`RegistryError` where a file cannot be read or a helper fails: a registry that is asked
        anonymously by mistake says "not found", which misleads.
        """
        with self._guard:
            key = (host, repository)
            if key not in self._found:
                self._found[key] = self._from_environment(host) or self._from_files(host, repository)
            return self._found[key]

    def _from_environment(self, host: str) -> Credentials | None:
        suffix = "_" + re.sub(r"[^A-Za-z0-9]", "_", host).upper()
        for end in (suffix, ""):
            user = self._environ.get(f"FLYTE_BUILD_REGISTRY_USER{end}")
            password = self._environ.get(f"FLYTE_BUILD_REGISTRY_PASSWORD{end}")
            if not end and host != self._home:
                continue
            if user and password:
                return Credentials(user, password, source=f"$FLYTE_BUILD_REGISTRY_USER{end}")
            if user or password:
                lacking = "PASSWORD" if user else "USER"
                raise RegistryError(
                    f"{host}: expected both FLYTE_BUILD_REGISTRY_USER{end} and FLYTE_BUILD_REGISTRY_PASSWORD{end}",
                    hint=f"set FLYTE_BUILD_REGISTRY_{lacking}{end}, or unset the other",
                )
        return None

    def _files(self) -> Iterator[Path]:
        env = self._environ
        home = Path(env["HOME"]) if env.get("HOME") else None
        if env.get("REGISTRY_AUTH_FILE"):
            yield Path(env["REGISTRY_AUTH_FILE"])
        if self._docker_config is not None:
            yield self._docker_config
        elif env.get("DOCKER_CONFIG"):
            yield Path(env["DOCKER_CONFIG"]) / "config.json"
        elif home:
            yield home / ".docker" / "config.json"
        if env.get("XDG_RUNTIME_DIR"):
            yield Path(env["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"
        if env.get("XDG_CONFIG_HOME"):
            yield Path(env["XDG_CONFIG_HOME"]) / "containers" / "auth.json"
        elif home:
            yield home / ".config" / "containers" / "auth.json"

    def _from_files(self, host: str, repository: str) -> Credentials | None:
        for file in self._files():
            config = _read(file)
            if config is None:
                continue
            found = self._from_config(config, file, host, repository)
            if found is not None:
                return found
        return None

    def _from_config(self, config: Mapping[str, Any], file: Path, host: str, repository: str) -> Credentials | None:
        names = (
            _HUB_KEYS if host == "docker.io" else (host, f"https://{host}", f"https://{host}/", f"https://{host}/v2/")
        )
        helpers = _table(config, "credHelpers", file)
        for name in names:
            if helpers.get(name):
                return self._ask(str(helpers[name]), name)
        auths = _table(config, "auths", file)
        parts = repository.split("/") if repository else []
        paths = [f"{host}/{'/'.join(parts[:n])}" for n in range(len(parts), 0, -1)]
        for name in (*paths, *names, *(k for k in auths if _host_of(k) == host)):
            entry = auths.get(name)
            if isinstance(entry, Mapping) and (found := _entry(entry, name, file)) is not None:
                return found
        store = config.get("credsStore")
        if store:
            # Docker keeps each host under the name it was logged in with.
            known = [k for k in auths if k in names or _host_of(k) == host]
            for name in dict.fromkeys((*known, names[0])):
                if (found := self._ask(str(store), name)) is not None:
                    return found
        return None

    def _ask(self, helper: str, host: str) -> Credentials | None:
        program = f"docker-credential-{helper}"
        if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
            raise RegistryError(f"{host}: `{helper}` is no name of a credential helper")
        try:
            done = subprocess.run(
                [program, "get"],
                input=host.encode(),
                env=dict(self._environ),
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except FileNotFoundError:
            raise RegistryError(
                f"{host}: the credential helper `{program}` is not on PATH",
                hint="install it, or take it out of credHelpers/credsStore in Docker's config.json",
            ) from None
        except (OSError, subprocess.TimeoutExpired) as e:
            why = f"no answer in {_PATIENCE} s" if isinstance(e, subprocess.TimeoutExpired) else str(e)
            raise RegistryError(f"{host}: the credential helper `{program}` failed: {why}") from None
        if done.returncode:
            # Helpers print their errors on standard output; a failing one has no secret to print.
            words = (done.stdout + b" " + done.stderr).decode(errors="replace").strip()
            if _NO_CREDENTIALS in words:
                return None
            raise RegistryError(
                f"{host}: the credential helper `{program} get` failed ({done.returncode}): {words[:300]}",
                hint=f"run `echo {host} | {program} get` to see for yourself",
            )
        try:
            answer = json.loads(done.stdout)
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError):
            raise RegistryError(
                f"{host}: `{program} get`: expected JSON with Username and Secret, found none"
            ) from None
        if user == _TOKEN_USER:
            return Credentials("", "", identity_token=secret, source=program)
        return Credentials(user, secret, source=program)


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as e:
        raise RegistryError(f"{file}: cannot be read: {e}") from None
    try:
        found = json.loads(text)
    except ValueError:
        raise RegistryError(
            f"{file}: expected Docker's configuration as JSON", hint="repair or move the file"
        ) from None
    if not isinstance(found, Mapping):
        raise RegistryError(f"{file}: expected an object, found {type(found).__name__}")
    return found


def _table(config: Mapping[str, Any], key: str, file: Path) -> Mapping[str, Any]:
    found = config.get(key, {})
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise RegistryError(f"{file}: {key}: expected an object, found {type(found).__name__}")
    return found


def _entry(entry: Mapping[str, Any], name: str, file: Path) -> Credentials | None:
    token = entry.get("identitytoken") or None
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise RegistryError(f"{file}: auths: {name}: `auth` is not base64 of USER:PASSWORD") from None
        user, colon, password = text.partition(":")
        if not colon:
            raise RegistryError(f"{file}: auths: {name}: `auth` is not base64 of USER:PASSWORD")
        password = password.rstrip("\x00")
    if not token and not (user and password):
        return None
    return Credentials(user, password, identity_token=str(token) if token else None, source=str(file))


def _host_of(key: str) -> str:
    return key.partition("://")[2].partition("/")[0] if "://" in key else key
