"""A push that would send nothing: answered from the record where the registry says that all of it is there."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from flyte_build.kernel.importing import httpx_alone
from flyte_build.remote.publishing import PushedImage
from flyte_build.settings import Settings
from flyte_build.store.built import BuiltImage, BuiltLayer
from flyte_build.supply.attaching import Attached
from flyte_build.workbench.making import Images
from flyte_build.workbench.pushed_before import questions, still_there
from tests.support.offline import Offline
from tests.support.registry import RegistryServer

ONE, TWO, THREE = ("sha256:" + digit * 64 for digit in "123")
IMAGE = PushedImage("low", f"r.example/low@{ONE}", ONE, {"linux/amd64": TWO, "linux/arm64": ONE}, ("v1",), 0, 0, 7)
SBOM = Attached("low", "linux/amd64", "spdx", TWO, f"r.example/low@{THREE}", False)


def test_what_the_registry_is_asked() -> None:
    assert questions([IMAGE], [SBOM], Settings(registry="r.example/team")) == {
        "documents": {
            "r.example/low:v1": ONE,
            f"r.example/low@{TWO}": TWO,
            f"r.example/low@{THREE}": THREE,
        },
    }


@pytest.mark.parametrize(
    ("attached", "settings"),
    [
        (None, {}),
        ([SBOM], {"cache": ("r.example/cache",)}),
        ([SBOM], {"sign_key": "key"}),
        ([SBOM], {"insecure_registries": ("r.example",)}),
    ],
)
def test_a_push_of_which_not_all_is_known_is_not_given_again(
    attached: list[Attached] | None, settings: dict[str, object]
) -> None:
    assert questions([IMAGE], attached, Settings(**settings)) is None  # type: ignore[arg-type]


def test_what_a_push_that_sent_something_says_the_next_time() -> None:
    layer = BuiltLayer("a", ONE, TWO, 7, THREE, False, pulled=True)
    built = BuiltImage("low", "linux/amd64", ONE, ONE, 9, (layer,), 1.5, False)
    sent = replace(IMAGE, uploaded=5, mounted=2, existing=1)
    again = Images((built,), (sent, IMAGE)).repeated
    assert again.pushed == (replace(IMAGE, existing=8), IMAGE)
    assert again.built == (
        replace(built, reused=True, seconds=0.0, layers=(replace(layer, reused=True, pulled=False),)),
    )


def test_what_is_no_question_is_no_answer() -> None:
    assert not still_there({})
    assert not still_there({"documents": {"": ONE}})
    assert not still_there({"documents": []})


@pytest.mark.parametrize("there", [None, sys])
def test_httpx_comes_without_its_command_line_for_this_only(there: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "httpx._main", raising=False)
    if there is not None:
        monkeypatch.setitem(sys.modules, "httpx._main", there)  # type: ignore[arg-type]
    with httpx_alone():
        assert sys.modules["httpx._main"] is there
    assert sys.modules.get("httpx._main") is there
    assert ("httpx._main" in sys.modules) == (there is not None)


def test_no_record_says_who_is_given_a_password(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record lies where others may write."""
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY", "r.example/team")
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_USER", "me")
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_PASSWORD", "secret")
    registry.auth = "basic"
    assert not still_there({"documents": {f"{registry.host}/team/low:v1": ONE}, "home": registry.host})

    def authorized() -> list[bool]:
        return ["authorization" in {name.lower() for name in seen.headers} for seen in registry.requests]

    assert authorized() == [False]
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY", f"{registry.host}/team")
    assert not still_there({"documents": {f"{registry.host}/team/low:v1": ONE}})
    assert True in authorized()


@pytest.mark.slow
def test_nothing_changed_asks_the_registry_and_imports_no_sdk(offline: Offline, registry: RegistryServer) -> None:
    (offline.project / "pyproject.toml").write_text(f'[tool.flyte-build]\nregistry = "{registry.host}/team"\n')
    offline.locked()
    script = "import sys; sys.argv[0] = 'flyte-build'\nfrom flyte_build.cli import entry\nentry()\n"

    def push() -> tuple[str, bool]:
        """What it says, and whether the SDK or a client was imported."""
        registry.forget_requests()
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", script, "push", "flow.py"],
            cwd=offline.project, capture_output=True, text=True, check=True,
        )  # fmt: skip
        # A client takes longer to import than the questions take.
        return done.stdout, "flyte._image" in done.stderr or "httpx" in done.stderr

    offline.ok("build", "flow.py")
    time.sleep(2.1)  # what is younger is not trusted by its times
    assert "uploaded" in push()[0]
    said, imported = push()
    assert not imported, "who sent all knows that the next one has nothing to send"
    assert "nothing to push: the registry has all 2" in said
    assert push() == (said, False)
    assert {(s.method, s.kind) for s in registry.requests} == {("HEAD", "manifest")}
    where = registry.repositories["team/low"]
    tag = next(iter(where.tags))
    digest = where.tags.pop(tag)
    again, imported = push()
    assert imported
    assert where.tags[tag] == digest
    assert again != ""
    registry.fail("HEAD", "manifest", status=500, times=1)
    assert push()[1], "who does not answer is asked by the whole command"
