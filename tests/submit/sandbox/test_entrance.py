"""What is put around an engine, and which of it where a machine cannot give all: no sandbox is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import SandboxError
from flyte_build.submit.fresh import resolver
from flyte_build.submit.sandbox import entrance as module
from flyte_build.submit.sandbox.bubblewrap import Bubblewrap
from flyte_build.submit.sandbox.entrance import Entrance, Outlet, choose, entrance, free_owner, free_subnet
from flyte_build.submit.sandbox.namespaces import Unshare
from flyte_build.submit.sandbox.outside.outlet import own_addresses
from flyte_build.submit.sandbox.spec import Engine, Mount, Network, Sandbox

OUTLET = Outlet("/usr/bin/slirp4netns", "10.0.2.0/24")
BOX = Sandbox(
    Path("/image"), "/bin/python", (Mount(Path("/root/a"), "/a"), Mount(Path("/root/b"), "/b", writable=True))
)


# -- commands --------------------------------------------------------------------------------------


def around(command: Sequence[str]) -> list[str]:
    """What is said before ``--`` to what runs around the engine."""
    assert command[1:4] == ["-I", "-S", "-c"]
    return list(command[5 : command.index("--", 5)])


def test_an_engine_with_nothing_around_it_is_as_it_was() -> None:
    engine = Bubblewrap("/usr/bin/bwrap")
    for network in ("host", "none"):
        box = Sandbox(Path("/image"), "/bin/python", network=network)
        assert Entrance(engine, network).command(box, 7) == engine.command(box, 7)
        assert ("--unshare-net" in engine.command(box)) == (network == "none")


@pytest.mark.parametrize("engine", [Bubblewrap("/usr/bin/bwrap"), Unshare("/usr/bin/unshare")], ids=lambda e: e.name)
def test_a_way_out_is_made_before_the_engine_starts(engine: Engine) -> None:
    box = Sandbox(Path("/image"), "/bin/python", network="internet")
    command = Entrance(engine, "internet", None, OUTLET).command(box, 7)
    assert around(command) == ["--outlet", "/usr/bin/slirp4netns", "10.0.2.0/24"]
    assert command[command.index("--", 5) + 1 :] == engine.command(box, 7)
    assert not {"--unshare-net", "--net"} & set(command), "the engine shares what was made for it"
    # Compiling has none, whatever the run's tasks have.
    compiling = Sandbox(Path("/image"), "/bin/python", network="none")
    assert Entrance(engine, "internet", None, OUTLET).command(compiling) == engine.command(compiling)


def test_another_owner_is_shown_copies_of_the_mounts() -> None:
    command = list(Entrance(Bubblewrap("/usr/bin/bwrap"), "host", 777777, place="/mnt").command(BOX))
    sources = ["--source", "/image", "--source", "/root/a", "--source", "/root/b"]
    assert around(command) == ["--owner", "777777", "777777", "/mnt", *sources]
    shown = command[command.index("/usr/bin/bwrap") :]
    at = shown.index("/mnt/0")
    assert shown[at - 1 : at + 2] == ["--ro-bind", "/mnt/0", "/"]
    at = shown.index("/mnt/2")
    assert shown[at - 1 : at + 2] == ["--bind", "/mnt/2", "/b"]
    assert not {"/image", "/root/a", "/root/b"} & set(shown), "which its owner could not even see"


def test_the_second_half_of_unshare_is_shown_to_the_owner_too() -> None:
    engine = Unshare("/usr/bin/unshare", script=Path("/root/enter.py"))
    command = list(Entrance(engine, "host", 777777, place="/mnt").command(BOX))
    assert "/root/enter.py" in around(command)
    inner = command[command.index("/usr/bin/unshare") :]
    assert "/root/enter.py" not in inner
    assert f"/mnt/{around(command)[4:].index('/root/enter.py') // 2}" in inner


# -- what is free ----------------------------------------------------------------------------------

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
     |-- 192.0.2.2
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
     |-- 192.0.2.0
        /24 link UNICAST
Id 100:
  |-- 0.0.0.0
     /0 host LOCAL
  |-- 10.203.74.9
     /30 link UNICAST
     /32 host LOCAL
"""
ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
)


def test_a_machines_own_addresses_are_those_of_every_table() -> None:
    assert own_addresses(TRIE) == ["127.0.0.0/8", "192.0.2.2/32", "192.0.2.255/32", "10.203.74.9/32"]
    assert own_addresses("") == []


def reader(**files: str) -> Any:
    def read(path: str) -> str:
        name = path.rpartition("/")[2].partition(".")[0]
        if name not in files:
            raise FileNotFoundError(path)
        return files[name]

    return read


def test_a_subnet_hides_no_address_route_or_nameserver() -> None:
    """10.0.2.0/24 is what many a virtual machine is in itself."""
    assert free_subnet(reader(fib_trie="", route="")) == "10.0.2.0/24"
    assert free_subnet(reader(fib_trie=TRIE, route=ROUTES)) == "172.29.188.0/24"
    names = "nameserver ::1\nnameserver 172.29.188.53\n"
    assert free_subnet(reader(fib_trie=TRIE, route=ROUTES, resolv=names)) == "192.168.233.0/24"
    assert Outlet("x", "172.29.188.0/24").nameserver == "172.29.188.3"


