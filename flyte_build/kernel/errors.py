"""Every error a user can meet, by what to do about it.

A message names what was expected, what was found and where; ``hint`` names the next step. The exit
code belongs to the class, is documented in ``flyte-build --help``, and never changes meaning.

    FlyteBuildError
    ├── UserError              something in the user's files or command line: fix it and run again
    │   ├── LoadError            3  the file does not import, no such task, ambiguous names
    │   ├── LockError            4  no lock, stale lock, a lock edited by hand or from a future schema
    │   ├── ResolutionError      5  the resolver found no solution
    │   ├── RefusedError         7  what was asked for cannot be made hermetic (law 9)
    │   ├── CheckError          10  a task calls what its environment or image does not provide for
    │   └── InputError           2  wrong argument types, as click's own usage errors
    ├── FetchError             6  an artifact cannot be had, or is not what the lock says
    ├── ArtifactError          8  a wheel, .deb or file that is corrupt or hostile
    ├── StoreError             9  the store, or what a person named to be written: no space, no permission, corruption
    ├── SandboxError          11  this machine cannot isolate a task
    ├── RunError              12  the run ended, and not in success
    ├── RegistryError         14  an image registry refuses, cannot be reached, or answers what it should not
    ├── PinError              15  an image is not the one that was pinned
    └── (anything else)        1  our bug: a traceback is shown and asks to be reported

13 is ``--exit-code``'s word for a difference (``diff``, ``outdated``), 130 an interrupt.

The assembler does not import this module (it runs by itself); it raises its own
``flyte_build.assemble.errors.AssembleError``, which building turns into :class:`ArtifactError`.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ArtifactError",
    "CheckError",
    "FetchError",
    "FlyteBuildError",
    "InputError",
    "LoadError",
    "LockError",
    "PinError",
    "RefusedError",
    "RegistryError",
    "ResolutionError",
    "RunError",
    "SandboxError",
    "SealError",
    "StoreError",
    "UserError",
]


class FlyteBuildError(Exception):
    """An error with a message for a person and an exit code for a machine.

    ``message`` is one or more lines without a trailing period; ``hint`` (optional) is what to do
    next; ``detail`` (optional) is longer material shown below, such as a resolver's own words.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UserError(FlyteBuildError):
    """What the user can fix in their files or on the command line."""

    exit_code = 2


class InputError(UserError):
    """A value on the command line or in the configuration is not of the expected type."""

    exit_code = 2


class LoadError(UserError):
    """The user's file does not import, or does not hold what was asked for."""

    exit_code = 3


class LockError(UserError):
    """A lock is missing, stale, hand-edited or from a future schema."""

    exit_code = 4


class ResolutionError(UserError):
    """A resolver found no solution, or no wheel for the platform."""

    exit_code = 5


class RefusedError(UserError):
    """What was asked for cannot be made hermetic; the message names the way out."""

    exit_code = 7


class CheckError(UserError):
    """A task calls what its environment or its image does not provide for: it would fail when it runs."""

    exit_code = 10


class FetchError(FlyteBuildError):
    """An artifact cannot be had, or its bytes are not those that were locked."""

    exit_code = 6


class ArtifactError(FlyteBuildError):
    """A wheel, a Debian package or a file is corrupt, hostile or inconsistent."""

    exit_code = 8


class StoreError(FlyteBuildError):
    """The store, or a file or folder that somebody named, cannot be read or written."""

    exit_code = 9


class SandboxError(FlyteBuildError):
    """This machine cannot give a task its sandbox."""

    exit_code = 11


class RunError(FlyteBuildError):
    """A run ended, and not in success."""

    exit_code = 12


class RegistryError(FlyteBuildError):
    """An image registry refuses, cannot be reached, or answers what the distribution specification forbids.

    The message reads ``METHOD url: code reason``, without secrets.
    """

    exit_code = 14


class PinError(FlyteBuildError):
    """An image's digest is not the one that was pinned; the message names the first difference."""

    exit_code = 15


class SealError(FlyteBuildError):
    """A step that runs programs failed, or what it made is not what the lock has sealed."""

    exit_code = 16
