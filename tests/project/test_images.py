"""flyte.Image → recipe: what each constructor and layer means, and that nothing is left out in silence."""

from __future__ import annotations

import re
from pathlib import Path

import flyte
import pytest
from flyte.config import get_config_file

from flyte_build.kernel.errors import LoadError, RefusedError
from flyte_build.project.images import read_image
from flyte_build.recipe import (
    AptInstall,
    Base,
    CopyFiles,
    DebianBase,
    EnvVars,
    PipInstall,
    Recipe,
    RegistryBase,
    RunCommands,
    SecretMount,
    WorkDir,
)

BASE = flyte.Image.from_debian_base(python_version=(3, 11))


def read(image: flyte.Image | str | None, root: Path = Path("/project")) -> Recipe:
    return read_image(image, "environment env", root)


def test_the_default_image_is_debian_with_the_clients_flyte() -> None:
    recipe = read(BASE)
    assert recipe == Recipe(DebianBase("bookworm"), ("linux/amd64", "linux/arm64"), "3.11", flyte.__version__)


@pytest.mark.parametrize("image", [None, "auto"])
def test_no_image_is_the_default_image(image: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    default = flyte.Image.from_debian_base
    monkeypatch.setattr(flyte.Image, "from_debian_base", lambda: default(python_version=(3, 13)))
    assert read(image).base == DebianBase("trixie")


def test_another_flyte_version_is_kept() -> None:
    assert read(flyte.Image.from_debian_base(python_version=(3, 13), flyte_version="2.10.0")).flyte == "2.10.0"


def test_without_flyte_the_sdks_prefix_is_recognised_as_our_base() -> None:
    image = flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False).with_pip_packages("a")
    recipe = read(image)
    assert recipe.flyte is None
    assert recipe.base == DebianBase("bookworm")
    assert recipe.steps == (PipInstall(("a",)),)


def test_layers_become_steps_in_order(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "data.csv").write_text("1")
    (tmp_path / "flow.py").write_text("1")
    image = (
        BASE.with_apt_packages("git", "curl")
        .with_pip_packages("Pandas >= 2, <3", "ruff", pre=True, extra_index_urls="http://extra.example/simple")
        .with_env_vars({"A": "b", "PATH": "/x:$PATH"})
        .with_workdir("/srv")
        .with_code_bundle()
        .with_source_folder(tmp_path / "src")
        .with_source_file(tmp_path / "data.csv", "/data/")
    )
    assert read(image, tmp_path).steps == (
        AptInstall(("git", "curl")),
        PipInstall(("pandas<3,>=2", "ruff"), extra_indexes=("http://extra.example/simple",), pre=True),
        EnvVars((("A", "b"), ("PATH", "/x:$PATH"))),
        WorkDir("/srv"),
        CopyFiles("src", "./src", True),
        CopyFiles("data.csv", "/data/", False),
        CopyFiles(".", ".", True, files=("flow.py",), code=True),
    )


def test_a_dockerignore_goes_to_the_folders_copied(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "ignore").write_text("# not these\n*.pyc\n\n!keep.pyc\n")
    image = BASE.with_source_folder(tmp_path / "src").with_dockerignore(tmp_path / "ignore")
    (step,) = read(image, tmp_path).steps
    assert step == CopyFiles("src", "./src", True, ignore=("*.pyc", "!keep.pyc"))


def test_a_requirements_file_with_hashes_and_includes(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("click==8.1.0\n")
    (tmp_path / "r.txt").write_text(
        "-r base.txt\n--extra-index-url http://extra.example/simple\n"
        f"# comment\nrich==13.0 \\\n    --hash=sha256:{'a' * 64}\n"
    )
    (step,) = read(BASE.with_requirements(tmp_path / "r.txt"), tmp_path).steps
    assert step == PipInstall(
        ("click==8.1.0", "rich==13.0"),
        extra_indexes=("http://extra.example/simple",),
        hashes=(("rich", ("a" * 64,)),),
    )


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (BASE.with_pip_packages("not a requirement!"), "`not a requirement!` is not a requirement"),
        (BASE.with_apt_packages("git>=1.0"), "`git>=1.0` is not the name of a Debian package"),
        (BASE.with_source_file(Path("/nowhere/x")), "/nowhere/x is not a file to copy"),
        (BASE.with_requirements("/nowhere/r.txt"), "/nowhere/r.txt: cannot be read"),
        (BASE.with_dockerignore(Path("/nowhere/.dockerignore")), "/nowhere/.dockerignore does not exist"),
    ],
)
def test_what_is_wrong_in_the_users_files_says_where(image: flyte.Image, said: str) -> None:
    with pytest.raises(LoadError, match=re.escape(said)):
        read(image)


