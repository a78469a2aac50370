"""``./dev``'s way to uv, where that is plain: ``python get_uv.py settings``, or ``install PIP_WHEEL CONSTRAINTS``.

Both print what pip's files have configured, as ``pip config list`` does. ``install``, run by the Python of an
environment, also puts the wheel of uv that CONSTRAINTS name there, from the index that pip is configured for, or pip's
own default, which its wheel tells. That is what ``pip install uv`` does, in a fifth of the processor time, for pip
imports and compiles most of itself before. It ends with 1, and has changed nothing, wherever pip may do otherwise, or
anything is amiss: pip, which then has its turn, says what. Standard library only.
"""

from __future__ import annotations

import base64
import configparser
import gzip
import hashlib
import io
import json
import os
import re
import ssl
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

__all__ = ["PipDoesIt", "install", "main", "settings", "wheel_of"]

# With one of these pip asks elsewhere, otherwise, or not at all.
_OTHERWISE = ("client-cert", "extra-index-url", "no-index", "only-binary", "no-binary", "proxy", "trusted-host")
_ACCEPT = "application/vnd.pypi.simple.v1+json"
_SECONDS = 15.0
_LARGEST = 256 << 20
_HERE = ("localhost", "127.0.0.1", "::1")


class PipDoesIt(Exception):
    """Nothing was installed."""


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """What pip's files say: ``section.key`` → value, the more special file's. Raises :class:`PipDoesIt` for what pip
    words better. Files and their order: pip's documentation, "Configuration"."""
    if not sys.platform.startswith("linux"):
        raise PipDoesIt("elsewhere the files are others")
    own = environ.get("PIP_CONFIG_FILE", "")
    home = environ.get("HOME", "")
    files = [
        *(f"{folder}/pip/pip.conf" for folder in (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")),
        "/etc/pip.conf",
        f"{home}/.pip/pip.conf",
        f"{environ.get('XDG_CONFIG_HOME') or home + '/.config'}/pip/pip.conf",
        f"{sys.prefix}/pip.conf",
        own,
    ]
    found: dict[str, str] = {}
    for path in files if own != os.devnull else []:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (OSError, ValueError, configparser.Error) as e:
            raise PipDoesIt(str(e)) from None
        for section in parser.sections():
            for key, value in parser.items(section):
                found[f"{section}.{key.lower().replace('_', '-').removeprefix('--')}"] = " ".join(value.split())
    return found


def wheel_of(page: Mapping[str, object], version: str, machine: str, glibc: tuple[int, int]) -> tuple[str, str]:
    """The address, as the index's ``page`` (PEP 691) has it, and the SHA-256 of uv's wheel for such a machine."""
    files = page["files"]
    assert isinstance(files, list)
    for file in files:
        named = re.fullmatch(rf"uv-{re.escape(version)}-py3-none-(.+)\.whl", file["filename"])
        if named is None or file.get("yanked"):
            continue
        for platform in named[1].split("."):
            tag = re.fullmatch(rf"manylinux_(\d+)_(\d+)_{machine}", platform)
            if tag is not None and (int(tag[1]), int(tag[2])) <= glibc:
                return file["url"], file["hashes"]["sha256"]
    raise PipDoesIt(f"no wheel of uv {version} for {machine}")


def install(wheel: bytes, version: str, packages: Path, scripts: Path) -> None:
    """Install a wheel of uv whose hash was checked, as pip would (PEP 427)."""
    info = f"uv-{version}.dist-info"
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    files.pop(f"{info}/RECORD")
    files[f"{info}/INSTALLER"] = b"flyte-build's dev\n"
    # What says that it is installed comes last.
    ordered = sorted(files, key=lambda name: name.startswith(info))
    placed = {_place(name, version, packages, scripts): files[name] for name in ordered}
    if any(path.parent == scripts and data.startswith(b"#!") for path, data in placed.items()):
        raise PipDoesIt("a script that wants its interpreter's path")
    record = ""
    for path, data in placed.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if path.parent == scripts:
            path.chmod(0o755)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{os.path.relpath(path, packages)},sha256={digest},{len(data)}\n"
    (packages / info / "RECORD").write_text(f"{record}{info}/RECORD,,\n")


def _place(name: str, version: str, packages: Path, scripts: Path) -> Path:
    """Where a file of the wheel belongs."""
    top, _, rest = name.partition("/")
    if ".." in name.split("/") or not rest:
        raise PipDoesIt(f"`{name}` is nothing that the wheel of uv has")
    if top in ("uv", f"uv-{version}.dist-info"):
        return packages / name
    folder, _, script = rest.partition("/")
    if top != f"uv-{version}.data" or folder != "scripts" or "/" in script:
        raise PipDoesIt(f"`{name}` is nothing that the wheel of uv has")
    return scripts / script


def _get(url: str, trusted: ssl.SSLContext, seconds: float, accept: str = "*/*") -> bytes:
    _believed(url)
    asked = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "flyte-build"}
    request = urllib.request.Request(url, headers=asked)
    with urllib.request.urlopen(request, timeout=seconds, context=trusted) as answer:
        _believed(answer.url)
        if accept != "*/*" and not answer.headers.get("Content-Type", "").startswith(accept):
            raise PipDoesIt("no page as PEP 691 has it")
        data: bytes = answer.read(_LARGEST)
        return gzip.decompress(data) if answer.headers.get("Content-Encoding") == "gzip" else data


def _believed(url: str) -> None:
    """What pip takes without being told to trust it."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise PipDoesIt(f"not https: {parts.scheme}")


def _options(found: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """What `pip install` goes by: variables before files, and of these its own section before the general one."""
    out: dict[str, str] = {}
    for section in ("global.", "install."):
        out |= {key.removeprefix(section): value for key, value in found.items() if key.startswith(section)}
    variables = {k: v for k, v in environ.items() if k.startswith("PIP_") and v}
    return out | {k.removeprefix("PIP_").lower().replace("_", "-"): v for k, v in variables.items()}


def _installed(pip: str, constraints: str, found: Mapping[str, str], environ: Mapping[str, str]) -> None:
    options = _options(found, environ)
    if any(options.get(key) for key in _OTHERWISE) or environ.get("ALL_PROXY") or environ.get("all_proxy"):
        raise PipDoesIt("configured for pip")
    version = re.search(r"^uv==([0-9.]+)$", Path(constraints).read_text(encoding="utf-8"), re.MULTILINE)
    libc = re.fullmatch(r"glibc (\d+)\.(\d+).*", os.confstr("CS_GNU_LIBC_VERSION") or "")
    if version is None or libc is None or sys.maxsize < 2**32:
        raise PipDoesIt("not as expected")
    index = options.get("index-url") or _default(pip)
    trusted = ssl.create_default_context(cafile=options.get("cert"))
    seconds = float(options.get("timeout") or options.get("default-timeout") or _SECONDS)
    page = json.loads(_get(address := f"{index.rstrip('/')}/uv/", trusted, seconds, _ACCEPT))
    url, sha256 = wheel_of(page, version[1], os.uname().machine, (int(libc[1]), int(libc[2])))
    wheel = _get(urljoin(address, url), trusted, seconds)
    if hashlib.sha256(wheel).hexdigest() != sha256:
        raise PipDoesIt("not what the index says")
    install(wheel, version[1], Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("scripts")))


def _default(pip: str) -> str:
    sys.path.insert(0, pip)
    from pip._internal.models.index import PyPI

    return str(PyPI.simple_url)


def _lines(found: Mapping[str, str]) -> Iterator[str]:
    return (f"{key}='{value}'" for key, value in sorted(found.items()))


def main(words: list[str]) -> int:
    try:
        found = settings(os.environ)
        print(*_lines(found), sep="\n")
        if words[:1] == ["install"]:
            _installed(words[1], words[2], found, os.environ)
    except Exception:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
