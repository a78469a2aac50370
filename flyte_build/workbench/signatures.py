"""What may run: where the settings have a ``verify-key``, only images that are signed by it in their registry.

Asked each time, as a signature can be taken away; never recorded. Signs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..kernel.errors import InputError
from ..kernel.reporting import Reporter
from ..settings import Settings

__all__ = ["require_signed"]


def require_signed(settings: Settings, images: Mapping[str, str], reporter: Reporter) -> None:
    """Let ``images`` (environment → manifest digest) pass, or raise :class:`RefusedError` that names those to sign.

    Raises :class:`InputError` where the key is none, or no registry says where signatures are, and
    :class:`RegistryError` where it cannot be asked.
    """
    if settings.verify_key is None:
        return
    from ..remote.connecting import connected
    from ..remote.target import Target
    from ..supply.signing import require_signatures

    if settings.registry is None:
        raise InputError(
            "`verify-key` is set, and nothing says in which registry the images and their signatures are",
            hint="set `registry` in [tool.flyte-build] of pyproject.toml, or $FLYTE_BUILD_REGISTRY",
        )
    with connected(settings, reporter) as shared:
        registry = shared.registry(patient=True)
        target = Target.of(settings, registry)
        named = {name: str(target.repository(name).with_digest(digest)) for name, digest in images.items()}
        require_signatures(named, settings.verify_key, registry)
