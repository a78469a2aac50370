"""The native core: the assembler's hot loop in C, with ``assemble/`` as the law. It only makes the same bytes sooner.

:func:`unpack` is the way back, for a run: a layer's files, with ``submit/unpack.py`` as the law.

:func:`write_blob` has the signature of ``flyte_build.assemble.blob.write_blob``, which does everything where the core
is not there, is turned off (``FLYTE_BUILD_CORE=pure``), or finds anything wrong; ``docs/core.md`` has the whole of it.
:func:`write_layer` is to ``flyte_build.assemble.layer.write_layer`` the same: wheels are read by the core.
Never decides what is in a layer, words no error, and is not what Nix and Bazel run.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .blob import write_blob
    from .library import Core, core
    from .unpacking import unpack
    from .wheels import write_layer

__all__ = ["Core", "core", "unpack", "write_blob", "write_layer"]

__getattr__ = offering(
    __name__,
    {"blob": "write_blob", "library": "Core core", "unpacking": "unpack", "wheels": "write_layer"},
)
