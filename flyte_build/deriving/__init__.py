"""Lock → derivations: what an image and each of its layers are made of, as data with a hash.

Never fetches or builds; of the disk it reads only the local files that a recipe copies (``local_files``). The function
is :func:`derive`, the nouns are :class:`ImageDerivation`, :class:`LayerDerivation`, :class:`Artifact` and
:class:`FileEntry`.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .derivation import derive
    from .from_lock import recorded_recipe
    from .local_files import snapshot
    from .nouns import Artifact, FileEntry, ImageDerivation, LayerDerivation

__all__ = ["Artifact", "FileEntry", "ImageDerivation", "LayerDerivation", "derive", "recorded_recipe", "snapshot"]

__getattr__ = offering(
    __name__,
    {
        "derivation": "derive",
        "nouns": "Artifact FileEntry ImageDerivation LayerDerivation",
        "from_lock": "recorded_recipe",
        "local_files": "snapshot",
    },
)
