"""The public Python API: opens a project and offers every verb. The only place where stages are joined.

Never prints, never parses: the command line and the plug-in are skins over it. :func:`open_project` is
``flyte_build.open``; :class:`Workbench` has the verbs, whose results are values that print well.
"""

from ..kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .bench import Workbench, open_project
    from .bundling import unbundle
    from .describing import Document, describe_lock
    from .exporting import Exported
    from .making import Images
    from .named_lock import Named
    from .plans import Planned
    from .readiness import Ready
    from .running import LocalPath, RunOptions
    from .runs import Run, kept_run, kept_runs
    from .subjects import compare
    from .targeting import Target, target, targets
    from .verification import Verification

__all__ = [
    "Document",
    "Exported",
    "Images",
    "LocalPath",
    "Named",
    "Planned",
    "Ready",
    "Run",
    "RunOptions",
    "Target",
    "Verification",
    "Workbench",
    "compare",
    "describe_lock",
    "kept_run",
    "kept_runs",
    "open_project",
    "target",
    "targets",
    "unbundle",
]

__getattr__ = offering(
    __name__,
    {
        "bench": "Workbench open_project",
        "bundling": "unbundle",
        "describing": "Document describe_lock",
        "exporting": "Exported",
        "making": "Images",
        "named_lock": "Named",
        "plans": "Planned",
        "readiness": "Ready",
        "running": "LocalPath RunOptions",
        "runs": "Run kept_run kept_runs",
        "subjects": "compare",
        "targeting": "Target target targets",
        "verification": "Verification",
    },
)
