"""flyte-build: hermetic, content-addressed images for Flyte 2, and the launch of tasks on them.

An image is a pure function of its lock. This package turns the ``flyte.Image`` of every
``flyte.TaskEnvironment`` into a locked, content-hashed derivation, builds what no cache holds,
without Docker, and runs the tasks on the images it pinned by digest.

Importing this package imports nothing else: the assembler below it runs on the standard library
alone, and a plan that changes nothing must not pay for what it does not use.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # as type checkers read it, without an import of typing
    from .kernel.version import __version__
    from .plugin.pinning import pin, pinned

__all__ = ["__version__", "pin", "pinned"]

_OFFERED = {"__version__": "kernel.version", "pin": "plugin.pinning", "pinned": "plugin.pinning"}


def __getattr__(name: str) -> object:
    """What is offered is imported on use (PEP 562)."""
    if name in _OFFERED:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_OFFERED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
