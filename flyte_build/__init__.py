"""flyte-build: hermetic, content-addressed images for Flyte 2, and the launch of tasks on them.

    project = flyte_build.open("examples/af2/main.py")
    run = project.run("main", sequence="AAGG")

An image is a pure function of its lock. This package turns the ``flyte.Image`` of every ``flyte.TaskEnvironment`` into
a locked, content-hashed derivation, builds what no cache holds, without Docker, and runs the tasks on the images it
pinned by digest. ``docs/python.md`` has the whole of this interface.

Importing this package imports nothing else: the assembler below it runs on the standard library alone, and a plan that
changes nothing must not pay for what it does not use.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # as type checkers read it, without an import of typing
    from . import errors
    from .kernel.version import __version__
    from .plugin.pinning import pin, pinned
    from .workbench import RunOptions, Workbench, unbundle
    from .workbench import compare as diff
    from .workbench import kept_run as read_run
    from .workbench import kept_runs as runs
    from .workbench import open_project as open

__all__ = [
    "RunOptions",
    "Workbench",
    "__version__",
    "diff",
    "errors",
    "open",
    "pin",
    "pinned",
    "read_run",
    "runs",
    "unbundle",
]

_OFFERED = {
    "RunOptions": ("workbench", "RunOptions"),
    "Workbench": ("workbench", "Workbench"),
    "__version__": ("kernel.version", "__version__"),
    "diff": ("workbench", "compare"),
    "open": ("workbench", "open_project"),
    "pin": ("plugin.pinning", "pin"),
    "pinned": ("plugin.pinning", "pinned"),
    "read_run": ("workbench", "kept_run"),
    "runs": ("workbench", "kept_runs"),
    "unbundle": ("workbench", "unbundle"),
}


def __getattr__(name: str) -> object:
    """What is offered is imported on use (PEP 562)."""
    from importlib import import_module

    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name in _OFFERED:
        module, there = _OFFERED[name]
        return getattr(import_module(f"{__name__}.{module}"), there)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
