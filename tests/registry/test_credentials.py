"""Where credentials are found: environment, Docker's and podman's files, helpers."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import RegistryError
from flyte_build.registry.credentials import Credentials, Keychain

HOST = "registry.example:5000"


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def write(file: Path, **config: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config))
    return file


def helper(folder: Path, name: str, script: str) -> dict[str, str]:
    """A credential helper on a PATH of its own."""
    program = folder / "bin" / f"docker-credential-{name}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def found(environ: dict[str, str], host: str = HOST, repository: str = "team/fold", **more: Any) -> Credentials | None:
    return Keychain(environ, **more).find(host, repository)


def pair(credentials: Credentials | None) -> tuple[str, str] | None:
    return credentials and (credentials.user, credentials.password)


def test_none_anywhere(tmp_path: Path) -> None:
    assert found({"HOME": str(tmp_path)}) is None
    assert found({}) is None


def test_the_environment_wins_for_its_host_only(tmp_path: Path) -> None:
    write(tmp_path / ".docker" / "config.json", auths={HOST: {"auth": auth("file", "secret")}})
    env = {"HOME": str(tmp_path), "FLYTE_BUILD_REGISTRY_USER": "u", "FLYTE_BUILD_REGISTRY_PASSWORD": "p"}
    assert pair(found(env)) == ("file", "secret"), "a password for no host in particular goes nowhere"
    named = {**env, "FLYTE_BUILD_REGISTRY": f"{HOST}/team"}
    assert pair(found(named)) == ("u", "p")
    assert found(named, "other.example") is None
    assert pair(found(env, home=HOST)) == ("u", "p")
    own = {
        "FLYTE_BUILD_REGISTRY_USER_REGISTRY_EXAMPLE_5000": "a",
        "FLYTE_BUILD_REGISTRY_PASSWORD_REGISTRY_EXAMPLE_5000": "b",
    }
    assert pair(found({**named, **own})) == ("a", "b")
    assert found({**own}, "registry.example") is None


def test_half_of_a_pair_is_an_error() -> None:
    with pytest.raises(RegistryError, match="expected both") as e:
        found({"FLYTE_BUILD_REGISTRY": HOST, "FLYTE_BUILD_REGISTRY_USER": "u"})
    assert "FLYTE_BUILD_REGISTRY_PASSWORD" in str(e.value.hint)


def test_dockers_file(tmp_path: Path) -> None:
    env = {"DOCKER_CONFIG": str(tmp_path / "d"), "HOME": str(tmp_path)}
    write(tmp_path / "d" / "config.json", auths={f"https://{HOST}/v2/": {"auth": auth("u", "p:with:colons")}})
    write(tmp_path / ".docker" / "config.json", auths={HOST: {"auth": auth("not", "this")}})
    assert pair(found(env)) == ("u", "p:with:colons")
    assert found(env, "registry.example") is None
    own = write(tmp_path / "own.json", auths={HOST: {"username": "x", "password": "y"}})
    assert pair(found(env, docker_config=own)) == ("x", "y")


def test_docker_hub_has_an_old_name(tmp_path: Path) -> None:
    write(tmp_path / "config.json", auths={"https://index.docker.io/v1/": {"auth": auth("u", "p")}})
    assert pair(found({"DOCKER_CONFIG": str(tmp_path)}, "docker.io", "library/python")) == ("u", "p")


def test_podmans_files(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    write(tmp_path / "run" / "containers" / "auth.json", auths={HOST: {"auth": auth("podman", "p")}})
    assert pair(found(env)) == ("podman", "p")
    write(tmp_path / ".docker" / "config.json", auths={HOST: {"auth": auth("docker", "p")}})
    assert pair(found(env)) == ("docker", "p")
    named = write(tmp_path / "auth.json", auths={HOST: {"auth": auth("named", "p")}})
    assert pair(found({**env, "REGISTRY_AUTH_FILE": str(named)})) == ("named", "p")


def test_the_nearest_repository_wins(tmp_path: Path) -> None:
    keys = {HOST: "host", f"{HOST}/team": "team", f"{HOST}/team/fold": "fold"}
    write(tmp_path / "config.json", auths={key: {"auth": auth(user, "p")} for key, user in keys.items()})
    keychain = Keychain({"DOCKER_CONFIG": str(tmp_path)})
    asked = ("team/fold", "team/other", "else/where", "teamwork/x")
    assert [keychain.find(HOST, name).user for name in asked] == ["fold", "team", "host", "host"]  # type: ignore[union-attr]


def test_identity_tokens(tmp_path: Path) -> None:
    write(tmp_path / "config.json", auths={HOST: {"auth": auth("u", ""), "identitytoken": "abc"}})
    credentials = found({"DOCKER_CONFIG": str(tmp_path)})
    assert credentials is not None
    assert credentials.identity_token == "abc"
    assert "abc" not in repr(credentials)


@pytest.mark.parametrize("bad", ["%%%", base64.b64encode(b"nocolon").decode(), base64.b64encode(b"\xff:\xfe").decode()])
def test_an_entry_that_is_none(bad: str, tmp_path: Path) -> None:
    write(tmp_path / "config.json", auths={HOST: {"auth": bad}})
    with pytest.raises(RegistryError, match="is not base64 of USER:PASSWORD") as e:
        found({"DOCKER_CONFIG": str(tmp_path)})
    assert bad not in e.value.message


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', '{"auths": {"x": 1}'])
def test_a_file_that_is_no_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RegistryError, match=r"config\.json"):
        found({"DOCKER_CONFIG": str(tmp_path)})


def test_a_helper_of_the_host(tmp_path: Path) -> None:
    env = helper(
        tmp_path, "cloud", """test "$1" = get; read host; printf '{"Username":"%s","Secret":"s3cret"}' "$host" """
    )
    write(tmp_path / "config.json", credHelpers={HOST: "cloud"}, auths={HOST: {"auth": auth("not", "this")}})
    credentials = found({**env, "DOCKER_CONFIG": str(tmp_path)})
    assert pair(credentials) == (HOST, "s3cret")
    assert "s3cret" not in repr(credentials)


def test_a_helpers_token(tmp_path: Path) -> None:
    env = helper(tmp_path, "cloud", """printf '{"Username":"<token>","Secret":"refresh"}'""")
    write(tmp_path / "config.json", credHelpers={HOST: "cloud"})
    credentials = found({**env, "DOCKER_CONFIG": str(tmp_path)})
    assert credentials is not None
    assert (credentials.user, credentials.identity_token) == ("", "refresh")


def test_the_common_store(tmp_path: Path) -> None:
    """Docker leaves an empty entry for what the store has, under the name it was logged in with."""
    script = """read h; if [ "$h" = https://registry.example:5000 ]; then printf '{"Username":"u","Secret":"p"}'
    else echo "credentials not found in native keychain"; exit 1; fi"""
    env = {**helper(tmp_path, "store", script), "DOCKER_CONFIG": str(tmp_path)}
    write(tmp_path / "config.json", credsStore="store", auths={f"https://{HOST}": {}})
    assert pair(found(env)) == ("u", "p")
    assert found(env, "other.example") is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo it is locked; exit 2", "failed (2): it is locked"),
        ("echo it is locked >&2; exit 2", "failed (2): it is locked"),
        ("echo '{}'", "expected JSON with Username and Secret"),
        ("echo hello", "expected JSON with Username and Secret"),
    ],
)
def test_a_helper_that_fails(script: str, said: str, tmp_path: Path) -> None:
    env = helper(tmp_path, "cloud", script)
    write(tmp_path / "config.json", credHelpers={HOST: "cloud"})
    with pytest.raises(RegistryError, match=HOST) as e:
        found({**env, "DOCKER_CONFIG": str(tmp_path)})
    assert said in e.value.message
    assert "docker-credential-cloud" in e.value.message


@pytest.mark.parametrize("name", ["absent", "../evil", "a b"])
def test_a_helper_that_is_none(name: str, tmp_path: Path) -> None:
    write(tmp_path / "config.json", credHelpers={HOST: name})
    with pytest.raises(RegistryError, match=r"helper|`"):
        found({"PATH": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)})


def test_a_helper_is_asked_once(tmp_path: Path) -> None:
    env = helper(tmp_path, "cloud", f"""echo x >> {tmp_path}/asked; printf '{{"Username":"u","Secret":"p"}}'""")
    write(tmp_path / "config.json", credHelpers={HOST: "cloud"})
    keychain = Keychain({**env, "DOCKER_CONFIG": str(tmp_path)})
    for _ in range(3):
        keychain.find(HOST, "team/fold")
    assert (tmp_path / "asked").read_text() == "x\n"
