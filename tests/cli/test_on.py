"""Options of runs on a target that mean nothing together, said before anything is opened."""

from __future__ import annotations

import pytest

from tests.support.offline import Offline


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--detach"], "are for runs on a target: give `--on TARGET`"),
        (["--address", "10.0.0.1"], "are for runs on a target: give `--on TARGET`"),
        (["--on", "prod", "--network", "none"], "are for sandboxes of this machine"),
        (["--on", "prod", "--verify-images"], "are for sandboxes of this machine"),
        (["--on", "prod", "--detach", "--page", "run.html"], "later, `flyte-build page --on prod RUN`"),
        (["--on", "prod", "--detach", "--driver", "here"], "and `--driver here` is none"),
    ],
)
def test_options_that_exclude_each_other(offline: Offline, options: list[str], said: str) -> None:
    done = offline("run", *options, "main.py", "main")
    assert done.code == 2
    assert said in " ".join(done.err.split())


@pytest.mark.parametrize("command", [["runs"], ["logs", "r1"], ["abort", "r1"], ["signal", "r1", "c", "true"], ["ui"]])
def test_a_target_that_nobody_set_is_said(offline: Offline, command: list[str]) -> None:
    done = offline(*command, "--on", "prod")
    assert done.code == 2
    assert "no target `prod`; none is set" in done.err


@pytest.mark.parametrize("options", [["--port", "9000"], ["--network", "none"]])
def test_what_serve_has_for_this_machine_is_not_for_a_cluster(offline: Offline, options: list[str]) -> None:
    done = offline("serve", "--on", "prod", *options, "main.py")
    assert done.code == 2
    assert f"{options[0]} is for apps on this machine, and --on prod is a cluster" in " ".join(done.err.split())
