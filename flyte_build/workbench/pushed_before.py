"""A push that would send nothing is answered from the record, once the registry says that all of it is still there.

What is asked is what the whole command would ask: the tags, the manifests and the documents beside them, by digest. No
user's file is read and no SDK imported. Whatever is not as it was, or does not answer, is left to the whole command.
A record says neither who is trusted in plain HTTP nor for whom a password without a host is: it may be somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..kernel.errors import FlyteBuildError

if TYPE_CHECKING:
    from ..remote.publishing import PushedImage
    from ..settings import Settings
    from ..supply.attaching import Attached

__all__ = ["questions", "still_there"]


def questions(
    pushed: Sequence[PushedImage], attached: Sequence[Attached] | None, settings: Settings
) -> dict[str, Any] | None:
    """What has to be as it is now for the same push to have nothing to do; ``None`` where that cannot be told.

    ``attached``: what lies beside the images, or ``None`` where that is not known.
    """
    signed = settings.sign_key is not None or settings.verify_key is not None
    if attached is None or settings.cache or signed or settings.insecure_registries:
        return None
    documents: dict[str, str] = {}
    for image in pushed:
        repository = image.reference.partition("@")[0]
        documents |= {f"{repository}:{tag}": image.digest for tag in image.tags}
        documents |= {f"{repository}@{d}": d for d in image.platforms.values() if d != image.digest}
    documents |= {one.reference: one.reference.partition("@")[2] for one in attached}
    return {"documents": documents}


def still_there(asked: Mapping[str, Any]) -> bool:
    """Whether the registry has all of it, each under the digest that it had."""
    from ..registry.glance import Glance, Unsure
    from ..registry.reference import Reference

    glance = Glance()
    try:
        return glance.all_same([(Reference.parse(name), digest) for name, digest in asked["documents"].items()])
    except (FlyteBuildError, KeyError, TypeError, AttributeError):
        return False
    except Unsure:
        return _all_there(asked)
    finally:
        glance.close()


def _all_there(asked: Mapping[str, Any]) -> bool:
    """The same by the client, which tries harder."""
    from ..registry.client import Registry
    from ..registry.reference import Reference
    from ..remote.threads import each

    try:
        with Registry(attempts=1) as registry:

            def same(item: tuple[str, str]) -> bool:
                found = registry.head(Reference.parse(item[0]))
                return found is not None and found.digest == item[1]

            return all(each(same, list(asked["documents"].items())))
    except (FlyteBuildError, KeyError, TypeError, AttributeError):
        return False
