"""The script of the CI recipe, with a program that only writes down what it is told; and what GitHub and GitLab say."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.support.ci import PIPELINE, Runner, commit


@pytest.fixture
def told(tmp_path: Path) -> Runner:
    """A runner whose program writes its arguments to ``told`` and ends as ``FAIL_<step>`` says."""
    origin = tmp_path / "origin"
    origin.mkdir()
    (origin / "main.py").write_text("")
    commit(origin, "all")
    program = tmp_path / "program"
    program.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            printf '%s\\n' "$*" >>{tmp_path}/told
            echo "$1 says so"
            eval "exit \\${{FAIL_$1:-0}}"
            """
        )
    )
    program.chmod(0o755)
    return Runner(tmp_path / "runner", origin, {"PATH": os.environ["PATH"]}, str(program))


def commands(runner: Runner) -> list[str]:
    path = runner.home.parent / "told"
    return path.read_text().splitlines() if path.exists() else []


def test_the_steps_in_their_order(told: Runner) -> None:
    done = told.ok("main.py", "main")
    assert commands(told) == [
        "lock main.py --check",
        "plan main.py main --platform all --locked --check",
        "push main.py main --platform all --locked",
        "verify main.py main --platform all",
    ]
    announced = [line for step in ("lock", "plan", "push", "verify") for line in (f"==> {step}", f"{step} says so")]
    assert done.out.splitlines() == announced
    assert done.err == ""


def test_everything_is_told_by_the_environment(told: Runner) -> None:
    images = told.home / "images"
    variables = {"PIPELINE_PLATFORM": "linux/arm64", "PIPELINE_TAGS": "main v3", "PIPELINE_IMAGES": str(images)}
    done = told.ok("main.py", steps="push build", **variables)
    assert commands(told) == [
        "push main.py --platform linux/arm64 --locked --tag main --tag v3 --quiet",
        "build main.py --platform linux/arm64 --locked",
    ]
    assert images.read_text() == "push says so\n"
    assert done.out.splitlines() == ["==> push", "push says so", "==> build", "build says so"]


def test_a_tag_is_never_taken_for_files(told: Runner) -> None:
    told.ok("main.py", steps="push", PIPELINE_TAGS="*")
    assert commands(told) == ["push main.py --platform all --locked --tag *"]


@pytest.mark.parametrize(
    ("step", "code"), [("lock", 4), ("plan", 10), ("push", 15), ("push", 14), ("verify", 15), ("lock", 130)]
)
def test_the_first_failure_ends_it_with_the_programs_own_exit_code(told: Runner, step: str, code: int) -> None:
    done = told.pipeline("main.py", **{f"FAIL_{step}": str(code)})
    assert done.code == code
    steps = ["lock", "plan", "push", "verify"]
    assert [line.split()[0] for line in commands(told)] == steps[: steps.index(step) + 1]
    assert done.err == f"pipeline: {step} failed with exit code {code}\n"


def test_folds_and_annotations_on_github(told: Runner) -> None:
    images = told.home / "images"
    done = told.pipeline(
        "main.py", steps="plan push lock", GITHUB_ACTIONS="true", PIPELINE_IMAGES=str(images), FAIL_push="14"
    )
    assert done.code == 14
    assert commands(told)[0] == "plan main.py --platform all --locked --check --format github"
    assert done.out.splitlines() == ["::group::plan", "plan says so", "::endgroup::", "::group::push", "::endgroup::"]
    assert images.read_text() == "push says so\n", "the log's own lines are not among the images"


@pytest.mark.parametrize(
    ("arguments", "steps", "said"),
    [
        ((), None, "expected FILE [TASK]"),
        (("--help",), None, "expected FILE [TASK], found `--help`"),
        (("main.py", "main", "more"), None, "found 3 arguments"),
        (("main.py",), "lock deploy", "no step `deploy`; there are: lock, plan, build, push, verify"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_runs(
    told: Runner, arguments: tuple[str, ...], steps: str | None, said: str
) -> None:
    done = told.pipeline(*arguments, steps=steps)
    assert (done.code, done.out, commands(told)) == (2, "", [])
    assert said in done.err


# -- what GitHub and GitLab are told ---------------------------------------------------------------------

WRAPPERS = ("github.yml", "gitlab.yml")


def environments(name: str) -> dict[str, dict[str, str]]:
    """The variables that each job's pipeline runs with."""
    document = yaml.safe_load((PIPELINE.parent / name).read_text())
    if name == "github.yml":
        jobs = {
            job: [s for s in spec["steps"] if "pipeline.sh" in s.get("run", "")]
            for job, spec in document["jobs"].items()
        }
        return {job: document["env"] | step["env"] for job, [step] in jobs.items()}
    found = {}
    for job, spec in document.items():
        if "script" in spec:
            variables: dict[str, str] = {}
            while spec is not None:
                variables = spec.get("variables", {}) | variables
                spec = document.get(spec.get("extends"))
            found[job] = variables
    return found


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_wrappers_say_what_the_script_and_the_program_read(name: str) -> None:
    script = PIPELINE.read_text()
    program = "".join(path.read_text() for path in (PIPELINE.parents[2] / "flyte_build").rglob("*.py"))
    jobs = environments(name)
    assert len(jobs) == 3
    for variables in jobs.values():
        assert (PIPELINE.parents[2] / variables["FILE"]).is_file()
        for variable in variables.keys() - {"FILE"}:
            assert variable in (script if variable.startswith("PIPELINE_") else program)
        for step in variables.get("PIPELINE_STEPS", "lock").split():
            assert f"\n{step}() {{" in script


@pytest.mark.parametrize("name", WRAPPERS)
def test_only_main_writes_to_the_teams_cache(name: str) -> None:
    jobs = environments(name)
    written = {
        job: v["FLYTE_BUILD_REMOTE_CACHE"].split()[0] for job, v in jobs.items() if "FLYTE_BUILD_REMOTE_CACHE" in v
    }
    shared = "registry.example/team/cache"
    assert {job for job, cache in written.items() if cache == shared} == {"main", "verify"} & jobs.keys()
    assert "push" not in jobs.get("verify", {}).get("PIPELINE_STEPS", "")
    assert written["review"] == "registry.example/team/review/cache"
    assert jobs["review"]["FLYTE_BUILD_REMOTE_CACHE"].split()[1] == shared
    assert jobs["review"]["FLYTE_BUILD_REGISTRY_PASSWORD"] != jobs["main"]["FLYTE_BUILD_REGISTRY_PASSWORD"]
