"""``flyte_build.pin`` and ``flyte_build.pinned``: what they take, when they do nothing, how they fail."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import flyte
import pytest

import flyte_build
from flyte_build.kernel.errors import InputError, LockError
from flyte_build.kernel.reporting import Recorder
from flyte_build.plugin import pinning
from flyte_build.plugin.objects import Pins
from flyte_build.project import session

REFERENCE = "registry.example/team/e@sha256:" + "1" * 64


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def pin_objects(objects: Sequence[Any], place: Any, reporter: Any, **more: Any) -> Pins:
        seen.append({"objects": objects, "place": place} | more)
        environment = objects[0]
        before, environment.image = environment.image, flyte.Image.from_base(REFERENCE)
        return Pins({environment.name: REFERENCE}, [(environment, before)])

    monkeypatch.setattr(pinning, "pin_objects", pin_objects)
    monkeypatch.setattr(session, "_config", lambda: None)
    return seen


def test_importing_the_package_imports_no_sdk() -> None:
    code = "import sys, flyte_build; print(flyte_build.__version__, 'flyte' in sys.modules, 'click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1:] == ["False", "False"]
    assert flyte_build.pin is pinning.pin
    with pytest.raises(AttributeError, match="no attribute 'unpin'"):
        _ = flyte_build.unpin


def test_pin_stays_and_pinned_ends(calls: list[dict[str, Any]]) -> None:
    environment = flyte.TaskEnvironment("e", image="registry.example/x:1")
    with flyte_build.pinned(environment, reporter=Recorder()) as references:
        assert references == {"e": REFERENCE}
        assert environment.image.uri == REFERENCE
    assert environment.image == "registry.example/x:1"
    with pytest.raises(ZeroDivisionError), flyte_build.pinned(environment, reporter=Recorder()):
        _ = 1 / 0
    assert environment.image == "registry.example/x:1"
    assert flyte_build.pin(environment, reporter=Recorder()) == {"e": REFERENCE}
    assert environment.image.uri == REFERENCE


def test_what_is_local_is_left_alone(calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    environment = flyte.TaskEnvironment("e")
    reporter = Recorder()
    assert flyte_build.pin(environment, mode="local", reporter=reporter) == {}
    monkeypatch.setattr(session, "_config", type("Config", (), {"client": None}))
    assert flyte_build.pin(environment, reporter=reporter) == {}
    assert reporter.notes == ["flyte has no endpoint, so it runs here: nothing is built, pushed or pinned"]
    assert calls == []
    flyte_build.pin(environment, mode="remote", reporter=reporter)
    monkeypatch.setattr(session, "_config", type("Config", (), {"client": object()}))
    flyte_build.pin(environment, reporter=reporter)
    assert len(calls) == 2


def test_what_it_takes(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="expected environments or tasks, found nothing"):
        flyte_build.pin()
    with pytest.raises(InputError, match="found str"):
        flyte_build.pin("main")
    with pytest.raises(InputError, match="expected auto, remote or local, found `there`"):
        flyte_build.pin(flyte.TaskEnvironment("e"), mode="there")
    assert calls == []


def test_an_error_says_all_in_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own hook for tracebacks shows the text, no notes; our own frames are no help."""

    def pin_objects(*_: Any, **__: Any) -> Pins:
        raise LockError("it is stale", hint="lock it", detail="this changed")

    monkeypatch.setattr(pinning, "pin_objects", pin_objects)
    monkeypatch.setattr(session, "_config", lambda: None)
    environment = flyte.TaskEnvironment("e")
    with pytest.raises(LockError) as caught:
        flyte_build.pin(environment, reporter=Recorder())
    assert str(caught.value) == "it is stale\nthis changed\nhint: lock it"
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert [f for f in files if "flyte_build/" in f] == [pinning.__file__]
    with pytest.raises(LockError), flyte_build.pinned(environment, reporter=Recorder()):
        raise AssertionError("unreachable")
