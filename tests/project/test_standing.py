"""What the SDK and plug-ins look at, where they are not installed: environments, configurations, folders of a name."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import flyte
import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.project.distributions import distribution_of, to_install
from flyte_build.project.loading import Project, load
from flyte_build.project.serializing import root_action
from flyte_build.recipe import PipInstall

IMAGE = "flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages('p')"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Project]:
    def make(text: str) -> Project:
        (tmp_path / "main.py").write_text("import flyte\n" + textwrap.dedent(text))
        return load(tmp_path / "main.py", stand_ins=True)

    return make


def test_a_plug_ins_configuration_is_taken(read: Callable[[str], Project], tmp_path: Path) -> None:
    made = read(f"""
        from flyteplugins.nope import Nope, Inner
        env = flyte.TaskEnvironment('e', plugin_config=Nope(inner=[Inner(replicas=2)]), image={IMAGE})
        @env.task
        def go() -> int:
            return 1
    """)
    assert [t.full_name for t in made.tasks] == ["e.go"]
    assert made.stand_ins == ("flyteplugins",) or made.stand_ins == ("flyteplugins.nope",)
    assert made.to_install == ("flyteplugins-nope",)
    with pytest.raises(LoadError, match=r"e\.go cannot be submitted from here: its plug-in is not installed") as e:
        root_action(made, made.task("go"), {}, tmp_path / "bundles")
    assert "install flyteplugins-nope on this machine" in str(e.value.hint)


def test_a_plug_ins_decorator_is_taken(read: Callable[[str], Project]) -> None:
    made = read("""
        from flyteplugins.nope import track, init
        env = flyte.TaskEnvironment('e')
        @init(project="p")
        @env.task
        def one() -> int:
            return 1
        @env.task
        @track
        async def two() -> int:
            return 1
    """)
    assert [t.name for t in made.tasks] == ["one", "two"]


def test_an_app_environment_of_a_plug_in_is_an_environment(read: Callable[[str], Project]) -> None:
    made = read(f"""
        from flyteplugins.nope import NopeAppEnvironment
        low = flyte.TaskEnvironment('low')
        app = NopeAppEnvironment(name="llm", model_id="q", scaling=flyte.app.Scaling(replicas=(0, 1)),
                                 image={IMAGE}, depends_on=[low])
        @app.app.get("/")
        def root(): ...
        class Own(NopeAppEnvironment):
            size = 3
        own = Own(name="own", image={IMAGE})
        bare = NopeAppEnvironment(name="bare", model_id="q")
    """)
    assert made.environments.keys() == {"low", "llm", "own", "bare"}
    assert made.environments["llm"].depends_on == ("low",)
    (step,) = made.environments["llm"].recipe.steps
    assert isinstance(step, PipInstall)
    assert step.requirements == ("p",)
    with pytest.raises(LoadError, match=r"bare: flyteplugins\.nope\.NopeAppEnvironment chooses its image") as e:
        _ = made.environments["bare"].recipe
    assert e.value.hint == "install flyteplugins-nope on this machine, or give the environment an image"


def test_a_plug_ins_task_is_put_into_an_environment(read: Callable[[str], Project]) -> None:
    made = read("""
        from flyteplugins.nope import QueryTask
        query = QueryTask(name="q", inputs={"a": int}, query_template="select 1")
        env = flyte.TaskEnvironment.from_task("queries", query)
    """)
    assert made.environments.keys() == {"queries"}
    assert made.tasks == ()


@pytest.mark.skipif(importlib.util.find_spec("fastapi") is not None, reason="fastapi is installed here")
def test_what_the_sdk_imports_for_a_file_is_stood_in_for(read: Callable[[str], Project]) -> None:
    made = read(f"""
        from fastapi import FastAPI
        from flyte.app.extras import FastAPIAppEnvironment, FlyteWebhookAppEnvironment
        app = FastAPI()
        @app.get("/")
        async def root(): ...
        env = FastAPIAppEnvironment(name="web", app=app, image={IMAGE})
        hook = FlyteWebhookAppEnvironment(name="hook", image={IMAGE})
    """)
    assert made.environments.keys() == {"web", "hook"}
    assert made.to_install == ("fastapi", "starlette")


def test_a_task_of_a_plug_in_whatever_its_class_is_called(read: Callable[[str], Project]) -> None:
    made = read("""
        from flyteplugins.nope import Warehouse
        query = Warehouse(name="q", inputs={"a": int}, query="select 1")
        env = flyte.TaskEnvironment.from_task("queries", query)
    """)
    assert made.environments.keys() == {"queries"}
    assert made.to_install == ("flyteplugins-nope",)


def test_the_sdk_never_means_a_folder_of_the_project(read: Callable[[str], Project], tmp_path: Path) -> None:
    """Examples of a web framework lie in a folder of its name, beside a file that has the SDK import it."""
    (tmp_path / "fastapi").mkdir()
    (tmp_path / "fastapi" / "main.py").write_text("")
    made = read(f"""
        from flyte.app.extras import FlyteWebhookAppEnvironment
        hook = FlyteWebhookAppEnvironment(name="hook", image={IMAGE})
    """)
    assert made.environments.keys() == {"hook"}
    assert "fastapi" in made.stand_ins


def test_what_the_sdk_can_do_without_it_is_not_shown(read: Callable[[str], Project]) -> None:
    made = read("import flyte.io\nenv = flyte.TaskEnvironment('e')\n")
    assert made.stand_ins == ()


@pytest.mark.parametrize(
    ("text", "shadowed"),
    [
        ("from nope_web import FastAPI\napp = FastAPI()", True),
        ("import nope_web\napp = nope_web.FastAPI()", True),
        ("import nope_web as w\napp = w.FastAPI()", True),
        ("from nope_web.responses import JSON\nx = JSON", True),
        ("import nope_web.responses\nx = 1", True),
        ("from nope_web import notes\nassert notes.x == 1", False),
        ("from nope_web.notes import x\nassert x == 1", False),
        ("import nope_web.notes\nassert nope_web.notes.x == 1", False),
        ("from nope_web import notes, FastAPI\nassert notes.x == 1\napp = FastAPI()", True),
    ],
)
def test_a_folder_of_the_same_name_is_no_package(
    read: Callable[[str], Project], tmp_path: Path, text: str, shadowed: bool
) -> None:
    (tmp_path / "nope_web").mkdir()
    (tmp_path / "nope_web" / "notes.py").write_text("x = 1\n")
    made = read(text + "\nenv = flyte.TaskEnvironment('e')\n")
    assert made.stand_ins == (("nope_web",) if shadowed else ())
    assert made.environments.keys() == {"e"}


def test_a_module_of_that_folder_is_not_the_librarys(read: Callable[[str], Project], tmp_path: Path) -> None:
    (tmp_path / "nope_web").mkdir()
    (tmp_path / "nope_web" / "server.py").write_text("x = 1\n")
    made = read("from nope_web.server.fast import Server\nenv = flyte.TaskEnvironment('e', description=str(Server))\n")
    assert made.stand_ins == ("nope_web",)


def test_a_package_of_the_projects_is_held_to_what_it_has(read: Callable[[str], Project], tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").write_text("")
    with pytest.raises(LoadError, match="cannot import name 'gone' from 'own'"):
        read("from own import gone\n")


def test_a_file_without_an_environment_says_what_could_show_one(read: Callable[[str], Project], tmp_path: Path) -> None:
    from flyte_build.planning.workspace import Workspace

    made = read("from flyteplugins.nope import make\nenv = make('e')\n")
    with pytest.raises(LoadError, match="no environment in this file") as e:
        Workspace(made, tmp_path).select()
    assert "not installed here show once flyteplugins-nope is installed" in str(e.value.hint)


def test_an_error_beside_stand_ins_names_what_to_install(read: Callable[[str], Project]) -> None:
    with pytest.raises(LoadError, match="1 < 2 is a lie") as e:
        read("import sklearn.svm\nif sklearn.svm.SIZE < 2:\n    pass\nraise ValueError('1 < 2 is a lie')\n")
    if importlib.util.find_spec("sklearn") is None:
        assert str(e.value.hint).endswith("install scikit-learn on this machine")


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("flyteplugins.dask", "flyteplugins-dask"),
        ("flyteplugins.dask.models", "flyteplugins-dask"),
        ("flyteplugins.agents.openai_x", "flyteplugins-agents-openai-x"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("sklearn.svm", "scikit-learn"),
        ("some_thing", "some-thing"),
    ],
)
def test_the_distribution_of_a_module(module: str, distribution: str) -> None:
    assert distribution_of(module) == distribution


def test_a_namespace_that_was_only_passed_through_is_none() -> None:
    assert to_install(["flyteplugins", "flyteplugins.dask", "yaml", "flyteplugins.dask.x"]) == [
        "flyteplugins-dask",
        "pyyaml",
    ]


def test_the_clients_python_is_no_part_of_a_base_that_names_its_own(tmp_path: Path) -> None:
    from .test_images import read as read_recipe

    image = flyte.Image.from_base("ghcr.io/flyteorg/flyte:py3.12-v2.12.1").clone(name="mine")
    recipe = read_recipe(image, tmp_path)
    assert recipe.python == "3.12"
    assert not re.search("3.11", repr(recipe.base))
