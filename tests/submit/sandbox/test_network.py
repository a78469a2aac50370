"""What a sandbox with a way out reaches: the world, names, and nothing of this machine's."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import flyte_build
from flyte_build.kernel.errors import SandboxError
from flyte_build.submit.action import ImageRoot
from flyte_build.submit.fresh import resolver
from flyte_build.submit.sandbox import engines
from flyte_build.submit.sandbox.entrance import Entrance, Outlet, choose
from flyte_build.submit.sandbox.spec import Engine, Mount, Sandbox
from tests.support.elsewhere import Outside, Services, outside, public_copy, readable_python, services
from tests.support.sandboxes import Forking, box_of, run
from tests.support.tools import lacking, need, need_root

pytestmark = pytest.mark.integration

GATEWAY = "10.0.2.2"
TRY = """
import json, socket
reached = []
def tried(name, family, kind, address, device):
    with socket.socket(family, kind) as s:
        s.settimeout(0.5)
        try:
            if device:
                s.setsockopt(socket.SOL_SOCKET, 25, device)  # SO_BINDTODEVICE
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1) if kind == socket.SOCK_DGRAM else None
            s.sendto(b"x", address) if kind == socket.SOCK_DGRAM else s.connect(address)
        except OSError:
            return
        if kind != socket.SOCK_DGRAM:
            reached.append(name)
for device in (None, b"tap0"):
    for address in ADDRESSES:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        tried(address, family, socket.SOCK_STREAM, (address, PORT), device)
        if ":" not in address:
            tried(address, family, socket.SOCK_DGRAM, (address, PORT), device)
tried("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\\0ABSTRACT", None)
print(json.dumps(reached))
"""


def of_the_host(found: Services) -> list[str]:
    """Every way to name this machine that comes to mind."""
    gateways = [GATEWAY, "10.0.2.3", "10.0.2.255", "255.255.255.255", "224.0.0.1"]
    own = ["127.0.0.1", "127.9.9.9", "0.0.0.1", "::1", f"::ffff:{found.address}", "::ffff:127.0.0.1", found.address]
    with open("/proc/net/if_inet6", encoding="ascii") as f:
        own += [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line.split()[0])) for line in f]
    return [*own, *gateways]


def tries(found: Services) -> str:
    code = TRY.replace("ADDRESSES", repr(of_the_host(found)))
    return code.replace("PORT", str(found.port)).replace("ABSTRACT", found.abstract)


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    with outside() as found:
        yield found


@pytest.fixture
def host() -> Iterator[Services]:
    with services() as found:
        yield found


@pytest.fixture
def internet(entered: Entrance) -> Entrance:
    need("slirp4netns")
    try:
        found = choose(network="internet", engines=[entered.engine])
        return Forking.of(found) if isinstance(entered, Forking) else found
    except SandboxError as e:
        lacking(f"{e.message}: {e.detail}")


def test_the_hosts_services_are_out_of_reach(
    internet: Entrance, image: ImageRoot, world: Outside, host: Services, tmp_path: Path
) -> None:
    """``world`` is there so that this machine has an address that a route leads to."""
    assert run(internet, box_of(image, network="internet"), tries(host), tmp_path / "log") == 0
    assert host.callers() == [], "nothing arrived, not even what was only sent"
    # A connection to its gateway's address slirp4netns may take itself, where it has much to do, and then drop.
    assert set(json.loads((tmp_path / "log").read_text())) <= {GATEWAY}


def test_the_hosts_own_network_has_them(entered: Entrance, image: ImageRoot, host: Services, tmp_path: Path) -> None:
    assert run(entered, box_of(image, network="host"), tries(host), tmp_path / "log") == 0
    reached = json.loads((tmp_path / "log").read_text())
    assert {"127.0.0.1", host.address, "abstract"} <= set(reached)
    assert {"tcp", "udp", "abstract"} <= set(host.callers())


HELLO = """
import socket
with socket.create_connection(("ADDRESS", PORT), 20) as s:
    print(s.recv(100).decode())
