"""Secrets that packages are had with (``secret_mounts``): for their own indexes, and in no file, lock or log."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.index import SimpleIndex
from ..support.offline import Offline
from ..support.wheels import build_wheel
from .test_apt_sources import company, debs, project  # noqa: F401 - fixtures
from .test_source_builds import platform

CANARY = "c4n4ry-of-the-index"
FLOW = """\
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
low = flyte.TaskEnvironment("low", image=base.{})
@low.task
def main(x: int) -> int:
    return x
"""


@pytest.fixture
def private(offline: Offline) -> Iterator[SimpleIndex]:
    """An index that wants a login, and has `inside`; the public one has another of that name."""
    folder = offline.home / "private"
    folder.mkdir()
    build_wheel(folder, "inside", "1.0")
    offline.publish("inside", "99.0")
    with SimpleIndex(folder) as served:
        served.login = f"ci:{CANARY}"
        yield served


def nowhere(home: Path) -> None:
    """The canary is in no file below ``home``."""
    assert [str(p) for p in home.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()] == []


def index_of(private: SimpleIndex, words: str) -> str:
    """A layer with `inside`; ``words`` are its other arguments."""
    return FLOW.format(f'with_pip_packages("inside", {words})').replace("HOST", private.host)


BY_ADDRESS = (
    'extra_index_urls="http://ci:$TOKEN@HOST/simple", '
    'secret_mounts=[flyte.Secret(key="company_pat", as_env_var="TOKEN")]'
)
BY_VARIABLE = 'secret_mounts=[flyte.Secret(key="company_pat", as_env_var="UV_INDEX")]'


@pytest.mark.parametrize(("words", "value"), [(BY_ADDRESS, CANARY), (BY_VARIABLE, f"http://ci:{CANARY}@HOST/simple")])
def test_a_private_index(
    offline: Offline, private: SimpleIndex, monkeypatch: pytest.MonkeyPatch, words: str, value: str
) -> None:
    offline.write(index_of(private, words))
    monkeypatch.setenv("COMPANY_PAT", value.replace("HOST", private.host))
    said = offline.ok("lock", "flow.py", "--verbose")
    (found,) = [w for w in platform(offline)["wheels"] if w["name"] == "inside"]
    assert found["version"] == "1.0"
    # Whoever builds asks that index, too.
    shutil.rmtree(offline.store)
    more = offline.ok("build", "flow.py", "--verbose")
    assert "GET /files/inside-1.0-py3-none-any.whl" in private.asked
    assert CANARY not in said.out + said.err + more.out + more.err
    nowhere(offline.home)
    # Neither a plan nor a build that fetches nothing needs it.
    monkeypatch.delenv("COMPANY_PAT")
    offline.ok("lock", "--check", "flow.py")
    offline.ok("build", "flow.py")
    # What else has the same bytes will do; where nothing has, the secret is what lacks.
    shutil.rmtree(offline.store)
    assert "expected it in $COMPANY_PAT" in offline.refused(2, "build", "flow.py")
    inside = "inside-1.0-py3-none-any.whl"
    shutil.copyfile(private.folder / inside, offline.index.folder / inside)
    offline.ok("build", "flow.py")


def test_a_secret_that_is_not_there(offline: Offline, private: SimpleIndex) -> None:
    offline.write(index_of(private, BY_ADDRESS))
    said = offline.refused(2, "lock", "flow.py")
    assert "the secret company_pat of the packages of an image: expected it in $COMPANY_PAT" in said


def test_a_secret_that_the_index_does_not_take(
    offline: Offline, private: SimpleIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.login = "ci:another"
    offline.write(index_of(private, BY_ADDRESS))
    monkeypatch.setenv("COMPANY_PAT", CANARY)
    said = offline.refused(6, "lock", "flow.py")
    assert f"GET http://{private.host}/simple/inside/: 401" in said
    assert CANARY not in said


def test_a_private_index_of_a_uv_project(
    offline: Offline, private: SimpleIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline.write(
        f"""\
        [project]
        name = "app"
        version = "1"
        requires-python = ">=3.10"
        dependencies = ["inside"]
        [[tool.uv.index]]
        name = "company"
        url = "{private.url}"
        explicit = true
        [tool.uv.sources]
        inside = {{ index = "company" }}
        """,
        "pyproject.toml",
    )
    secrets = [f'flyte.Secret(key="{k}", as_env_var="UV_INDEX_COMPANY_{k.upper()}")' for k in ("username", "password")]
    offline.write(FLOW.format(f"with_uv_project('pyproject.toml', secret_mounts=[{', '.join(secrets)}])"))
    monkeypatch.setenv("USERNAME", "ci")
    monkeypatch.setenv("PASSWORD", CANARY)
    offline.ok("lock", "flow.py")
    (found,) = [w for w in platform(offline)["wheels"] if w["name"] == "inside"]
    assert found["version"] == "1.0"
    shutil.rmtree(offline.store)
    offline.ok("build", "flow.py")
    nowhere(offline.home)


def test_the_address_of_a_file(offline: Offline, private: SimpleIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"inside @ http://ci:${{TOKEN}}@{private.host}/files/inside-1.0-py3-none-any.whl"
    secret = 'secret_mounts=[flyte.Secret(key="company_pat", as_env_var="TOKEN")]'
    offline.write(FLOW.format(f"with_pip_packages({address!r}, {secret})"))
    monkeypatch.setenv("COMPANY_PAT", CANARY)
    offline.ok("lock", "flow.py")
    shutil.rmtree(offline.store)
    offline.ok("build", "flow.py")
    nowhere(offline.home)


def test_another_peoples_apt_source(
    project: Offline,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = project.project / "apt/company.sources"
    file.write_text(file.read_text().replace("http://", "http://ci:${APT_TOKEN}@"))
    said = project.refused(2, "lock", "flow.py")
    assert "`${APT_TOKEN}` is neither a secret of with_apt_packages nor a variable" in said
    secrets = 'flyte.Secret(key="company_pat", as_env_var="APT_TOKEN"), "other"'
    project.write(FLOW.format(f'with_apt_packages("driver", secret_mounts=[{secrets}])'))
    monkeypatch.setenv("COMPANY_PAT", CANARY)
    done = project.ok("lock", "flow.py")
    assert "mounts other, which no file of `apt-sources` asks for" in " ".join(done.err.split())
    assert debs(project)["driver"]["archive"] == "company"
    shutil.rmtree(project.store)
    project.ok("build", "flow.py")
    nowhere(project.home)
