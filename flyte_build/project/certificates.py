"""Certificates that an image copies to where Debian looks for a machine's own: they join the bundle that programs read.

update-ca-certificates(8) does that on an installed system, and nothing runs it when a file is copied. So the copy is
followed by a sealed step that does. Reads the names of what is copied; runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..recipe import CopyFiles, EnvVars, RunCommands, Step, WorkDir

__all__ = ["FOLDER", "with_bundles"]

FOLDER = PurePosixPath("/usr/local/share/ca-certificates")
# Our own Debian has no openssl unless something asks for it: there the bundle is what it is made of, one after another.
_COMMAND = """\
if command -v openssl >/dev/null && command -v update-ca-certificates >/dev/null; then update-ca-certificates
else cd /usr/local/share/ca-certificates; for one in *.crt */*.crt; do
if test -f "$one"; then cat "$one"; echo; fi; done >>/etc/ssl/certs/ca-certificates.crt; fi"""
# Who says one of these has a way of their own.
_NAMED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def with_bundles(steps: Sequence[Step], root: Path) -> tuple[Step, ...]:
    """``steps``, with one that makes the bundle after the last that copies certificates, if any does and no other says
    how they are found."""
    workdir, last = PurePosixPath("/"), None
    for at, step in enumerate(steps):
        if isinstance(step, WorkDir):
            workdir /= step.path
        elif isinstance(step, CopyFiles) and not step.code and _copies(step, workdir, root):
            last = at
    if last is None or any(_of_their_own(step) for step in steps):
        return tuple(steps)
    return (*steps[: last + 1], RunCommands((_COMMAND,)), *steps[last + 1 :])


def _of_their_own(step: Step) -> bool:
    """Whether the image itself says how certificates are found."""
    if isinstance(step, RunCommands):
        return any("ca-certificates" in command for command in step.commands)
    return isinstance(step, EnvVars) and any(name in _NAMED for name, _ in step.variables)


def _copies(step: CopyFiles, workdir: PurePosixPath, root: Path) -> bool:
    """Whether a certificate comes to lie in the folder: its name has to end in ``.crt``, as on any Debian."""
    target = workdir / step.destination
    inside = target == FOLDER or FOLDER in target.parents
    source = root / step.source
    if step.folder:
        return inside and next(source.rglob("*.crt"), None) is not None
    named = source.name if step.destination.endswith("/") or target == FOLDER else target.name
    return inside and named.endswith(".crt")