with socket.create_server(("127.0.0.1", 0)) as own, socket.create_connection(own.getsockname(), 5):
    print("and its own loopback")
"""


def hello(world: Outside) -> str:
    return HELLO.replace("ADDRESS", world.address).replace("PORT", str(world.port))


def test_the_world_is_reached(internet: Entrance, image: ImageRoot, world: Outside, tmp_path: Path) -> None:
    assert run(internet, box_of(image, network="internet"), hello(world), tmp_path / "log") == 0
    assert (tmp_path / "log").read_text() == "hello from outside\nand its own loopback\n"


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """``engine`` where ``file`` is what lies at ``path`` of the host."""

    engine: Engine
    file: Path
    path: str
    name: str = "elsewhere"

    def command(self, box: Sandbox, seccomp: int | None = None) -> Sequence[str]:
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        inner = self.engine.command(box, seccomp)
        return [need("unshare", "util-linux"), "--mount", "/bin/sh", "-c", script, "sh", self.file, self.path, *inner]


def answered(server: socket.socket, address: str) -> None:
    """Answer one question with ``address`` (RFC 1035, 4.1), and others of it with nothing."""
    for _ in range(2):
        question, client = server.recvfrom(512)
        end = question.index(0, 12) + 5
        count = int(struct.unpack_from("!H", question, end - 4)[0] == 1)  # AAAA has no answer
        header = question[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0)
        answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        server.sendto(header + question[12:end] + answer * count, client)


def test_names_resolve_though_the_hosts_nameserver_is_on_its_loopback(
    internet: Entrance, image: ImageRoot, tmp_path: Path
) -> None:
    need_root("a nameserver, and another resolv.conf")
    text = "search example.test\noptions timeout:5\nnameserver 127.0.0.77\n"
    (tmp_path / "host.conf").write_text(text)
    (tmp_path / "resolv.conf").write_text(resolver(text, internet.nameserver))
    where = Elsewhere(internet, tmp_path / "host.conf", os.path.realpath("/etc/resolv.conf"))
    mount = Mount(tmp_path / "resolv.conf", "/etc/resolv.conf")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.77", 53))
        threading.Thread(target=answered, args=(server, "203.0.113.9"), daemon=True).start()
        code = "import socket; print(socket.getaddrinfo('name.example.test', 80, type=1)[0][4][0])"
        assert run(where, box_of(image, mount, network="internet"), code, tmp_path / "log") == 0
    assert (tmp_path / "log").read_text() == "203.0.113.9\n"


LAUNCHER = """
import asyncio, pickle, sys
from pathlib import Path
from flyte_build.submit.sandbox import process
engine, box, log = pickle.loads(bytes.fromhex(sys.argv[1]))
async def go():
    argv = [box.python, "-c", "print('up', flush=True); import time; time.sleep(600)"]
    running = await process.start(engine, box, argv, {}, "/", output=Path(log))
    print(running.pid, flush=True)
    await running.wait()
asyncio.run(go())
"""


def below(pid: int) -> list[int]:
    """Every process below ``pid``, and itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in below(int(child)))]


def ended(handles: list[int]) -> bool:
    """Whether all of these processes end within a minute (pidfd_open(2))."""
    left = set(handles)
    while left:
        ready, _, _ = select.select(list(left), [], [], 60)
        if not ready:
            return False
        left -= set(ready)
    return True


def test_nothing_is_left_of_a_launcher_that_was_killed(internet: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")
    box = box_of(image, network="internet")
    given = pickle.dumps((internet, box, str(tmp_path / "log"))).hex()
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, given], stdout=subprocess.PIPE, text=True)
    handles = []
    try:
        with open(tmp_path / "log", encoding="utf-8") as log:
            assert launcher.stdout is not None
            pid = int(launcher.stdout.readline())
            assert log.readline() == "up\n"
            processes = below(pid)
            handles = [os.pidfd_open(p) for p in processes]
            names = [Path(f"/proc/{p}/comm").read_text().strip() for p in processes]
        assert names.count("slirp4netns") == 1, "one helper a sandbox"
        launcher.send_signal(signal.SIGKILL)
        assert ended(handles), names
    finally:
        launcher.kill()
        launcher.communicate()
        for handle in handles:
            os.close(handle)


