"""Bazel makes the CLI's images, to the byte: layers as actions without network, from a clean clone."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest

from tests.integration.conftest import ENVIRONMENTS, Layout
from tests.support.bazel import Bazel, module_text
from tests.support.cli import Cli

pytestmark = pytest.mark.integration

QUIET = "--nosandbox_debug"
# What the interpreter of the actions is made of, besides the images' own artifacts: the images have these packages too.
STORE = {"FLYTE_BUILD_CACHE": "/store"}
MACHINE = os.uname().machine
PLATFORM = {"x86_64": "linux_amd64", "aarch64": "linux_arm64"}[MACHINE]


def built(bazel: Bazel, *words: str, workspace: str = "/root/flyte-build") -> str:
    """What ``bazel build`` says."""
    code, out, err = bazel(workspace, "build", QUIET, *words, **STORE)
    assert code == 0, out + err
    return out + err


def digest(bazel: Bazel, path: str) -> str:
    """The digest of the image in a layout that Bazel made."""
    # bazel-bin is a link that is absolute inside the machine.
    (found,) = bazel.machine.root.glob(f"var/tmp/bazel/*/execroot/_main/bazel-out/*/bin/{path}/index.json")
    (entry,) = json.loads(found.read_bytes())["manifests"]
    return str(entry["digest"])


def test_the_images_are_those_of_the_cli(bazel: Bazel, layout: Layout) -> None:
    said = built(bazel, *(f"//examples/af2:{environment}" for environment in ENVIRONMENTS))
    found = {e: digest(bazel, f"examples/af2/{e}.{PLATFORM}") for e in ENVIRONMENTS}
    assert found == dict(layout.digests)
    assert all(f"{environment} on linux/" in said for environment in ENVIRONMENTS), "each is held against its pin"


def test_nothing_is_done_twice_and_a_shared_cache_serves_layers(bazel: Bazel) -> None:
    target = "//examples/af2:msa_env"
    clean = ("/root/flyte-build", "clean")
    assert bazel(*clean)[0] == 0
    built(bazel, target, "--disk_cache=/shared")
    assert "1 process: 1 internal" in built(bazel, target, "--disk_cache=/shared")
    assert bazel(*clean)[0] == 0
    said = built(bazel, target, "--disk_cache=/shared")
    # msa_env: Debian, system, runtime and its wheels; then the image, and the comparison with its pin.
    assert "6 disk cache hit" in said, said
    assert "processes: 6 disk" in said, said
    assert "linux-sandbox" not in said, said


def test_no_action_has_a_network_or_the_machines_environment(bazel: Bazel) -> None:
    code, out, err = bazel(
        "/root/flyte-build", "aquery", "--output=jsonproto", "deps(//examples/af2:multi_env)", **STORE
    )
    assert code == 0, err
    actions = [a for a in json.loads(out)["actions"] if a["mnemonic"].startswith("Flyte")]
    kinds = {a["mnemonic"] for a in actions}
    assert kinds == {"FlyteLayer", "FlyteImage", "FlytePin"}
    for action in actions:
        assert {"key": "block-network", "value": "1"} in action["executionInfo"]
        assert "environmentVariables" not in action
        assert action["arguments"][0].endswith((".so.2", ".so.1")), "the locked interpreter's own loader"


def test_grouping_that_differs_is_an_error_that_names_the_layer(bazel: Bazel) -> None:
    workspace = bazel.machine.root / "root/flyte-build"
    layout = workspace / "rules/layout.json"
    text = layout.read_text()
    numbers = json.loads(text) | {"venv": "/opt/elsewhere"}
    layout.write_text(json.dumps(numbers))
    try:
        code, out, err = bazel("/root/flyte-build", "build", QUIET, "//examples/af2:msa_env", **STORE)
    finally:
        layout.write_text(text)
    assert code != 0
    assert re.search(r"expected a finished layer `[^`]+` \(sha256:[0-9a-f]{64}\), found none", out + err)


def test_an_artifact_that_nobody_has_is_named_with_the_way_out(bazel: Bazel) -> None:
    code, out, err = bazel(
        "/root/flyte-build",
        *("build", QUIET, "--repository_cache=", "//examples/conflict:legacy_env"),
        FLYTE_BUILD_CACHE="/nothing",
        FLYTE_BUILD_DEBIAN_SNAPSHOT="off",
    )
    assert code != 0
    assert "no place to fetch it from" in out + err or "flyte-build build FILE" in out + err


PROJECT = """
import flyte

image = (
    flyte.Image.from_debian_base(install_flyte=False)
    .with_pip_packages("tomli==2.2.1")
    .with_env_vars({"MODE": "bazel", "WHERE": "$PATH:/x"})
    .with_workdir("/srv/app")
    .with_source_folder("data", "/srv/app/data", copy_contents_only=True)
    .with_source_file("settings.toml", "/srv/app/")
)
env = flyte.TaskEnvironment(name="own_env", image=image)

"""
BUILD = """
load("@images//:defs.bzl", "flyte_image")
flyte_image(name = "own_env", srcs = glob(["data/**", "settings.toml"]))
"""


def test_a_project_of_its_own_with_local_files(bazel: Bazel, cli: Cli) -> None:
    project = bazel.machine.root / "root/own"
    (project / "data/inner").mkdir(parents=True)
    (project / "data/inner/ü.txt").write_text("umlaut\n")
    (project / "data/run.sh").write_text("#!/bin/sh\n")
    (project / "data/run.sh").chmod(0o755)
    (project / "settings.toml").write_text("[x]\n")
    (project / "main.py").write_text(PROJECT)
    (project / "MODULE.bazel").write_text(module_text("own"))
    (project / "BUILD.bazel").write_text(BUILD)
    cli.ok("lock", "main.py", "--lockfiles", "lockfiles", cwd=project)
    (project / "lockfiles/BUILD.bazel").touch()
    (image,) = cli.ok("build", "main.py", "--lockfiles", "lockfiles", "--json", cwd=project).json()["images"]
    store = bazel.machine.root / "store/artifacts"
    shutil.copytree(cli.cache / "artifacts", store, copy_function=_link, dirs_exist_ok=True)
    said = built(bazel, "//:own_env", workspace="/root/own")
    assert digest(bazel, f"own_env.{PLATFORM}") == image["digest"]
    assert "as pinned" in said
    (project / "data/again.sh").symlink_to("run.sh")
    code, out, err = bazel("/root/own", "build", QUIET, "//:own_env", **STORE)
    assert code != 0
    assert "data/again.sh is a symbolic link to another copied file" in out + err


def _link(source: str, target: str) -> None:
    if not os.path.exists(target):
        os.link(source, target)


def test_push_and_load_hand_the_layout_to_flyte_build(bazel: Bazel) -> None:
    spy = bazel.machine.root / "usr/local/bin/flyte-build"
    spy.write_text('#!/bin/sh\necho "$@"; ls "${2#oci:}"\n')
    spy.chmod(0o755)
    for verb in ("push", "load"):
        code, out, err = bazel(
            "/root/flyte-build", "run", QUIET, f"//examples/af2:msa_env.{verb}", "--", "--registry=r.example/x", **STORE
        )
        assert code == 0, out + err
        words, *files = out.splitlines()[-4:]
        assert re.fullmatch(rf"{verb} oci:\S+ --name msa_env --registry=r.example/x", words)
        assert files == ["blobs", "index.json", "oci-layout"]
