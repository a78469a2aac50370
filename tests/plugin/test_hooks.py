"""The hook on commands of our own shape: what it wraps, when it stays out, and that it cleans up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import flyte
import pytest
from click.testing import CliRunner, Result

from flyte_build.kernel.errors import RefusedError
from flyte_build.plugin import objects
from flyte_build.plugin.hooks import _spoken, pin_images
from flyte_build.plugin.objects import Pins

REFERENCE = "registry.example/team/e@sha256:" + "1" * 64


class Files(click.Group):
    """A group of one command, made each time it is asked for, as the SDK makes them."""

    def __init__(self, obj: Any, act: Any, **options: Any) -> None:
        super().__init__("files", **options)
        self._obj, self._act = obj, act

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name != "one":
            return None
        parameters: list[click.Parameter] = [click.Option(["--local"]), click.Option(["--image"])]
        command = click.Command(name, callback=lambda **_: self._act(), params=parameters)
        if self._obj is not None:
            command.obj = self._obj  # type: ignore[attr-defined]
        return command


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def pin_objects(values: Any, place: Any, reporter: Any, **more: Any) -> Pins:
        environment = values[0]
        seen.append({"environment": environment, "root": place.root} | more)
        before, environment.image = environment.image, REFERENCE
        return Pins({environment.name: REFERENCE}, [(environment, before)])

    monkeypatch.delenv("FLYTE_BUILD_PIN", raising=False)
    monkeypatch.setattr(objects, "pin_objects", pin_objects)
    return seen


def run(group: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(pin_images(group), arguments, catch_exceptions=False)


def options(*names: str) -> list[click.Parameter]:
    return [click.Option([name], is_flag=name in ("--local", "--tracked", "--tui")) for name in names]


def test_images_are_pinned_while_the_command_acts(pins: list[dict[str, Any]]) -> None:
    environment = flyte.TaskEnvironment("e", image="registry.example/x:1")
    during: list[Any] = []
    assert run(Files(environment, lambda: during.append(environment.image)), "one").exit_code == 0
    assert during == [REFERENCE]
    assert environment.image == "registry.example/x:1"


@pytest.mark.parametrize(("verb", "homeless"), [("build", "leave"), ("deploy", "refuse"), ("run", "refuse")])
def test_only_building_needs_no_registry(pins: list[dict[str, Any]], verb: str, homeless: str) -> None:
    """Also where the file or the object is called `build`."""
    program = click.Group("flyte", commands={verb: Files(flyte.TaskEnvironment("build"), lambda: None)})
    assert run(program, verb, "one").exit_code == 0
    assert [seen["homeless"] for seen in pins] == [homeless]


def test_hooked_twice_pins_once(pins: list[dict[str, Any]]) -> None:
    group = Files(flyte.TaskEnvironment("e"), lambda: None)
    pin_images(group)
    run(group, "one")
    assert len(pins) == 1


@pytest.mark.parametrize("flag", ["--local", "--tracked", "--tui"])
def test_what_stays_here_is_left_alone(pins: list[dict[str, Any]], flag: str) -> None:
    group = Files(flyte.TaskEnvironment("e"), lambda: None, params=options(flag))
    run(group, flag, "one")
    assert pins == []
    run(group, "one")
    assert len(pins) == 1


def test_a_tasks_own_parameter_is_no_option(pins: list[dict[str, Any]]) -> None:
    """``--local`` behind the task's name is an argument of the task."""
    run(Files(flyte.TaskEnvironment("e"), lambda: None), "one", "--local", "yes", "--image", "x=y")
    assert len(pins) == 1
    assert "x" not in pins[0]["references"]


def test_it_can_be_turned_off(pins: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_BUILD_PIN", "off")
    run(Files(flyte.TaskEnvironment("e"), lambda: None), "one")
    assert pins == []


def test_the_root_and_the_names(pins: list[dict[str, Any]], tmp_path: Path) -> None:
    parameters = [click.Option(["--root-dir"]), click.Option(["--image"], multiple=True)]
    group = Files(flyte.TaskEnvironment("e"), lambda: None, params=parameters)
    run(group, "--root-dir", str(tmp_path), "--image", "a=b:1", "--image", "c@sha256:0", "one")
    assert pins[0]["root"] == tmp_path
    assert {k: v for k, v in pins[0]["references"].items() if k in ("a", "default")} == {
        "a": "b:1",
        "default": "c@sha256:0",
    }
    group.filename = tmp_path / "inner" / "main.py"  # type: ignore[attr-defined]
    run(group, "one")
    assert pins[1]["root"] == tmp_path / "inner"


def test_what_is_loaded_while_it_acts_is_pinned_too(
    pins: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = flyte.TaskEnvironment("e", image="registry.example/x:1")
    deployed: list[Any] = []
    monkeypatch.setattr(flyte, "deploy", lambda *given, **options: deployed.append((given[0].image, options)))
    standing = flyte.deploy
    assert run(Files(None, lambda: flyte.deploy(environment, version="1")), "one").exit_code == 0
    assert deployed == [(REFERENCE, {"version": "1"})]
    assert flyte.deploy is standing
    assert environment.image == "registry.example/x:1"


def test_an_error_ends_the_command_as_ours_do(
    pins: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> Pins:
        raise RefusedError("not this", hint="but that")

    monkeypatch.setattr(objects, "pin_objects", refuse)
    acted: list[int] = []
    done = run(Files(flyte.TaskEnvironment("e"), lambda: acted.append(1)), "one")
    assert (done.exit_code, acted) == (7, [])
    assert "error: not this\nhint: but that\n" in capfd.readouterr().err + done.output


def test_a_hint_names_the_command_that_was_typed() -> None:
    assert _spoken("run `flyte-build lock main.py`") == "run `flyte lock main.py`"
    assert _spoken("see `flyte-build store gc`") == "see `flyte-build store gc`"
