"""What the local launcher gives a sandbox, without starting one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.kernel.errors import ArtifactError
from flyte_build.submit import fresh
from flyte_build.submit.action import ImageRoot, LaunchRequest, Outcome, Resources, SecretRef
from flyte_build.submit.local import LocalLauncher
from flyte_build.submit.observer import Collector
from flyte_build.submit.sandbox.bubblewrap import Bubblewrap
from flyte_build.submit.secrets import MissingSecret, Secrets, resolve, variable
from flyte_build.submit.storage import Storage

REQUEST = LaunchRequest("r", "a0", 1, "env.task", "sha256:aa", ("a0",), {"PATH": "/task", "RUN_NAME": "r"}, Path("log"))


def launcher(folder: Path, **options: Any) -> LocalLauncher:
    run = Storage(folder / "runs").run("r")
    for path in (run.meta, run.raw, run.bundles):
        path.mkdir(parents=True, exist_ok=True)
    fields: dict[str, Any] = {
        "images": lambda digest: image(folder),
        "token": "t",
        "observer": Collector(),
        "cgroups": Cgroups(None, None, unified=False),
        "environment": {},
    }
    return LocalLauncher(folder=run, engine=Bubblewrap("/bin/false"), **(fields | options))


def image(folder: Path, workdir: str = "", env: tuple[str, ...] = ()) -> ImageRoot:
    (folder / "root").mkdir(exist_ok=True)
    return ImageRoot("sha256:aa", folder / "root", "/usr/bin/python3", env, workdir)


def test_only_the_images_and_the_tasks_variables_get_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_ONLY", "1")
    made = fresh.environment(
        image(tmp_path, env=("PATH=/image", "LANG=C", "HOME=/opt")), REQUEST, Secrets({"KEY": "v"}), "t"
    )
    assert made == {
        "HOME": "/opt",
        "USER": "flyte",
        "LOGNAME": "flyte",
        "PYTHONUNBUFFERED": "1",
        "_F_MAX_QPS": "2000",
        "PATH": "/task",
        "LANG": "C",
        "RUN_NAME": "r",
        "KEY": "v",
        "_U_EP_OVERRIDE": "http://127.0.0.1:0/t",
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
    }


@pytest.mark.parametrize(
    ("workdir", "folders"),
    [
        ("", {"/home/flyte"}),
        ("/", {"/home/flyte"}),
        ("/home/flyte/app", {"/home/flyte"}),
        ("/app/", {"/app", "/home/flyte"}),
    ],
)
def test_the_working_directory_is_fresh_and_has_what_the_image_put_there(
    tmp_path: Path, workdir: str, folders: set[str]
) -> None:
    root = tmp_path / "root"
    for name in ("app", "home/flyte/app"):
        (root / name).mkdir(parents=True)
        (root / name / "data").write_text("image")
    made = launcher(tmp_path)
    mounts = fresh.mounts_of(image(tmp_path, workdir), tmp_path / "scratch", made.folder, made.network, None)
    writable = {m.target: m.source for m in mounts if m.writable}
    assert folders | {"/root", "/tmp", "/var/tmp"} == {t for t in writable if not t.startswith(("/mnt", "/run"))}
    own = writable["/app" if workdir == "/app/" else "/home/flyte"]
    data = own / ("data" if workdir == "/app/" else "app/data")
    assert data.read_text() == "image"
    data.write_text("task")
    assert (root / "app" / "data").read_text() == (root / "home/flyte/app/data").read_text() == "image"
    assert writable["/tmp"].stat().st_mode & 0o7777 == 0o1777


def test_of_other_runs_only_what_was_shown_is_seen(tmp_path: Path) -> None:
    made = launcher(tmp_path)
    mounts = fresh.mounts_of(image(tmp_path), tmp_path / "scratch", made.folder, made.network, None)
    storage = {m.target: m.writable for m in mounts if m.target.startswith("/mnt/flyte")}
    assert storage == {
        "/mnt/flyte/runs": False,
        "/mnt/flyte/runs/r/kept": False,
        "/mnt/flyte/runs/r/meta": True,
        "/mnt/flyte/runs/r/raw": True,
        "/mnt/flyte/bundles": False,
    }


def test_what_this_machine_cannot_give_is_said_once(tmp_path: Path) -> None:
    made = launcher(tmp_path)
    asked = LaunchRequest(
        "r", "a0", 1, "t", "i", (), {}, Path("log"), Resources(cpu=1, memory=1 << 20, accelerator="gpu: 1")
    )
    assert made._limits(asked) is made._limits(asked) is None
    assert made.observer.warnings == [  # type: ignore[attr-defined]
        "tasks run without the accelerators they ask for (gpu: 1) on this machine",
        "memory limits are not enforced here: this user may make no control group for memory",
        "cpu limits are not enforced here: this user may make no control group for cpu",
    ]


def test_an_image_that_cannot_be_had_is_the_attempts_outcome(tmp_path: Path) -> None:
    def refuses(digest: str) -> ImageRoot:
        raise ArtifactError(f"image {digest} has no Python", hint="use another")

    outcome = asyncio.run(launcher(tmp_path, images=refuses).launch(REQUEST))
    assert outcome == Outcome(1, "error", "image sha256:aa has no Python; use another", "ImageUnusable")


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        (SecretRef("my-key"), "MY_KEY"),
        (SecretRef("my-key", "team-a"), "TEAM_A_MY_KEY"),
        (SecretRef("my-key", "team", "OPENAI"), "OPENAI"),
    ],
)
def test_secrets_are_named_as_flytes_local_mode_names_them(secret: SecretRef, name: str) -> None:
    assert variable(secret) == name
    found = resolve([secret], {name: "v"})
    assert found == (Secrets({"OPENAI": "v"}) if secret.env else Secrets(files={name_of(secret): "v"}))
    with pytest.raises(MissingSecret, match=f"environment variable {name}"):
        resolve([secret], {})


def name_of(secret: SecretRef) -> str:
    return f"{secret.group}/{secret.key}" if secret.group else secret.key
