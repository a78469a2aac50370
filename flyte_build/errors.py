"""The errors that flyte-build raises, for whoever catches them: ``except flyte_build.errors.LockError``.

:class:`FlyteBuildError` is above all of them and has ``message``, ``hint``, ``detail`` and ``exit_code``.
"""

from .kernel.errors import (
    ArtifactError,
    CheckError,
    FetchError,
    FlyteBuildError,
    InputError,
    LoadError,
    LockError,
    PinError,
    RefusedError,
    RegistryError,
    ResolutionError,
    RunError,
    SandboxError,
    SealError,
    StoreError,
    UserError,
)

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
