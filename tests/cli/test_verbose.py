"""``--verbose``: what is asked of whom, and never a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from flyte_build.cli.app import cli
from tests.support.offline import Offline
from tests.support.registry import RegistryServer

CANARY = "canary-3f9a7c"


@pytest.fixture(params=["basic", "bearer"])
def closed(request: pytest.FixtureRequest) -> Iterator[RegistryServer]:
    with RegistryServer(auth=request.param, user="builder", password=CANARY) as server:
        yield server


def test_requests_caches_solvers_and_programs_are_told_and_no_secret(
    offline: Offline, closed: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = offline.index.url.replace("://", f"://me:{CANARY}@")
    monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_USER", "builder")
    monkeypatch.setenv("FLYTE_BUILD_REGISTRY_PASSWORD", CANARY)
    (offline.project / "pyproject.toml").write_text(
        f'[tool.flyte-build]\nregistry = "{closed.host}/team"\ncache = ["{closed.host}/team/cache"]\n'
    )
    lock = offline.ok("lock", "-v", "flow.py")
    push = offline.ok("push", "--verbose", "flow.py")
    said = lock.err + push.err
    assert CANARY not in said + lock.out + push.out
    basic = re.findall(r"(?i)bearer \S+|authorization|basic \S+=", said)
    assert basic == []
    for line in (
        r"^ +\d+\.\d{3} s  solver  uv: \d+ requirements: \d+ ms$",
        r"^ +\d+\.\d{3} s  solver  Debian: \d+ packages asked for: \d+ ms$",
        r"^ +\d+\.\d{3} s  http    206 GET http://127\.0\.0\.1:\d+/…/alpha-1\.0-py3-none-any\.whl \d+ ms$",
        r"^ +\d+\.\d{3} s  tool    uv .*pip compile",
        r"^ +\d+\.\d{3} s  cache   0 of 2 derivations known to ",
        r"^ +\d+\.\d{3} s  plan    low linux/amd64: build, ",
        r"^ +\d+\.\d{3} s  http    401 \w+ http://[^ ]*/v2/team/",
        r"^ +\d+\.\d{3} s  work    resolving low, top",
        r"^ +\d+\.\d{3} s  store   \d+ layers to assemble; artifacts to fetch: \d+$",
    ):
        assert re.search(line, said, re.MULTILINE), f"{line}\n{said}"
    # Nobody hears of the next command, and what is on record is no answer to who wants to see what is done.
    assert " s  http " not in offline.ok("plan", "flow.py").err
    assert " s  plan " in offline.ok("plan", "-v", "flow.py").err


def test_every_command_has_it() -> None:
    import click

    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            assert [o for p in leaf.params for o in p.opts if o in ("-v", "--verbose")] == ["-v", "--verbose"], name
            assert len([p for p in leaf.params if p.name == "verbose"]) == 1
