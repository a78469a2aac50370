"""Pixi projects: what their packages ask of machines, where they are had from, and who logs in there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, InputError
from flyte_build.sources.conda_logins import Logins

from ..support.conda import Built, package
from ..support.http import Fault, serving
from ..support.offline import Offline
from ..support.pixi import built, lock, words

pytest.importorskip("rattler")


@pytest.fixture
def packages(pixi_packages: list[Built]) -> list[Built]:
    return pixi_packages


@pytest.fixture
def project(pixi_project: Offline) -> Offline:
    return pixi_project


def test_a_c_library_that_is_too_old(project: Offline, packages: list[Built]) -> None:
    """The base's, which no conda package brings."""
    channel = project.home / "channel"
    lock(project, [*packages, package(channel, "fits", {"share/f": b""}, depends=["__glibc >=2.17,<3.0.a0"])])
    assert "where its tasks run" not in project.ok("lock", "flow.py").err
    lock(project, [*packages, package(channel, "newer", {"share/n": b""}, depends=["__glibc >=2.38,<3.0.a0"])])
    before = (project.lockfiles / "low.json").read_bytes()
    said = words(project.refused(5, "lock", "flow.py"))
    assert "newer-1.0-h0_0.conda requires `__glibc >=2.38,<3.0.a0`, and the image's base has glibc 2.36" in said
    assert "take a base with a newer one" in said
    assert (project.lockfiles / "low.json").read_bytes() == before


def test_what_only_machines_have_is_said(project: Offline, packages: list[Built]) -> None:
    channel = project.home / "channel"
    more = [
        package(channel, "gpu", {"share/g": b""}, depends=["__cuda >=12.4", "__linux", "__unix"]),
        package(channel, "fast", {"share/x": b""}, depends=["__archspec 1 x86_64_v3"]),
        package(channel, "new", {"share/k": b""}, depends=["__linux >=5.4"]),
    ]
    lock(project, [*packages, *more])
    said = words(project.ok("lock", "flow.py").err)
    asked = "`__archspec 1 x86_64_v3` (fast), `__cuda >=12.4` (gpu), `__linux >=5.4` (new)"
    assert f"where its tasks run there has to be {asked}" in said
    lock(project, [*packages, package(channel, "other", {"share/o": b""}, depends=["__win"])])
    assert "other-1.0-h0_0.conda is for another system than Linux (`__win`)" in words(
        project.refused(7, "lock", "flow.py")
    )


@pytest.mark.parametrize("address", ["oci://registry.invalid/channel", "s3://bucket/channel"])
def test_channels_that_are_not_asked(project: Offline, address: str) -> None:
    at, channel = project.project / "pixi.lock", (project.home / "channel").as_uri()
    at.write_text(at.read_text().replace(channel, address))
    said = words(project.refused(7, "lock", "flow.py"))
    assert f"is in the channel `{address}`; expected one of https, http or files" in said
    assert f'`"{address}" = ["https://…"]`' in said
    configured = project.project / ".pixi/config.toml"
    configured.parent.mkdir()
    configured.write_text(f'[mirrors]\n"{address}" = ["{channel}"]\n')
    project.ok("lock", "flow.py")
    built(project)


LOGINS = {
    "token": ({"BearerToken": "t0ken-of-a-channel"}, "Bearer t0ken-of-a-channel", ""),
    "password": ({"BasicHTTP": {"username": "ci", "password": "s3cret-of-ci"}}, "Basic Y2k6czNjcmV0LW9mLWNp", ""),
    "path": ({"CondaToken": "t0ken-in-a-path"}, None, "/t/t0ken-in-a-path"),
}


@pytest.mark.parametrize("kind", LOGINS)
def test_logins_that_pixi_keeps(
    project: Offline, packages: list[Built], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    login, header, path = LOGINS[kind]
    channel, at = project.home / "channel", project.project / "pixi.lock"
    with serving() as server:
        for one in packages:
            server.put(
                f"{path.removeprefix('/')}/{one.path.relative_to(channel)}".removeprefix("/"), one.path.read_bytes()
            )
        at.write_text(at.read_text().replace(channel.as_uri(), server.url))
        held = project.home / ".rattler/credentials.json"
        held.parent.mkdir()
        held.write_text(json.dumps({"127.0.0.1": login, "other.invalid": {"BearerToken": "nobody-s"}}))
        project.ok("lock", "flow.py")
        built(project)
        assert {seen.headers.get("authorization") for seen in server.seen} == {header}
        secret = next(iter(login.values()))
        assert str(secret) not in (project.lockfiles / "low.json").read_text()
        # Another file, which is the only one then: nobody is logged in, and the words say where logins are read.
        elsewhere = project.home / "elsewhere.json"
        elsewhere.write_text("{}")
        monkeypatch.setenv("RATTLER_AUTH_FILE", str(elsewhere))
        for one in packages:
            server.put(str(one.path.relative_to(channel)), b"", Fault(401), forever=True)
        monkeypatch.setenv("FLYTE_BUILD_CACHE", str(project.home / "another"))
        said = words(project("build", "flow.py").err)
        assert "401" in said
        assert "pixi's file of logins (`RATTLER_AUTH_FILE`" in said


def test_which_login_is_whose(tmp_path: Path) -> None:
    held = tmp_path / "logins.json"
    logins = {"*.company.example": {"BearerToken": "wide"}, "repo.company.example": {"BearerToken": "near"}}
    logins |= {"kept.example": {"S3Credentials": {"access_key_id": "a", "secret_access_key": "b"}}}
    held.write_text(json.dumps(logins))
    found = Logins(str(held), {"HOME": str(tmp_path)})
    assert found.of("https://repo.company.example/c/x.conda")[1] == {"Authorization": "Bearer near"}
    assert found.of("https://a.b.company.example/x.conda")[1] == {"Authorization": "Bearer wide"}
    assert found.of("https://company.example/x.conda")[1] == {"Authorization": "Bearer wide"}
    assert found.of("https://notcompany.example/x.conda")[1] == {}
    assert found.of("https://me:own@repo.company.example/x")[1] == {}
    with pytest.raises(FetchError, match=r"the login of `kept\.example` is of a kind that is not used here"):
        found.of("https://kept.example/x.conda")
    held.write_text("{")
    with pytest.raises(InputError, match="expected JSON, as `pixi auth login` writes it"):
        Logins(str(held), {})
    assert Logins(None, {"HOME": str(tmp_path)}).of("https://repo.company.example/x")[1] == {}