def test_an_owner_is_nobody_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    everyone = "0 0 4294967295\n"
    # All but one of them are somebody's.
    monkeypatch.setattr(module, "_OWNERS", (1000, 1005))
    files = {
        "passwd": "a:x:1000:1::/:/bin/sh\n",
        "group": "b:x:1001:\n",
        "subuid": "a:1002:2\n",
        "subgid": "a:1002:2\n",
    }
    assert free_owner(reader(uid_map=everyone, **files)) == 1004
    assert free_owner(reader(uid_map=everyone)) in range(1000, 1005)
    assert free_owner(reader(uid_map="0 1000 1\n")) is None, "root of a user namespace is a user outside"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert free_owner(reader(uid_map=everyone)) is None


# -- what a machine can give -----------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    name: str

    def command(self, box: Sandbox, seccomp: int | None = None) -> Sequence[str]:
        raise AssertionError("nothing is run")


class Machine:
    """Refuses what its ``works`` refuses; ``owner`` is root's tasks', ``outlet`` what is installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: int | None, outlet: Outlet | None) -> None:
        self.refused: dict[tuple[str, Network, bool], str] = {}
        self.tried: list[tuple[str, Network, bool]] = []
        self.folders: Sequence[Path] = ()
        monkeypatch.setattr(module, "free_owner", lambda: owner)
        monkeypatch.setattr(module, "_outlet", lambda: (outlet, "slirp4netns is not installed" if not outlet else ""))
        monkeypatch.setattr(module, "probe", self.probe)

    def probe(self, engine: Engine, *, network: Network = "host", folders: Sequence[Path] = ()) -> str | None:
        self.folders = folders
        what = (engine.name, network, isinstance(engine, Entrance) and engine.owner is not None)
        self.tried.append(what)
        return next((said for refused, said in self.refused.items() if refused in (what, ("*", *what[1:]))), None)


ENGINES = (Named("one"), Named("two"))


def test_the_best_is_taken_at_the_first_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, 777777, OUTLET)
    found = choose(engines=ENGINES, folders=[tmp_path / "not/yet/there", tmp_path])
    assert (found.name, found.network, found.owner, found.said) == ("one", "internet", 777777, ())
    assert found.nameserver == "10.0.2.3"
    assert machine.tried == [("one", "internet", True)]
    assert machine.folders == (tmp_path,), "once, and as far as they exist"


def test_without_a_helper_the_default_is_the_hosts_network_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, None, None)
    found = choose(engines=ENGINES)
    assert (found.name, found.network, found.nameserver) == ("one", "host", None)
    assert found.said == (
        "tasks reach this machine's own services (slirp4netns is not installed): `apt install slirp4netns` parts them, "
        'and `network = "host"` accepts it',
    )
    assert machine.tried == [("one", "host", False)]


def test_what_the_machine_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, 777777, OUTLET)
    words = "flyte-build: sandbox: slirp4netns: open(/dev/net/tun): No such file\nchild failed(1)"
    machine.refused = {("*", "internet", True): words, ("*", "internet", False): words}
    found = choose(engines=ENGINES)
    assert (found.network, found.owner) == ("host", 777777)
    (said,) = found.said
    assert "(slirp4netns: open(/dev/net/tun): No such file): they are parted where that works" in said
    machine.refused = {("*", "internet", True): "flyte-build: sandbox: /x: its file system cannot"}
    found = choose(engines=ENGINES)
    assert (found.network, found.owner) == ("internet", None)
    assert found.said == ("tasks run as this machine's root, though without its rights (/x: its file system cannot)",)


@pytest.mark.parametrize("network", ["host", "none"])
def test_what_is_asked_for_and_given_is_no_matter_for_words(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    Machine(monkeypatch, None, None)
    found = choose(network=network, engines=ENGINES)
    assert (found.network, found.outlet, found.said) == (network, None, ())


@pytest.mark.parametrize("outlet", [None, OUTLET])
def test_a_network_that_is_asked_for_and_not_there_is_an_error(
    monkeypatch: pytest.MonkeyPatch, outlet: Outlet | None
) -> None:
    machine = Machine(monkeypatch, None, outlet)
    machine.refused = {("*", "internet", False): "no device"}
    with pytest.raises(SandboxError, match="gives tasks no network of their own, which `internet` asks for") as caught:
        choose(network="internet", engines=ENGINES)
    assert caught.value.exit_code == 11
    assert "`apt install slirp4netns`" in (caught.value.hint or "")
    assert caught.value.detail == (
        "slirp4netns is not installed" if outlet is None else "one: no device\ntwo: no device"
    )


def test_a_machine_that_isolates_nothing_is_no_matter_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, None, OUTLET)
    machine.refused = {("*", network, False): "no" for network in ("internet", "host")}
    for network in ("internet", None):
        with pytest.raises(SandboxError, match=r"refuses to isolate a task \(one and two tried\)"):
            choose(network=network, engines=ENGINES)


def test_an_entrance_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, None, None)
    mine = Entrance(ENGINES[1], "none")
    assert entrance(mine, "host", []) is mine
    assert machine.tried == []
    assert entrance(ENGINES[1], "host", []).engine is ENGINES[1]


def test_a_sandboxs_resolver_names_the_one_nameserver_that_it_reaches() -> None:
    text = "search a.example\nnameserver 127.0.0.53\n nameserver 192.0.2.2\noptions edns0\n"
    assert resolver(text, None) == text
    assert resolver(text, "10.0.2.3") == "search a.example\noptions edns0\nnameserver 10.0.2.3\n"
    assert resolver("", "10.0.2.3") == "nameserver 10.0.2.3\n"
