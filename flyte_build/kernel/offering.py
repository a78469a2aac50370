"""What a package offers at its front door, imported when it is asked for (PEP 562).

A build that changes nothing must not pay for what it does not use, so a package's ``__init__`` names what it offers and
imports none of it. Imports nothing itself but the module that is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["offering"]


def offering(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of ``package``: ``modules`` says in which of its modules each name is.

    Raises :class:`AttributeError` for a name that is not offered, as Python does.
    """
    where = {name: module for module, names in modules.items() for name in names.split()}

    def find(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{package}.{where[name]}"), name)

    return find
