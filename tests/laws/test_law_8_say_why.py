"""Law 8: every decision carries its reason, every error what was expected, found, where, and what to do."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from click.testing import CliRunner

import flyte_build
from flyte_build.cli.app import cli
from flyte_build.kernel import errors
from flyte_build.planning.plan import make_plan
from tests.planning.test_plan import FOLD, MSA, MULTI, FakeCache
from tests.site.typed import problem, spans

PACKAGE = Path(flyte_build.__file__).parent
ERRORS = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.FlyteBuildError)]


def test_every_image_of_a_plan_has_a_reason() -> None:
    cache = FakeCache()
    cache.images = {FOLD.hash}
    cache.last = {"multi_env": MULTI.spec}
    assert all(image.why for image in make_plan([FOLD, MSA, MULTI], cache).images)


def test_every_exit_code_is_documented_in_help() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    documented = {int(line.split()[0]) for line in text.splitlines() if line.strip()[:1].isdigit()}
    assert {c.exit_code for c in ERRORS} <= documented


def test_kinds_of_errors_have_exit_codes_of_their_own() -> None:
    """A script tells them apart by the code; only the two abstract ones share with a concrete one."""
    concrete = [c for c in ERRORS if c not in (errors.FlyteBuildError, errors.UserError)]
    codes = [c.exit_code for c in concrete]
    assert len(set(codes)) == len(codes)
    assert 1 not in codes, "1 is kept for our own bugs"


def _raises() -> Iterator[tuple[str, ast.Call]]:
    names = {c.__name__ for c in ERRORS} | {"AssembleError"}
    for where, call in _calls():
        if isinstance(call.func, ast.Name) and call.func.id in names:
            yield where, call


@cache
def _calls() -> tuple[tuple[str, ast.Call], ...]:
    """Every call of the package that raises an error or gives a hint, or may, and where it stands."""
    return tuple(
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and (isinstance(node.func, ast.Name) or node.keywords)
    )


def _literal_end(node: ast.expr) -> str | None:
    """The last literal piece of a message, where it can be told without running it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[-1], ast.Constant):
        return str(node.values[-1].value)
    return None


def test_no_hint_is_made_of_one_that_may_be_none() -> None:
    """`hint=f"{e.hint}; or that"` says `None; or that` of an error without one."""
    bare = [
        where
        for where, call in _raises()
        for keyword in call.keywords
        if keyword.arg == "hint" and isinstance(keyword.value, ast.JoinedStr)
        if any(isinstance(node, ast.Attribute) and node.attr == "hint" for node in ast.walk(keyword.value))
    ]
    assert bare == []


def test_a_hint_s_commands_can_be_typed_as_they_stand() -> None:
    """Nothing that has to be said lacks; what is in capitals stands for what only the reader knows."""
    lacking = {}
    for where, call in _calls():
        for keyword in call.keywords:
            if keyword.arg == "hint":
                for line in spans(_told(keyword.value)):
                    if found := problem(line, whole=True):
                        lacking[f"{where}: {line}"] = found
    assert lacking == {}


def _told(node: ast.AST) -> str:
    """The literal text of an expression; what is filled in is ``X``."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_told(v) if isinstance(v, ast.Constant) else "X" for v in node.values)
    return "\n".join(_told(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def test_messages_are_there_and_end_without_a_period() -> None:
    sites = list(_raises())
    assert len(sites) > 100, "the walk finds the errors"
    empty = [where for where, call in sites if not call.args]
    assert empty == []
    periods = [where for where, call in sites if (_literal_end(call.args[0]) or "").endswith((".", "\n"))]
    assert periods == []