def test_the_helper_ends_with_the_sandbox_and_before_its_launcher(internet: Entrance, image: ImageRoot) -> None:
    code = "print('up', flush=True); import time; time.sleep(600)"
    with engines.popen(internet, box_of(image, network="internet"), stdout=subprocess.PIPE, stderr=2) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"argv": [image.python, "-c", code], "env": {}, "cwd": "/"}).encode() + b"\n")
        assert child.stdout.readline() == b"up\n"
        (helper,) = [p for p in below(child.pid) if Path(f"/proc/{p}/comm").read_text() == "slirp4netns\n"]
        handle = os.pidfd_open(helper)
        child.stdin.write(b"t")
        assert child.wait(60) == 143
        assert ended([handle])
        os.close(handle)


@pytest.mark.parametrize(
    ("script", "closed", "code", "said"),
    [
        ("exec sleep 600", True, 137, ""),
        ("echo no device >&2; exit 1", False, 125, "flyte-build: sandbox: helper: no device\n"),
        ("exit 0", False, 125, "flyte-build: sandbox: helper: it ended before there was a network\n"),
    ],
)
def test_a_helper_that_hangs_or_fails(
    engine: Entrance, image: ImageRoot, tmp_path: Path, script: str, closed: bool, code: int, said: str
) -> None:
    """It hangs no longer than there is a launcher."""
    helper = tmp_path / "helper"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    broken = Entrance(engine.engine, "internet", None, Outlet(str(helper), "10.0.2.0/24"))
    box = box_of(image, network="internet")
    with engines.popen(broken, box, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        if closed:
            child.stdin.close()
        assert child.wait(60) == code
        assert child.stdout.read().decode() == said


AS_USER = """
import json, os, subprocess, sys
from pathlib import Path
from flyte_build.submit.sandbox import engines, entrance
from flyte_build.submit.sandbox.spec import Sandbox
seen = {}
for engine in engines.available():
    found = entrance.choose(network="internet", engines=[engine])
    assert found.owner is None and found.said == ()
    box = Sandbox(Path("/"), os.path.realpath(sys.executable), (engines.init_mount(),), network="internet")
    said = []
    for code in sys.argv[1:]:
        with engines.popen(found, box, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
            header = {"argv": [box.python, "-I", "-S", "-c", code], "env": {}, "cwd": "/"}
            child.stdin.write(json.dumps(header).encode() + b"\\n")
            said.append(child.stdout.read().decode())
            child.wait()
    seen[engine.name] = said
print(json.dumps(seen))
"""


def test_a_user_who_is_not_root_has_the_same(world: Outside, host: Services) -> None:
    need_root("being another user")
    need("slirp4netns")
    script = 'mknod -m 666 "$1" c 10 200 && mount --bind "$1" /dev/net/tun && shift && exec "$@"'
    user = [need("setpriv", "util-linux"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="flyte-build-user-") as made:
        folder = Path(made)
        public_copy(folder, Path(flyte_build.__file__).parent)
        # Where udev does not run, the device may be root's alone.
        outer = [need("unshare", "util-linux"), "--mount", "/bin/sh", "-c", script, "sh", str(folder / "tun")]
        python = ["env", f"PYTHONPATH={folder}", readable_python(), "-B"]
        done = subprocess.run(
            [*outer, *user, *python, "-c", AS_USER, hello(world), tries(host)],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            cwd="/",
        )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen.keys() == {"bubblewrap", "unshare"}
    for greeted, reached in seen.values():
        assert greeted == "hello from outside\nand its own loopback\n"
        assert set(json.loads(reached)) <= {GATEWAY}
    assert host.callers() == []
