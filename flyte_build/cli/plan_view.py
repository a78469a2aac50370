"""What ``plan`` prints: the table, and beside it what was asked for. Parses nothing, decides nothing."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernel.errors import CheckError, FlyteBuildError, InputError
from .console import counted, stderr, stdout

if TYPE_CHECKING:
    from ..planning.checks import Finding
    from ..planning.explain import Explanation
    from ..planning.plan import Plan
    from ..planning.workspace import Workspace
    from ..project.loading import Environment

__all__ = ["Asked", "answer"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line of ``plan``."""

    file: Path
    task: str | None
    env: tuple[str, ...]
    platform: str | None
    layers: bool
    explain: str | None
    check: bool
    form: str
    graph: Path | None
    root: Path | None
    lockfiles: Path | None
    as_json: bool
    caches: tuple[str, ...] = ()


def answer(asked: Asked) -> FlyteBuildError | None:
    """Print the plan on standard output; the error that the command ends with, if findings make it one."""
    from ..planning.checks import find
    from ..planning.images import plan_images
    from ..remote.connecting import connected
    from ..store import Store
    from .options import configured, opened
    from .progress import make_reporter

    if asked.graph is not None and asked.graph.suffix not in (".svg", ".html"):
        raise InputError(f"--graph: expected a name that ends in .svg or .html, found `{asked.graph}`")
    workspace = opened(asked.file, asked.root, asked.lockfiles)
    environments = workspace.select(asked.task, asked.env)
    store = Store()
    with connected(configured(workspace, caches=asked.caches), make_reporter(quiet=True)) as shared:
        plan = plan_images(workspace, environments, store, asked.platform, shared)
        findings = find(workspace, environments, store, platform=asked.platform, online=asked.check, shared=shared)
    out = stdout()
    if asked.as_json:
        document = plan.to_json() | {"findings": [f.to_json() for f in findings]}
        if asked.explain is not None:
            document["explanations"] = [e.to_json() for e in _explained(asked, plan, workspace)]
        out.print(json.dumps(document, indent=2, ensure_ascii=False), markup=False, soft_wrap=True)
    elif asked.check and asked.form == "github":
        from .findings import github_annotations

        for line in github_annotations(findings, workspace.project.root):
            out.print(line, markup=False, soft_wrap=True)
    else:
        _print(asked, plan, workspace, findings)
    if asked.graph is not None:
        _draw(asked, plan, environments, findings)
    return _verdict(findings) if asked.check else None


def _print(asked: Asked, plan: Plan, workspace: Workspace, findings: list[Finding]) -> None:
    from .findings import show_findings
    from .plan_table import show

    out = stdout()
    show(plan, every_layer=asked.layers)
    if asked.explain is not None:
        from .differences import show_explanation

        for explanation in _explained(asked, plan, workspace):
            out.print()
            show_explanation(explanation, out)
    if findings:
        out.print()
    show_findings(findings, out, workspace.project.root, notes=asked.check)
    if asked.check and not any(f.severity == "error" for f in findings):
        out.print(f"[green]checked[/]: every call of {counted(len(plan.images), 'image')} is provided for")


def _explained(asked: Asked, plan: Plan, workspace: Workspace) -> list[Explanation]:
    from ..planning.explain import explain_plan
    from ..store import Store

    return explain_plan(plan, Store(), workspace.lockfiles, [asked.explain] if asked.explain else None)


def _verdict(findings: list[Finding]) -> CheckError | None:
    errors = sum(f.severity == "error" for f in findings)
    if not errors:
        return None
    return CheckError(f"{counted(errors, 'call')} would fail when run", hint="each finding above says what to add")


def _draw(asked: Asked, plan: Plan, environments: list[Environment], findings: list[Finding]) -> None:
    """Write the picture whole or not at all."""
    from ..planning.graph import make_graph, render_html, render_svg

    assert asked.graph is not None
    if len({i.platform for i in plan.images}) > 1:
        raise InputError("--graph draws one platform: name it with --platform")
    failing = {f.environment for f in findings if f.severity == "error"}
    title = f"{asked.file.name} {asked.task or ''}".strip()
    graph = make_graph(plan, {e.name: e.depends_on for e in environments}, failing, title)
    text = render_html(graph) if asked.graph.suffix == ".html" else render_svg(graph)
    try:
        handle, temporary = tempfile.mkstemp(dir=asked.graph.absolute().parent, suffix=asked.graph.suffix)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as f:
                f.write(text)
            os.chmod(temporary, 0o644)
            os.replace(temporary, asked.graph)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise InputError(f"--graph: {asked.graph} cannot be written: {e.strerror or e}") from e
    stderr().print(f"drawn to {asked.graph}", markup=False, soft_wrap=True)
