"""``project.plan``: the plan of the images that are meant, with what is wrong with the calls of their tasks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..kernel.canonical import Json
from ..kernel.errors import CheckError, InputError
from ..kernel.quantities import counted, size
from ..planning.images import plan_images
from ..planning.plan import Plan
from ..project.layout import project_of
from ..project.nouns import Asks, Environment
from ..remote.connecting import connected
from ..store import Store
from .opened import OpenProject
from .shown import html_table, text_table

if TYPE_CHECKING:
    from ..planning.checks import Finding
    from ..planning.explain import Explanation
    from ..planning.graph import Graph

__all__ = ["Planned", "plan"]

_COLUMNS = ("environment", "platform", "state", "size", "why")


@dataclass(frozen=True, slots=True)
class Planned:
    """What would be built, and why. ``findings`` are what is wrong with the calls, errors first; ``depends_on`` is by
    environment; ``asks`` are what environments ask of a machine, and tasks of theirs that say otherwise. Prints as a
    table; in a notebook, as a table and the picture of what images share."""

    plan: Plan
    findings: tuple[Finding, ...]
    depends_on: Mapping[str, tuple[str, ...]]
    title: str
    lockfiles: Path = field(repr=False)
    store: Store = field(repr=False, compare=False)
    asks: Mapping[str, Asks] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def cached(self) -> bool:
        """Whether there is nothing to build."""
        return self.plan.cached

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are certain: these calls would fail when run."""
        return tuple(f for f in self.findings if f.severity == "error")

    def refuse(self) -> None:
        """Raise :class:`CheckError` where a call would fail."""
        if self.errors:
            number = counted(len(self.errors), "call")
            raise CheckError(f"{number} would fail when run", hint="each finding above says what to add")

    def explain(self, env: str | None = None) -> list[Explanation]:
        """What makes each image (or that of ``env``) another one than was built or pinned before."""
        from ..planning.explain import explain_plan

        return explain_plan(self.plan, self.store, self.lockfiles, [env] if env else None)

    def graph(self) -> Graph:
        """The picture as values. Raises :class:`InputError` where the plan is for more than one platform."""
        from ..planning.graph import make_graph

        if len({i.platform for i in self.plan.images}) > 1:
            raise InputError("--graph draws one platform: name it with --platform")
        return make_graph(self.plan, self.depends_on, {f.environment for f in self.errors}, self.title, self.groups)

    def svg(self) -> str:
        """The picture as SVG."""
        from ..planning.graph import render_svg

        return render_svg(self.graph())

    def dot(self) -> str:
        """The picture in Graphviz's language."""
        from ..planning.graph import render_dot

        return render_dot(self.graph())

    def html(self) -> str:
        """The picture as a page of its own, with search."""
        from ..planning.graph import render_html

        return render_html(self.graph())

    def to_json(self) -> dict[str, Json]:
        """The document of ``plan --json`` (docs/plan-json.md)."""
        asks: list[Json] = [{"name": name, **asked.to_json()} for name, asked in self.asks.items()]
        return self.plan.to_json() | {"findings": [f.to_json() for f in self.findings], "asks": asks}

    def __str__(self) -> str:
        lines = [text_table(_COLUMNS, self._rows()), self._summary()]
        return "\n".join([*lines, *(f"{f.severity}: {f.file}:{f.line}: {f.message}" for f in self.findings)])

    def _repr_html_(self) -> str:
        picture = self.svg() if len({i.platform for i in self.plan.images}) == 1 else ""
        found = [(f.severity, f"{f.file}:{f.line}", f.message) for f in self.findings]
        more = html_table(("", "where", "finding"), found) if found else ""
        return html_table(_COLUMNS, self._rows(), self._summary()) + more + picture

    def _rows(self) -> list[tuple[str, ...]]:
        images = self.plan.images
        return [(i.environment, i.platform, i.state, size(sum(x.size or 0 for x in i.layers)), i.why) for i in images]

    def _summary(self) -> str:
        if self.cached:
            return f"nothing to build: {counted(len(self.plan.images), 'image')} cached"
        return f"{len(self.plan.to_build)} of {counted(len(self.plan.images), 'image')} to build"


def plan(
    bench: OpenProject,
    environments: Sequence[Environment],
    task: str | None,
    platform: str | None,
    caches: Sequence[str],
    *,
    online: bool,
) -> Planned:
    """See :meth:`Workbench.plan`."""
    store, workspace = bench.store, bench.workspace
    with connected(bench.settings(caches=caches), bench.reporter) as shared:
        made = plan_images(workspace, environments, store, platform, shared)
        findings = bench.findings(environments, platform, online=online, shared=shared)
    edges = {e.name: e.depends_on for e in environments}
    asks = {e.name: e.asks for e in environments}
    asks |= {t.full_name: t.asks for t in bench.tasks if t.environment in edges and t.asks is not None}
    title, groups = _title(bench, task), _groups(environments)
    return Planned(made, tuple(findings), edges, title, bench.lockfiles, store, asks, groups)


def _title(bench: OpenProject, task: str | None) -> str:
    """The project, by the name it gives itself, else by its folder's; then the file, and what is run of it."""
    top = project_of(bench.root)
    try:
        stated = tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8")).get("project", {}).get("name")
    except (OSError, ValueError, AttributeError):
        stated = None
    name = stated if isinstance(stated, str) and stated else top.name
    return " · ".join([name, f"{bench.file.name} {task or ''}".strip()])


def _groups(environments: Sequence[Environment]) -> dict[str, str]:
    """The file that makes each environment, or its folder where most have a file of their own; none where that is one
    and the same."""
    found = {e.name: e.location for e in environments}
    if 2 * len(set(found.values())) > len(found):
        found = {name: str(PurePosixPath(location).parent) for name, location in found.items()}
    return found if len(set(found.values())) > 1 else {}
