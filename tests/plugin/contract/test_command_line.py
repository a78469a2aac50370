"""The SDK's own command line with the hooks in it: what reaches a backend names images by digest only."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flyte.config._config import ImageConfig

from ...support.site import Site, image_lookup, images_of

DIGEST = re.compile(r"127\.0\.0\.1:\d+/team/[a-z_]+@sha256:[0-9a-f]{64}")


def all_by_digest(site: Site, template: Any) -> bool:
    return all(DIGEST.fullmatch(image) and site.there(image) for image in images_of(template))


def test_run(site: Site, project: Path) -> None:
    site.ok("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project)
    template = site.backend.runs[-1].task_spec.task_template
    assert set(image_lookup(template)) == {"multi_env", "fold_env", "msa_env"}
    assert all_by_digest(site, template)


def test_run_from_another_folder(site: Site, project: Path) -> None:
    site.configure(project.parent)
    run = ("flyte", "run", "--root-dir", "project", "project/main.py", "main", "--sequence", "A")
    site.ok(*run, cwd=project.parent)
    assert all_by_digest(site, site.backend.runs[-1].task_spec.task_template)


def test_deploy_one_environment(site: Site, project: Path) -> None:
    before = len(site.backend.deployed)
    site.ok("flyte", "deploy", "main.py", "env", cwd=project)
    deployed = [request.spec.task_template for request in site.backend.deployed[before:]]
    assert sorted(t.id.name for t in deployed) == ["fold_env.run_fold", "msa_env.run_msa", "multi_env.main"]
    assert all(all_by_digest(site, template) for template in deployed)
    assert len({t.container.image for t in deployed}) == 3


def test_deploy_all(site: Site, project: Path) -> None:
    before = len(site.backend.deployed)
    site.ok("flyte", "deploy", "--all", "main.py", cwd=project)
    deployed = [request.spec.task_template for request in site.backend.deployed[before:]]
    assert {t.id.name for t in deployed} == {"fold_env.run_fold", "msa_env.run_msa", "multi_env.main"}
    assert all(all_by_digest(site, template) for template in deployed)


def test_a_dry_run_leaves_nothing_in_the_registry(site: Site, project: Path) -> None:
    asked, deployed = len(site.registry.requests), len(site.backend.deployed)
    home = f"{site.registry.host}/nowhere"
    site.ok("flyte", "deploy", "--dry-run", "main.py", "env", cwd=project, FLYTE_BUILD_REGISTRY=home)
    assert (len(site.registry.requests), len(site.backend.deployed)) == (asked, deployed)


def test_build(site: Site, project: Path) -> None:
    for arguments in (("main.py", "env"), ("--all", "main.py")):
        done = site.ok("flyte", "--output-format", "json-raw", "build", *arguments, cwd=project)
        assert len(set(DIGEST.findall(done.out))) == 3


def test_a_local_run_needs_nothing(site: Site, project: Path) -> None:
    asked = len(site.registry.requests)
    done = site.ok(
        "flyte", "run", "--local", "main.py", "main", "--sequence", "A", cwd=project, FLYTE_BUILD_REGISTRY=""
    )
    assert "Completed Local Run" in done.out
    assert len(site.registry.requests) == asked


def test_lock_and_plan(site: Site, project: Path) -> None:
    assert site.ok("flyte", "lock", "main.py", "--check", cwd=project).out == "3 locks answer their recipes\n"
    assert "nothing to build" in site.ok("flyte", "plan", "main.py", "--platform", "all", cwd=project).out
    listed = site.ok("flyte", "--help", cwd=project).out
    assert re.search(r"\block\b.*Lock every environment", listed)
    (project / "lockfiles" / "fold_env.json").unlink()
    refused = site.run("flyte", "lock", "main.py", "--check", cwd=project)
    assert refused.code == 4
    assert "error: lock is stale or missing" in refused.err or "error: 1 lock is stale or missing" in refused.err
    assert "Traceback" not in refused.err


def test_no_registry(site: Site, project: Path) -> None:
    done = site.run("flyte", "deploy", "main.py", "env", cwd=project, FLYTE_BUILD_REGISTRY="")
    assert done.code == 2
    assert "error: no registry to push to, for the image of fold_env, msa_env, multi_env\n" in done.err
    assert "hint: say where to: `registry = " in done.err
    assert "Traceback" not in done.out + done.err


@pytest.mark.skipif("registry" not in ImageConfig.__dataclass_fields__, reason="this SDK has no `image.registry`")
def test_the_registry_of_flytes_own_configuration(site: Site, project: Path) -> None:
    site.configure(project, registry=f"{site.registry.host}/team")
    site.ok("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project, FLYTE_BUILD_REGISTRY="")
    assert all_by_digest(site, site.backend.runs[-1].task_spec.task_template)


def test_a_stale_lock(site: Site, project: Path) -> None:
    file = project / "fold" / "run.py"
    file.write_text(file.read_text().replace('"alpha"', '"beta"'))
    runs = len(site.backend.runs)
    done = site.run("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project)
    assert done.code == 4
    assert "fold_env: step 1 (pip), requirements: −alpha, +beta" in done.err
    assert "hint: run `flyte lock main.py`" in done.err
    assert len(site.backend.runs) == runs


def test_no_lock_is_written_where_that_is_forbidden(site: Site, project: Path) -> None:
    for path in (project / "lockfiles").glob("*.json"):
        path.unlink()
    done = site.run("flyte", "build", "main.py", "env", cwd=project, FLYTE_BUILD_LOCKED="1")
    assert done.code == 4
    assert "locks are stale or missing" in done.err
    assert not list((project / "lockfiles").glob("*.json"))


def test_turned_off(site: Site, project: Path) -> None:
    """Then the SDK does as it does: without Docker to ask, it takes the image of its tag for built."""
    site.ok("flyte", "deploy", "main.py", "env", cwd=project, FLYTE_BUILD_PIN="off", PATH="/nowhere")
    assert not any(all_by_digest(site, r.spec.task_template) for r in site.backend.deployed[-3:])


ARGUMENTS = """
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("x", extra_args="--no-deps")
bad = flyte.TaskEnvironment("bad", image=image)


