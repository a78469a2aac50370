"""``[tool.flyte-build]``: read from the nearest file, beaten by the environment, strict about what it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.settings import Settings, read_settings


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_without_a_file_nothing_is_pushed_and_no_cache_is_asked(tmp_path: Path) -> None:
    assert read_settings(tmp_path, {}) == Settings()
    assert Settings().cache == ()
    assert Settings().registry is None


def test_every_key_is_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
[tool.flyte-build]
registry = "registry.example/team"
repository = "{registry}"
cache = ["registry.example/team/cache", "other.example/cache"]
cache-write = false
insecure-registries = "10.0.0.5:5000"
platforms = ["linux/amd64"]
policy = "delegate"
base = "registry"
sign-key = "cosign.key"
verify-key = "cosign.pub"
root = "src"
file = "src/main.py"
lockfiles = "../locks"
unfiltered = "profiling"
task-disk = "1.5Gi"
task-files = 7
layer-ceiling = "500M"
warm = false
""",
    )
    assert read_settings(tmp_path, {}) == Settings(
        registry="registry.example/team",
        repository="{registry}",
        cache=("registry.example/team/cache", "other.example/cache"),
        cache_write=False,
        insecure_registries=("10.0.0.5:5000",),
        platforms=("linux/amd64",),
        policy="delegate",
        base="registry",
        sign_key=str(tmp_path / "cosign.key"),
        verify_key=str(tmp_path / "cosign.pub"),
        root=tmp_path / "src",
        file=tmp_path / "src" / "main.py",
        lockfiles=tmp_path.parent / "locks",
        unfiltered=("profiling",),
        task_disk=1_610_612_736,
        task_files=7,
        layer_ceiling=500_000_000,
        warm=False,
    )


def test_keys_are_relative_to_the_file_that_states_them(tmp_path: Path) -> None:
    write(tmp_path, '[tool.flyte-build]\nsign-key = "awskms://alias/team"\nverify-key = "keys/../team.pub"\n')
    inner = tmp_path / "examples" / "af2"
    inner.mkdir(parents=True)
    found = read_settings(inner, {})
    assert (found.sign_key, found.verify_key) == ("awskms://alias/team", f"{tmp_path}/keys/../team.pub")
    write(tmp_path, '[tool.flyte-build]\nsign-key = "env://KEY"\nverify-key = "/etc/team.pub"\n')
    found = read_settings(inner, {})
    assert (found.sign_key, found.verify_key) == ("env://KEY", "/etc/team.pub")


def test_the_nearest_table_counts_and_the_search_ends_at_the_repository(tmp_path: Path) -> None:
    write(tmp_path, '[tool.flyte-build]\nregistry = "outside.example/x"\n')
    repository = write(tmp_path / "repository", "[project]\nname = 'x'\n")
    (repository / ".git").mkdir()
    inner = repository / "a" / "b"
    inner.mkdir(parents=True)
    assert read_settings(inner, {}).registry is None
    write(repository, '[tool.flyte-build]\nregistry = "inside.example/x"\n')
    assert read_settings(inner, {}).registry == "inside.example/x"
    write(inner.parent, '[tool.flyte-build]\nregistry = "nearest.example/x"\n')
    assert read_settings(inner, {}).registry == "nearest.example/x"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, '[tool.flyte-build]\nregistry = "file.example/x"\ncache = ["file.example/cache"]\n')
    environ = {
        "FLYTE_BUILD_REGISTRY": "env.example/x",
        "FLYTE_BUILD_REMOTE_CACHE": "env.example/a env.example/b",
        "FLYTE_BUILD_INSECURE_REGISTRIES": "h:1",
        "FLYTE_BUILD_POLICY": "delegate",
    }
    found = read_settings(tmp_path, environ)
    assert (found.registry, found.cache, found.insecure_registries, found.policy) == (
        "env.example/x",
        ("env.example/a", "env.example/b"),
        ("h:1",),
        "delegate",
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('cahce = "x"', "no setting `cahce`; there are: apt-components, apt-sources, base, bytecode"),
        ("registry = 3", "registry: expected a string, found 3"),
        ('registry = ""', "registry: expected a string, found ''"),
        ('cache-write = "no"', "cache-write: expected true or false, found 'no'"),
        ("cache = [1]", "cache: expected a list of strings, found [1]"),
        ('policy = "allow"', "policy: expected refuse or delegate, found 'allow'"),
        ('base = "alpine"', "base: expected debian or standalone or registry, found 'alpine'"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, table: str, says: str) -> None:
    write(tmp_path, f"[tool.flyte-build]\n{table}\n")
    with pytest.raises(InputError) as caught:
        read_settings(tmp_path, {})
    assert says in caught.value.message
    assert str(tmp_path / "pyproject.toml") in caught.value.message
    if "cahce" in table:
        assert caught.value.hint == "did you mean `cache`?"


@pytest.mark.parametrize(("word", "means"), [("no", False), ("False", False), ("0", False), ("yes", True)])
def test_a_flag_in_a_variable_is_a_word(tmp_path: Path, word: str, means: bool) -> None:
    assert read_settings(tmp_path, {"FLYTE_BUILD_REMOTE_CACHE_WRITE": word}).cache_write is means
    with pytest.raises(InputError, match=r"\$FLYTE_BUILD_REMOTE_CACHE_WRITE: cache-write: expected true or false"):
        read_settings(tmp_path, {"FLYTE_BUILD_REMOTE_CACHE_WRITE": "maybe"})


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\$FLYTE_BUILD_POLICY: policy: expected refuse or delegate"):
        read_settings(tmp_path, {"FLYTE_BUILD_POLICY": "yes"})


def test_a_file_that_is_not_toml_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "[tool.flyte-build\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_settings(tmp_path, {})
    write(tmp_path, "[tool]\nflyte-build = 3\n")
    with pytest.raises(InputError, match="to be a table"):
        read_settings(tmp_path, {})
