"""flyte-build itself as a wheel, made of what is installed here: the same bytes for the same files.

A run's driver is the flyte-build that submitted it, also where that is a checkout. Builds nothing that has to be
compiled: what is compiled is an optional part (see docs/architecture.md), and left out.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

__all__ = ["own_wheel"]

_NAME = "flyte_build"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = (".so", ".pyc")


def own_wheel(folder: Path) -> Path:
    """Write the wheel into ``folder`` (made where it is not there), and give its path. Raises OSError."""
    found = distribution("flyte-build")
    metadata = found.read_text("METADATA") or ""
    info = f"{_NAME}-{found.version}.dist-info"
    package = Path(__file__).parents[1]
    files = {
        f"{_NAME}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and path.suffix not in _LEFT_OUT and "__pycache__" not in path.parts
    }
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: flyte-build\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{_NAME}-{found.version}-py3-none-any.whl"
    partial = wheel.with_suffix(".part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, data)
    partial.replace(wheel)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
