"""The two constraints on calls between environments, proven before anything is built.

    findings = checks.find(workspace, environments, store)      # what is wrong, each with file, line, words and a hint
    checks.refuse(findings)                                     # CheckError where one of them is an error

**What is proven.** (1) A task that calls a task of another environment needs that environment in ``depends_on``.
(2) Its own image must have what the called task's module imports. An error is certain: the run would fail. What might
fail is a warning, what nobody can tell a note. ``docs/checks.md`` explains every code.

**How it is made**, in three rooms that know each other in this order only:

- ``interpreter`` follows a task through the project's own code, as text beside the loaded modules' live objects, and
  finds the calls it may make and how certain each is. It judges nothing.
- ``wheels`` knows which modules the locked wheels bring: read off the wheels themselves, off layers in the store, or
  off a cache's listings. It judges nothing either.
- ``rules`` holds the calls against the environments and the imports against the images, and words what it finds.

``workspace`` joins the three with a project and its locks. Nothing here runs a task, imports what a task imports only
when it runs (but for the project's own modules), or needs the tasks' dependencies to be installed.
"""

from ...kernel.offering import offering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .rules.constraints import check
    from .rules.findings import CODES, Finding
    from .wheels.contents import Contents
    from .workspace import find, refuse

__all__ = ["CODES", "Contents", "Finding", "check", "find", "refuse"]

__getattr__ = offering(
    __name__,
    {
        "workspace": "find refuse",
        "rules.constraints": "check",
        "rules.findings": "CODES Finding",
        "wheels.contents": "Contents",
    },
)
