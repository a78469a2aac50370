"""What ``serve`` decides before anything runs: which app, which port, and whether the code changed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError, LoadError
from flyte_build.project.nouns import Environment
from flyte_build.workbench.serving import app_named, bound
from flyte_build.workbench.snapshots import snapshot


def environments(*apps: str) -> dict[str, Environment]:
    found = {name: Environment(name, (), "main.py", LoadError(""), app=object()) for name in apps}
    return {**found, "env": Environment("env", (), "main.py", LoadError(""))}


def test_the_only_app_need_not_be_named() -> None:
    assert app_named(environments("front"), None).name == "front"
    assert app_named(environments("front", "back"), "back").name == "back"


@pytest.mark.parametrize(
    ("apps", "name", "says"),
    [
        (("front", "back"), None, "2 app environments: front, back"),
        (("front",), "env", "no app environment `env`; there are: front"),
        ((), None, "no app environment; there are: none"),
    ],
)
def test_which_app_is_meant_is_asked(apps: tuple[str, ...], name: str | None, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        app_named(environments(*apps), name)


def test_a_port_that_is_taken_is_replaced_unless_it_was_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with bound(port, None) as other:
            assert other.getsockname()[0] == "127.0.0.1"
            assert other.getsockname()[1] != port
        with pytest.raises(InputError, match=f"port {port} of this machine: Address already in use"):
            bound(8080, port)


def test_a_change_of_the_code_is_seen_and_nothing_else(tmp_path: Path) -> None:
    for name in ("main.py", "part/own.py", "data.csv", ".venv/x.py", "env/pyvenv.cfg", "env/x.py", "__pycache__/y.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("1")
    before = snapshot(tmp_path)
    assert sorted(before) == ["main.py", "part/own.py"]
    (tmp_path / "data.csv").write_text("22")
    assert snapshot(tmp_path) == before
    os.utime(tmp_path / "part/own.py", ns=(1, 1))
    assert snapshot(tmp_path) == {**before, "part/own.py": (1, 1)}