@pytest.mark.parametrize(
    ("python", "base"),
    [
        ("3.9", RegistryBase("docker.io/library/python:3.9-slim-bookworm", official=True)),
        ("3.10", DebianBase("bookworm", standalone=True)),
        ("3.11", DebianBase("bookworm")),
        ("3.12", DebianBase("bookworm", standalone=True)),
        ("3.13", DebianBase("trixie")),
        ("3.14t", DebianBase("bookworm", standalone=True)),
        ("3.14", DebianBase("forky")),
        ("3.15", RegistryBase("docker.io/library/python:3.15-slim-bookworm", official=True)),
    ],
)
def test_what_every_python_stands_on(python: str, base: Base) -> None:
    version = tuple(int(part) if part.isdigit() else part for part in python.split("."))
    plain = flyte.Image.from_debian_base(python_version=version)  # type: ignore[arg-type]
    assert read(plain) == Recipe(base, ("linux/amd64", "linux/arm64"), python, flyte.__version__)
    bare = flyte.Image.from_debian_base(python_version=version, install_flyte=False)  # type: ignore[arg-type]
    recipe = read(bare.with_pip_packages("a"))
    assert (recipe.base, recipe.flyte, recipe.steps) == (base, None, (PipInstall(("a",)),))


def test_what_is_no_name_of_a_secret() -> None:
    with pytest.raises(LoadError, match="secret_mounts: `/tmp/secret` is not the name of a secret"):
        read(BASE.clone(extendable=True, name="x").with_apt_packages("vim", secret_mounts=["/tmp/secret"]))


def test_an_image_that_a_configuration_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flyte.config._config.get_config_file", get_config_file.__wrapped__)
    refs = "image:\n  image_refs:\n    ours: registry.example/team/ours:1\n"
    (tmp_path / "config.yaml").write_text(refs)
    named = flyte.Image.from_ref_name("ours")
    assert read(named) == Recipe(RegistryBase("registry.example/team/ours:1"), ("linux/amd64",), None, None)
    more = read(named.clone(extendable=True).with_pip_packages("a"))
    assert (more.base, more.steps) == (RegistryBase("registry.example/team/ours:1"), (PipInstall(("a",)),))
    with pytest.raises(RefusedError, match="names an image that no configuration here knows") as e:
        read(flyte.Image.from_ref_name("theirs"))
    assert "image_refs: theirs: URI" in str(e.value.hint)
    # What it calls `default` is the image of environments that name none, as the SDK has it.
    assert isinstance(read("auto").base, DebianBase)
    (tmp_path / "config.yaml").write_text(f"{refs}    default: registry.example/team/all:2\n")
    assert read("auto").base == RegistryBase("registry.example/team/all:2")


def test_the_setting_puts_any_python_on_the_official_image() -> None:
    recipe = read_image(BASE, "environment env", Path("/project"), "registry")
    assert recipe.base == RegistryBase("docker.io/library/python:3.11-slim-bookworm", official=True)
    assert (recipe.python, recipe.flyte) == ("3.11", flyte.__version__)


def test_the_setting_gives_any_python_of_uv() -> None:
    recipe = read_image(BASE, "environment env", Path("/project"), "standalone")
    assert recipe.base == DebianBase("bookworm", standalone=True)
    assert recipe.to_json()["base"] == {"kind": "debian", "suite": "bookworm", "standalone": True}
    three = read_image(flyte.Image.from_debian_base(python_version=(3, 9)), "e", Path("/project"), "standalone")
    assert isinstance(three.base, RegistryBase)


def test_an_image_of_a_registry_is_itself_until_something_is_added(tmp_path: Path) -> None:
    reference = "registry.example/team/x:1"
    image = flyte.Image.from_base(reference)
    for given in (image, reference, image.clone(name="renamed", registry="r.example")):
        recipe = read(given)
        assert recipe == Recipe(RegistryBase(reference), ("linux/amd64",), None, None)
        assert recipe.as_is
    changed = read(image.clone(name="x", extendable=True).with_pip_packages("a"), tmp_path)
    assert not changed.as_is
    assert changed.steps == (PipInstall(("a",)),)


def test_the_python_of_whoever_imports_the_file_is_no_part_of_a_registry_image() -> None:
    images = [flyte.Image.from_base("registry.example/x:1").clone(python_version=v) for v in ((3, 10), (3, 13))]
    assert len({read(image).fingerprint for image in images}) == 1


def test_the_slim_image_itself_is_a_base_like_any_other() -> None:
    recipe = read(flyte.Image.from_base("python:3.12-slim-bookworm"))
    assert recipe.base == RegistryBase("python:3.12-slim-bookworm")


def test_commands_are_a_step_with_their_secrets_by_name() -> None:
    image = flyte.Image.from_base("registry.example/x:1").clone(name="x", extendable=True)
    mounted = flyte.Secret("token", group="team", mount="/etc/flyte/secrets")
    recipe = read(image.with_commands(["make", "make install"], secret_mounts=["api-key", mounted]))
    key = SecretMount("api-key", env="API_KEY")
    token = SecretMount("token", "team", path="/etc/flyte/secrets")
    assert recipe.steps == (RunCommands(("make", "make install"), (key, token)),)
    assert recipe.sealed_steps == (0,)
    assert token.name == "team_token"


def test_a_debian_package_may_be_asked_for_in_one_version() -> None:
    assert read(BASE.with_apt_packages("git=1:2.39-1", "tree")).apt_packages == ("git=1:2.39-1", "tree")


def test_no_commands_are_no_step() -> None:
    assert read(BASE.with_commands([])).steps == ()
