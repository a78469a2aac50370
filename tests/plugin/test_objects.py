"""Images by digest on live objects: which environments, what is replaced, and that it is put back."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flyte
import flyte.app
import pytest

from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.kernel.reporting import Recorder
from flyte_build.plugin import objects
from flyte_build.plugin.objects import Pins, Place, own_registry, pin_objects, place_of
from flyte_build.project import session
from flyte_build.project.nouns import Project
from flyte_build.workbench.references import Published

DEBIAN = flyte.Image.from_debian_base(python_version=(3, 11))


def reference(name: str) -> str:
    return f"registry.example/team/{name}@sha256:{hashlib.sha256(name.encode()).hexdigest()}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was to be published, and how; each environment gets a reference of its own."""
    seen: list[dict[str, Any]] = []

    def publish(project: Project, settings: Any, reporter: Any, **more: Any) -> Published:
        seen.append({"names": sorted(project.environments), "project": project, "settings": settings} | more)
        return Published({name: reference(name) for name in project.environments}, {})

    monkeypatch.setattr(objects, "publish", publish)
    return seen


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLYTE_BUILD_POLICY", "FLYTE_BUILD_REGISTRY", "FLYTE_BUILD_LOCKED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(session, "_config", lambda: None)


@pytest.fixture
def pin(tmp_path: Path) -> Callable[..., Pins]:
    def call(*values: object, reporter: Recorder | None = None, **more: Any) -> Pins:
        place = Place(tmp_path, tmp_path / "main.py")
        return pin_objects(values, place, reporter or Recorder(), references=more.pop("references", {}), **more)

    return call


