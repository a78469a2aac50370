"""What the user asked for: an image as a base, a Python and steps in order, before anything is resolved.

Never imports flyte, never reads a network. :class:`Recipe` and the kinds of its steps are the nouns; its canonical form
is what a lock answers.
"""

from .conda import CondaInstall, CondaPackage
from .copying import CopyFiles
from .differences import differences
from .known import Known, fetched, known_in
from .located import hidden
from .nouns import (
    AptInstall,
    Base,
    DebianBase,
    Delegation,
    EnvVars,
    ImageSettings,
    Mount,
    PipInstall,
    Platform,
    Recipe,
    RegistryBase,
    RunCommands,
    Scratch,
    SecretMount,
    SourceTree,
    Stage,
    Step,
    TreeCopy,
    UvProject,
    WorkDir,
)

__all__ = [
    "AptInstall",
    "Base",
    "CondaInstall",
    "CondaPackage",
    "CopyFiles",
    "DebianBase",
    "Delegation",
    "EnvVars",
    "ImageSettings",
    "Known",
    "Mount",
    "PipInstall",
    "Platform",
    "Recipe",
    "RegistryBase",
    "RunCommands",
    "Scratch",
    "SecretMount",
    "SourceTree",
    "Stage",
    "Step",
    "TreeCopy",
    "UvProject",
    "WorkDir",
    "differences",
    "fetched",
    "hidden",
    "known_in",
]
