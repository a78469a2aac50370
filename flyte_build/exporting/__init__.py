"""A lock in the forms of other tools, for those who bring no containers, or bring their own builder.

Never names an index (law 1); the same lock gives the same bytes. :func:`requirements_text` and :func:`pylock_text`
write wheels for pip, uv and Bazel, :func:`write_pex` one executable file, :func:`flake_text` a flake for Nix.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .nix import flake_text
    from .pex import write_pex
    from .pylock import pylock_text
    from .requirements import requirements_text

__all__ = ["flake_text", "pylock_text", "requirements_text", "write_pex"]

__getattr__ = offering(
    __name__, {"requirements": "requirements_text", "pylock": "pylock_text", "pex": "write_pex", "nix": "flake_text"}
)