def test_every_kind_of_image_of_the_closure(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    low = flyte.TaskEnvironment("low")
    text = flyte.TaskEnvironment("text", image="registry.example/some:1", depends_on=[low])
    base = flyte.TaskEnvironment("base", image=flyte.Image.from_base("registry.example/some:1"), depends_on=[low])
    top = flyte.TaskEnvironment("top", image=DEBIAN.with_pip_packages("a"), depends_on=[text, base])
    other = flyte.TaskEnvironment("other")
    before = {e.name: e.image for e in (low, text, base, top)}

    @low.task
    def below() -> None: ...

    @top.task
    def main() -> None: ...

    images = below.image, main.image
    made = pin(main)
    assert made.references == {name: reference(name) for name in ("low", "text", "base", "top")}
    assert asked[0]["names"] == ["base", "low", "text", "top"]
    for environment in (low, text, base, top):
        assert environment.image.uri == reference(environment.name)
        assert environment.image.name == environment.name
        assert not environment.image._is_cloned
    assert (below.image.uri, main.image.uri) == (reference("low"), reference("top"))
    assert other.image == "auto"
    made.restore()
    assert {e.name: e.image for e in (low, text, base, top)} == before
    assert (below.image, main.image) == images


def test_an_application(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    low = flyte.TaskEnvironment("low", image=DEBIAN)
    app = flyte.app.AppEnvironment(name="app", image=DEBIAN.with_pip_packages("a"), depends_on=[low])
    pin(app)
    assert (app.image.uri, low.image.uri) == (reference("app"), reference("low"))


def test_what_is_pinned_is_not_published_again(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    low = flyte.TaskEnvironment("low", image=DEBIAN)
    top = flyte.TaskEnvironment("top", image=DEBIAN, depends_on=[low])
    first = pin(low)
    pinned = low.image
    second = pin(top)
    assert second.references == {"low": reference("low"), "top": reference("top")}
    assert [a["names"] for a in asked] == [["low"], ["top"]]
    assert asked[1]["project"].environments["top"].depends_on == ()
    second.restore()
    assert low.image is pinned, "it is the first pin's to put back"
    assert top.image == DEBIAN
    first.restore()
    assert low.image == DEBIAN


def test_an_environment_without_an_image_has_none_to_pin(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    low = flyte.TaskEnvironment("low", image=None)
    top = flyte.TaskEnvironment("top", image=DEBIAN, depends_on=[low])
    assert set(pin(top).references) == {"top"}
    assert low.image is None


def test_an_error_replaces_nothing(pin: Callable[..., Pins], monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(*_: Any, **__: Any) -> Published:
        raise LoadError("no")

    monkeypatch.setattr(objects, "publish", publish)
    top = flyte.TaskEnvironment("top", image=DEBIAN)
    with pytest.raises(LoadError):
        pin(top)
    assert top.image == DEBIAN


def test_two_environments_of_one_name(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    low = flyte.TaskEnvironment("same", image=DEBIAN)
    top = flyte.TaskEnvironment("same", image=DEBIAN, depends_on=[low])
    with pytest.raises(LoadError, match="two environments are called `same`"):
        pin(top)


def test_stacked_diamonds_are_walked_once_each(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    top = flyte.TaskEnvironment("e0", image=DEBIAN)
    for number in range(1, 60, 2):
        left = flyte.TaskEnvironment(f"e{number}", image=DEBIAN, depends_on=[top])
        right = flyte.TaskEnvironment(f"e{number + 1}", image=DEBIAN, depends_on=[top])
        top = flyte.TaskEnvironment(f"d{number}", image=DEBIAN, depends_on=[left, right])
    assert len(pin(top).references) == 91


# -- names that something else stands for ---------------------------------------------------------------


def test_a_name_that_leads_to_a_digest(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    named = flyte.TaskEnvironment("named", image=flyte.Image.from_ref_name("mine"))
    default = flyte.TaskEnvironment("default", depends_on=[named])
    references = {"mine": reference("mine"), "default": reference("default")}
    assert pin(default, references=references).references == {
        "named": reference("mine"),
        "default": reference("default"),
    }
    assert asked[0]["names"] == []


def test_a_name_that_leads_to_a_tag(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    default = flyte.TaskEnvironment("default")
    with pytest.raises(RefusedError, match=r"names its image `registry\.example/x:1`, by a tag") as caught:
        pin(default, references={"default": "registry.example/x:1"})
    assert "@sha256:" in str(caught.value.hint)
    assert default.image == "auto"


def test_a_tag_is_left_where_the_policy_delegates(
    asked: list[dict[str, Any]], pin: Callable[..., Pins], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_BUILD_POLICY", "delegate")
    default = flyte.TaskEnvironment("default")
    reporter = Recorder()
    assert pin(default, references={"default": "registry.example/x:1"}, reporter=reporter).references == {}
    assert default.image == "auto"
    assert any("may be another one tomorrow" in warning for warning in reporter.warnings)


# -- registries -----------------------------------------------------------------------------------------


def test_the_registry_of_an_image_and_of_the_configuration(
    asked: list[dict[str, Any]], pin: Callable[..., Pins], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "configured_registry", lambda: "registry.example/flyte")
    own = flyte.Image.from_debian_base(python_version=(3, 11), registry="registry.example/own", name="x")
    low = flyte.TaskEnvironment("low", image=own)
    top = flyte.TaskEnvironment("top", image="registry.example/some:1", depends_on=[low])
    pin(top)
    assert asked[0]["registries"] == {"low": "registry.example/own", "top": "registry.example/flyte"}
    assert asked[0]["settings"].registry is None
    pin(flyte.TaskEnvironment("again", image=own), registry="registry.example/said")
    assert asked[1]["settings"].registry == "registry.example/said"


def test_nobody_pushes_to_the_registry_of_released_images() -> None:
    released = session.released_registry()
    assert released
    image = flyte.Image.from_debian_base(python_version=(3, 11), registry=released, name="x").with_pip_packages("a")
    assert image.registry == released
    assert own_registry(image) is None


# -- pod templates --------------------------------------------------------------------------------------


def template(image: str | None, sidecar: str | None = None) -> flyte.PodTemplate:
    """As Kubernetes' client has it (V1PodSpec), which the SDK does not install."""
    containers = [SimpleNamespace(name="primary", image=image)]
    if sidecar:
        containers.append(SimpleNamespace(name="beside", image=sidecar))
    spec: Any = SimpleNamespace(containers=containers, init_containers=None)
    return flyte.PodTemplate(pod_spec=spec, primary_container_name="primary")


def test_a_template_that_would_win_is_refused(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    environment = flyte.TaskEnvironment("e", image=DEBIAN, pod_template=template("registry.example/x:1"))
    with pytest.raises(RefusedError, match=r"its pod template runs `registry\.example/x:1` instead of"):
        pin(environment)
    assert environment.image == DEBIAN


def test_a_tasks_own_template_counts_too(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    environment = flyte.TaskEnvironment("e", image=DEBIAN)

    @environment.task(pod_template=template("registry.example/x:1"))
    def work() -> None: ...

    with pytest.raises(RefusedError, match="its pod template runs"):
        pin(work)


def test_templates_that_change_nothing(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    for number, harmless in enumerate((template(None), template(reference("x")), "named-in-the-cluster")):
        environment = flyte.TaskEnvironment(f"e{number}", image=DEBIAN, pod_template=harmless)
        reporter = Recorder()
        assert pin(environment, reporter=reporter).references
        assert not reporter.warnings


def test_a_companion_by_tag_is_worth_a_warning(asked: list[dict[str, Any]], pin: Callable[..., Pins]) -> None:
    environment = flyte.TaskEnvironment("e", image=DEBIAN, pod_template=template(None, "registry.example/proxy:1"))
    reporter = Recorder()
    pin(environment, reporter=reporter)
    assert any("`registry.example/proxy:1` by a tag" in warning for warning in reporter.warnings)


# -- where the project is -------------------------------------------------------------------------------


def running(monkeypatch: pytest.MonkeyPatch, file: Path | str | None) -> None:
    main = SimpleNamespace(**({"__file__": str(file)} if file else {}))
    monkeypatch.setitem(sys.modules, "__main__", main)  # type: ignore[arg-type]


def made_in(file: Path | str) -> flyte.TaskEnvironment:
    environment = flyte.TaskEnvironment("e")
    environment._declaring_file = str(file)
    return environment


def test_the_project_of_a_script_is_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = made_in(tmp_path / "fold" / "run.py")
    running(monkeypatch, tmp_path / "main.py")
    assert place_of([environment]) == Place(tmp_path, tmp_path / "main.py")
    assert place_of([environment], tmp_path / "src").root == tmp_path / "src"
    for program in ("/usr/bin/flyte", Path(sys.prefix) / "bin" / "flyte", Path(pytest.__file__), None):
        running(monkeypatch, program)
        assert place_of([environment]) == Place(tmp_path / "fold", tmp_path / "fold" / "run.py")


def test_installed_files_are_nobodys_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's environments belong to the script that uses them, a notebook's to the current folder."""
    environment = made_in(Path(pytest.__file__))
    running(monkeypatch, tmp_path / "main.py")
    assert place_of([environment]) == Place(tmp_path, tmp_path / "main.py")
    monkeypatch.chdir(tmp_path)
    running(monkeypatch, None)
    assert place_of([environment]).root == tmp_path
