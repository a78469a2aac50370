"""From environments to references: where to, under which policy, with which locks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flyte_build.kernel.errors import CheckError, InputError, LoadError, LockError, RefusedError
from flyte_build.kernel.reporting import Recorder
from flyte_build.planning.checks import Finding
from flyte_build.project.nouns import Environment, Project
from flyte_build.recipe import Recipe, RegistryBase
from flyte_build.settings import Settings
from flyte_build.workbench import references as publishing
from flyte_build.workbench.references import locked_only, publish

from ..support.recipes import recipe_of

HERE = {"low": None, "top": None, "bad": None}


def project(root: Path, **wishes: Any) -> Project:
    made = {n: Environment(n, (), "main.py", wish) for n, wish in wishes.items()}
    return Project(root / "main.py", root, made, ())


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str | None, list[str], dict[str, Any]]]:
    """Every push: registry, environments, and what else was said. What would be locked is written down, too."""
    pushes: list[tuple[str | None, list[str], dict[str, Any]]] = []

    def publish_images(
        workspace: Any, environments: Sequence[Environment], store: Any, settings: Settings, reporter: Any, **more: Any
    ) -> list[Any]:
        pushes.append((settings.registry, [e.name for e in environments], more))
        return [SimpleNamespace(environment=e.name, reference=f"{settings.registry}/{e.name}@x") for e in environments]

    def ensure_locked(workspace: Any, environments: Sequence[Environment], reporter: Any, **more: Any) -> None:
        pushes.append((None, [e.name for e in environments], {"lock": more["write"]}))

    monkeypatch.setenv("FLYTE_BUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(publishing, "publish_images", publish_images)
    monkeypatch.setattr(publishing, "ensure_locked", ensure_locked)
    return pushes


def test_each_image_goes_to_its_registry(said: list[Any], tmp_path: Path) -> None:
    both = project(tmp_path, low=recipe_of(), top=recipe_of())
    homes = {"low": "registry.example/own", "top": "registry.example/flyte"}
    made = publish(both, Settings(), Recorder(), registries=homes, locked=False)
    assert made.references == {"low": "registry.example/own/low@x", "top": "registry.example/flyte/top@x"}
    assert said[0] == (None, ["low", "top"], {"lock": True})
    assert [(registry, names) for registry, names, _ in said[1:]] == [
        ("registry.example/own", ["low"]),
        ("registry.example/flyte", ["top"]),
    ]
    said.clear()
    ours = Settings(registry="registry.example/team")
    publish(both, ours, Recorder(), registries=homes, locked=True, force=True)
    assert said == [
        (None, ["low", "top"], {"lock": False}),
        ("registry.example/team", ["low", "top"], {"force": True, "locked": True}),
    ]


def test_without_a_registry_nothing_is_locked_or_built(said: list[Any], tmp_path: Path) -> None:
    both = project(tmp_path, low=recipe_of(), top=recipe_of())
    with pytest.raises(InputError, match=r"no registry to push to, for the image of top$") as caught:
        publish(both, Settings(), Recorder(), registries=HERE | {"low": "registry.example/x"}, locked=False)
    for way in ("[tool.flyte-build]", "$FLYTE_BUILD_REGISTRY", "registry=", "`image.registry`"):
        assert way in str(caught.value.hint)
    assert said == []


def test_what_has_no_registry_can_be_left(said: list[Any], tmp_path: Path) -> None:
    both = project(tmp_path, low=recipe_of(), top=recipe_of())
    reporter = Recorder()
    homes = HERE | {"top": "registry.example/x"}
    made = publish(both, Settings(), reporter, registries=homes, locked=False, homeless="leave")
    assert made.references == {"top": "registry.example/x/top@x"}
    (warning,) = reporter.warnings
    assert warning.startswith("low: left to flyte's own builder, unlocked: no registry to push to; say where to: ")


def test_a_refusal_names_the_policy_too(said: list[Any], tmp_path: Path) -> None:
    refused = RefusedError("environment bad: no", hint="do otherwise")
    with pytest.raises(RefusedError, match="environment bad: no") as caught:
        publish(project(tmp_path, bad=refused), Settings(), Recorder(), registries=HERE, locked=False)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("do otherwise; or leave it to flyte's own builder")
    assert said == []


def test_what_is_delegated_is_marked_impure_and_left_out(said: list[Any], tmp_path: Path) -> None:
    refused, reporter = RefusedError("environment bad: no", hint="do otherwise"), Recorder()
    some = project(tmp_path, low=recipe_of(), bad=refused)
    settings = Settings(registry="registry.example/team", policy="delegate")
    made = publish(some, settings, reporter, registries=HERE, locked=False)
    assert (set(made.references), made.delegated) == ({"low"}, {"bad": refused})
    assert [names for _, names, _ in said] == [["low"], ["low"]]
    assert reporter.warnings[0].startswith("environment bad: no: it is left to flyte's own builder")
    assert "impure" in reporter.warnings[0]


def test_the_policy_is_for_refusals_only(said: list[Any], tmp_path: Path) -> None:
    some = project(tmp_path, bad=LoadError("environment bad: no such file"))
    with pytest.raises(LoadError):
        publish(some, Settings(policy="delegate"), Recorder(), registries=HERE, locked=False)


def test_only_some_are_pushed_but_all_are_locked_together(said: list[Any], tmp_path: Path) -> None:
    some = project(tmp_path, low=recipe_of(), top=recipe_of(), bad=RefusedError("no"))
    settings = Settings(registry="registry.example/team")
    made = publish(some, settings, Recorder(), registries=HERE, locked=False, only=["top"])
    assert set(made.references) == {"top"}
    assert [names for _, names, _ in said] == [["low", "top"], ["top"]]


def test_a_base_as_it_is_needs_a_lock(said: list[Any], tmp_path: Path) -> None:
    """And no registry; but without a lock nobody knows its digest."""
    as_it_is = Recipe(RegistryBase("registry.example/x:1"), ("linux/amd64",), None, None)
    assert as_it_is.as_is
    with pytest.raises(LockError, match="lock is stale or missing"):
        publish(project(tmp_path, low=as_it_is), Settings(), Recorder(), registries=HERE, locked=True)


@pytest.mark.parametrize(
    ("value", "locked"), [("", False), ("0", False), ("false", False), ("no", False), ("1", True), ("yes", True)]
)
def test_locked_by_the_environment(value: str, locked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_LOCKED", value)
    assert locked_only() is locked
    monkeypatch.delenv("FLYTE_BUILD_LOCKED")
    assert not locked_only()


@pytest.mark.parametrize(("checks", "warned"), [("refuse", None), ("warn", 1), ("off", 0)])
def test_calls_that_would_fail_are_refused_told_or_left(
    said: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: Any, warned: int | None
) -> None:
    findings = [
        Finding("error", "depends-on-missing", "top calls work", "main.py", 7, "top", "add it"),
        Finding("warning", "maybe", "top may call work", "main.py", 8, "top"),
    ]
    monkeypatch.setattr("flyte_build.planning.checks.workspace.find", lambda *_, **__: findings)
    made, reporter = project(tmp_path, low=recipe_of()), Recorder()
    settings = Settings(registry="r.example/t", checks=checks)
    if warned is None:
        with pytest.raises(CheckError, match=r"^main\.py:7: top calls work$"):
            publish(made, settings, reporter, registries=HERE, locked=False, check=True)
        assert [push for push in said if push[0] is not None] == []
    else:
        publish(made, settings, reporter, registries=HERE, locked=False, check=True)
        assert reporter.warnings == ["main.py:7: top calls work; add it"][:warned]
        assert [push[0] for push in said if push[0] is not None] == ["r.example/t"]
    # Who did not ask is not told: `submit` has looked already.
    publish(made, Settings(registry="r.example/t"), Recorder(), registries=HERE, locked=False)
