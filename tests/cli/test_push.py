"""``build --push``, ``push`` and the shared cache, as a person has them at the command line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from flyte_build.soci import publishing, ztoc
from tests.support.images import noise
from tests.support.offline import Offline, workflow
from tests.support.registry import RegistryServer


@pytest.fixture
def project(offline: Offline, registry: RegistryServer) -> Offline:
    """Locked, with a registry and a cache in ``pyproject.toml``."""
    (offline.project / "pyproject.toml").write_text(
        f'[tool.flyte-build]\nregistry = "{registry.host}/team"\ncache = ["{registry.host}/team/cache"]\n'
    )
    offline.locked()
    return offline


def test_images_without_large_layers_have_no_soci_index(project: Offline, registry: RegistryServer) -> None:
    said = project.ok("push", "flow.py", "--env", "low", "--soci")
    assert "low: no layer of 10 MiB or more that can be read in parts: no SOCI index" in said.err
    assert "with a SOCI index" not in said.out
    assert all("-soci" not in tag for one in registry.repositories.values() for tag in one.tags)


def forget(project: Offline) -> None:
    """A fresh machine: an empty store, and neither index nor archive has anything."""
    shutil.rmtree(project.store)
    for path in (*project.index.folder.glob("*.whl"), *(project.home / "www").rglob("*.deb")):
        path.unlink()


def test_a_fresh_machine_pushes_what_the_cache_knows_without_a_download(
    project: Offline, registry: RegistryServer
) -> None:
    first = project.ok("push", "flow.py", "--json").json()
    names = [p["environment"] for p in first["pushed"]]
    assert names == ["low", "top"]
    for pushed in first["pushed"]:
        assert pushed["reference"] == f"{registry.host}/team/{pushed['environment']}@{pushed['digest']}"
        assert pushed["uploaded_bytes"] > 0
    assert first["pushed"][1]["mounted_bytes"] > 0
    assert registry.dangling() == []
    forget(project)
    registry.forget_requests()
    again = project.ok("build", "flow.py", "--push", "--json").json()
    assert [p["digest"] for p in again["pushed"]] == [p["digest"] for p in first["pushed"]]
    assert {p["uploaded_bytes"] + p["mounted_bytes"] for p in again["pushed"]} == {0}
    assert [(i["reused"], i["local"], i["layers_built"]) for i in again["images"]] == [(True, False, 0)] * 2
    counted = [(s.method, s.kind) for s in registry.requests]
    assert {what: counted.count(what) for what in counted} == {
        # Of each image; and of the runtime's layer, for the check of what is imported: its entry, and its listing.
        ("GET", "manifest"): 2 + 1,
        ("GET", "blob"): 2 + 1,
        ("HEAD", "manifest"): 2,
        ("GET", "referrers"): 2,  # the SBOMs are there
    }
    assert registry.bytes_out("blob") < 10_000
    assert not any((project.store / "artifacts" / "sha256").iterdir())


def test_the_plan_says_what_is_cached_in_the_registry(project: Offline, registry: RegistryServer) -> None:
    pushed = project.ok("push", "flow.py", "--json").json()["pushed"]
    registry.forget_requests()
    assert [i["state"] for i in project.ok("plan", "flow.py", "--json").json()["images"]] == ["cached"] * 2
    assert registry.requests == [], "what the store has is not asked for"
    forget(project)
    plan = project.ok("plan", "flow.py", "--json").json()
    assert [(i["state"], i["digest"]) for i in plan["images"]] == [("remote", p["digest"]) for p in pushed]
    assert (plan["to_build"], plan["in_registry"], plan["fetch_bytes"]) == (0, 2, 0)
    assert plan["pull_bytes"] == sum({x["derivation"]: x["size"] for i in plan["images"] for x in i["layers"]}.values())
    shown = project.ok("plan", "flow.py").out
    assert "cached in registry" in shown
    assert "nothing to build: all 2 images are cached, in the registry" in shown


def test_a_second_push_says_that_there_is_nothing_to_push(project: Offline, registry: RegistryServer) -> None:
    said = project.ok("push", "flow.py", "--tag", "v1")
    assert "pushed 2 images" in said.out
    registry.forget_requests()
    again = project.ok("push", "flow.py", "--tag", "v1")
    assert "nothing to push: the registry has all 2" in again.out
    assert {(s.method, s.kind) for s in registry.requests} == {("HEAD", "manifest"), ("GET", "referrers")}
    registry.forget_requests()
    project.ok("push", "flow.py", "--tag", "v1", "--no-attest")
    assert [(s.method, s.kind) for s in registry.requests] == [("HEAD", "manifest")] * 6
    lines = project.ok("push", "flow.py", "-q").out.splitlines()
    assert [line.split()[0] for line in lines] == ["low", "top"]
    assert all(line.split()[1].startswith(f"{registry.host}/team/{line.split()[0]}@sha256:") for line in lines)


def test_a_build_takes_layers_from_the_cache_and_what_they_are_made_of_is_never_fetched(
    project: Offline, registry: RegistryServer
) -> None:
    first = project.ok("push", "flow.py", "--json").json()["images"]
    forget(project)
    built = project.ok("build", "flow.py", "--json").json()["images"]
    assert [i["digest"] for i in built] == [i["digest"] for i in first]
    assert all(i["local"] and i["layers_built"] == 0 and i["layers_pulled"] > 0 for i in built)
    project.verified()
    shutil.rmtree(project.store)
    assert "pulled 2 of 2 images" in project.ok("build", "flow.py").out
    layout = project.home / "layout"
    shutil.rmtree(project.store)
    project.ok("build", "flow.py", "--push", "--output", f"oci:{layout}")
    assert len(json.loads((layout / "index.json").read_bytes())["manifests"]) == 2


def test_nowhere_to_push_names_the_setting(offline: Offline) -> None:
    offline.locked()
    for command in (["build", "flow.py", "--push"], ["push", "flow.py"]):
        error = offline.refused(2, *command)
        assert "no registry to push to" in error
        assert "`registry` in [tool.flyte-build] of pyproject.toml" in error
    assert not list((offline.store / "oci").rglob("*")), "it was refused before anything was built"
    assert "--tag" in offline("build", "flow.py", "--tag", "v1").err


def test_options_and_variables_win_over_the_file(
    project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.ok(
        "push", "flow.py", "--env", "low", "--registry", f"{registry.host}/mine", "--cache", f"{registry.host}/c"
    )
    assert {name for name, r in registry.repositories.items() if r.tags} == {"mine/low", "c"}
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY", f"{registry.host}/ours")
    project.ok("build", "flow.py", "--env", "low", f"--push={registry.host}/theirs")
    project.ok("build", "flow.py", "--env", "low", "--push")
    assert {"theirs/low", "ours/low"} < set(registry.repositories)


def test_a_registry_that_is_down_is_an_error_and_a_cache_that_is_down_is_none(
    project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    registry.fail("GET", "manifest", status=403, times=99)
    done = project.ok("build", "flow.py")
    assert done.err.count("cannot be asked") == 1
    registry.fail("HEAD", "manifest", status=403, times=99)
    error = project.refused(14, "push", "flow.py")
    assert "HEAD http://" in error


def test_pushed_images_are_pinned_and_locked_ones_must_be_what_is_pinned(
    project: Offline, registry: RegistryServer
) -> None:
    project.refused(15, "push", "flow.py", "--locked")
    assert registry.count("PUT") == 0, "nothing is sent that is not what was pinned"
    pushed = project.ok("push", "flow.py", "--json").json()["pushed"]
    project.ok("push", "flow.py", "--locked")
    for one in pushed:
        pins = json.loads((project.lockfiles / f"{one['environment']}.json").read_text())["pins"]
        assert {pin["digest"] for pin in pins.values()} == set(one["platforms"].values())


def imported(project: Offline, *command: str) -> set[str]:
    """Which of what is slow to load a process of its own has loaded for ``command``."""
    script = (
        "import atexit, sys; sys.argv[0] = 'flyte-build'\nfrom flyte_build.cli import entry\n"
        "atexit.register(lambda: print(*[m for m in ('flyte', 'httpx') if m in sys.modules], file=sys.stderr))\n"
        "entry()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=project.project, capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.slow
def test_only_what_the_store_alone_told_is_answered_from_the_record(
    project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.ok("push", "flow.py")
    time.sleep(2.1)  # what is younger is not trusted by its times
    commands = (("plan", "flow.py"), ("build", "flow.py"))
    for command in commands:
        imported(project, *command)
        assert imported(project, *command) == set(), "neither the SDK nor an HTTP client"
    registry.forget_requests()
    for _ in range(2):
        assert imported(project, "build", "flow.py", "--push") == {"httpx"}
    assert registry.count("HEAD", "manifest") == 8, "a push always asks"
    settings = project.project / "pyproject.toml"
    text = settings.read_text()
    settings.write_text(text.replace("/cache", "/other"))
    assert "flyte" in imported(project, *commands[0]), "the settings are part of the record"
    settings.write_text(text)
    monkeypatch.setenv("FLYTE_BUILD_REMOTE_CACHE", f"{registry.host}/another")
    assert "flyte" in imported(project, *commands[1])
    monkeypatch.delenv("FLYTE_BUILD_REMOTE_CACHE")
    forget(project)
    for _ in range(2):
        assert imported(project, *commands[0]) == {"flyte", "httpx"}, "a registry may answer otherwise next time"


def test_help_names_what_there_is(offline: Offline) -> None:
    text = " ".join(offline.ok("push", "--help").out.split())
    for option in ("--registry", "--tag", "--cache", "--platform", "--no-attest", "--locked"):
        assert option in text
    assert Path("flow.py").exists()


def test_a_layout_is_pushed_as_it_is_whoever_made_it(project: Offline, registry: RegistryServer) -> None:
    project.ok("build", "flow.py", "--env", "low", "--output", "oci:out")
    (built,) = project.ok("build", "flow.py", "--env", "low", "--json").json()["images"]
    done = project.ok("push", "oci:out", "--registry", f"{registry.host}/others", "-q")
    assert done.out == f"low {registry.host}/others/low@{built['digest']}\n"
    again = project.ok("push", "oci:out", "--registry", f"{registry.host}/others", "--name", "mine", "--json").json()
    assert again["pushed"][0]["reference"] == f"{registry.host}/others/mine@{built['digest']}"


def test_images_with_a_soci_index_lie_beside_those_pushed(
    project: Offline, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LEAST", 1000)
    monkeypatch.setattr(publishing, "ztoc", partial(ztoc, span=1000))
    project.publish("wide", files={f"wide/{i}.bin": noise(40_000, i) for i in range(12)})
    project.write(workflow("low: wide"))
    project.ok("lock", "flow.py")
    done = project.ok("push", "flow.py", "--soci", "--json").json()
    (pushed,), (indexed,) = done["pushed"], done["soci"]
    assert indexed.keys() == pushed.keys()
    assert indexed["tags"] == [tag + "-soci" for tag in pushed["tags"]]
    held = registry.repositories["team/low"]
    assert {held.tags[tag] for tag in indexed["tags"]} == {indexed["digest"]}
    assert {held.tags[tag] for tag in pushed["tags"]} == {pushed["digest"]}
    assert registry.dangling() == []
    assert f"with a SOCI index: {indexed['reference']}" in project.ok("push", "flow.py", "--soci").out


def test_of_a_layout_no_soci_index_is_made(project: Offline) -> None:
    project.ok("build", "flow.py", "--env", "low", "--output", "oci:out")
    said = project("push", "oci:out", "--registry", "registry.example/x", "--soci")
    assert said.code == 2
    assert "--soci is for the images of a file" in said.err


def test_a_name_is_for_layouts(project: Offline) -> None:
    done = project("push", "flow.py", "--name", "x")
    assert done.code == 2
    assert "--name is for a layout" in done.err


def test_the_document_of_a_push_is_what_its_page_says(project: Offline) -> None:
    document = project.ok("push", "flow.py", "--json").json()
    page = (Path(__file__).parents[2] / "docs" / "cache.md").read_text(encoding="utf-8")
    assert document["schema"] == 1
    for name in ("images", "pushed"):
        table = page.partition(f"| field of `{name}` |")[2].partition("\n\n")[0]
        fields = [field for row in table.splitlines()[2:] for field in re.findall(r"`([a-z_]+)`", row.split("|")[1])]
        assert fields, name
        assert all(set(row) == set(fields) for row in document[name]), name


def test_a_registry_that_takes_no_attestations_has_the_image(project: Offline, registry: RegistryServer) -> None:
    body = json.dumps({"errors": [{"code": "MANIFEST_INVALID", "message": "unknown config media type"}]}).encode()
    # Without the API the list of an image's referrers is a tag, which this one lets nobody write.
    registry.referrers = False
    registry.fail("PUT", "manifest", status=400, body=body, times=1000, match="/manifests/sha256-")
    done = project.ok("push", "flow.py", "--no-check")
    assert re.search(rf"low +{re.escape(registry.host)}/team/low@sha256:[0-9a-f]{{64}}", done.out)
    assert "warning: the images are pushed, but their SBOMs and provenance could not be attached: PUT " in done.err
    assert "--no-attest" in done.err