@bad.task
def work(x: int = 1) -> int:
    return x
"""


def test_what_cannot_be_hermetic_is_refused_with_the_way_out(site: Site, tmp_path: Path) -> None:
    folder = site.write(tmp_path / "project", {"bad.py": ARGUMENTS})
    done = site.run("flyte", "run", "bad.py", "work", cwd=folder)
    assert done.code == 7
    assert "error: environment bad: PipPackages: the pip arguments `--no-deps` have no place in a lock" in done.err
    assert "index_url, extra_index_urls and pre are supported" in done.err
    assert "$FLYTE_BUILD_POLICY=delegate" in done.err
    assert "Traceback" not in done.out + done.err


def test_what_cannot_be_hermetic_is_delegated_where_the_policy_says_so(site: Site, tmp_path: Path) -> None:
    """The SDK, without Docker to ask, takes the image of its tag for built; the other environment is pinned."""
    good = 'good = flyte.TaskEnvironment("good", image=flyte.Image.from_debian_base(python_version=(3, 11)))'
    text = ARGUMENTS.replace("bad =", f"{good}\nbad =").replace("image=image", "image=image, depends_on=[good]")
    folder = site.write(tmp_path / "project", {"bad.py": text})
    site.ok("flyte-build", "lock", "bad.py", "--env", "good", cwd=folder)
    delegate = {"FLYTE_BUILD_POLICY": "delegate", "PATH": "/nowhere"}
    done = site.ok("flyte", "run", "bad.py", "work", cwd=folder, **delegate)
    said = "warning: environment bad: PipPackages: the pip arguments `--no-deps` have no place in a lock: it is left"
    assert said in done.err
    assert "impure" in done.err
    lookup = image_lookup(site.backend.runs[-1].task_spec.task_template)
    assert DIGEST.fullmatch(lookup["good"])
    assert "@" not in lookup["bad"]


def test_an_unmodified_registry_image_stays_where_it_is(site: Site, project: Path) -> None:
    """Pinned by its own digest, and not a byte of it is pushed: no registry need be named."""
    base = f"{site.registry.host}/bases/ours:v1"
    team = site.registry.repositories["team/fold_env"]
    index = next(d for d, (_, data) in team.manifests.items() if b'"amd64"' in data and b'"arm64"' in data)
    site.registry.repositories["bases/ours"] = replace(team, tags={"v1": index})
    text = (
        "import flyte\n"
        f'e = flyte.TaskEnvironment("as_it_is", image=flyte.Image.from_base("{base}"))\n\n\n'
        "@e.task\ndef work(x: int = 1) -> int:\n    return x\n"
    )
    (project / "based.py").write_text(text)
    asked = len(site.registry.requests)
    site.ok("flyte", "run", "based.py", "work", cwd=project, FLYTE_BUILD_REGISTRY="")
    (image,) = images_of(site.backend.runs[-1].task_spec.task_template)
    assert image == f"{site.registry.host}/bases/ours@{index}"
    assert {seen.method for seen in site.registry.requests[asked:]} <= {"GET", "HEAD"}


@pytest.mark.parametrize("answer", ["tag", "digest"])
def test_an_image_named_on_the_command_line(site: Site, project: Path, answer: str) -> None:
    """Of an environment with an image by name: a digest is as good as a pin, a tag is refused."""
    digest = "sha256:" + "1" * 64
    named = f"mine=registry.example/mine{':v1' if answer == 'tag' else '@' + digest}"
    text = (
        'import flyte\ne = flyte.TaskEnvironment("e", image=flyte.Image.from_ref_name("mine"))\n\n\n'
        "@e.task\ndef work(x: int = 1) -> int:\n    return x\n"
    )
    (project / "named.py").write_text(text)
    done = site.run("flyte", "run", "--image", named, "named.py", "work", cwd=project)
    if answer == "tag":
        assert done.code == 7
        assert "names its image `registry.example/mine:v1`, by a tag" in done.err
    else:
        assert done.code == 0, done.err
        template = site.backend.runs[-1].task_spec.task_template
        assert images_of(template) == {f"registry.example/mine@{digest}"}
