"""What a task finds in its sandbox, the same through either engine."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from flyte_build.kernel.errors import SandboxError
from flyte_build.submit.action import ImageRoot
from flyte_build.submit.sandbox import engines, process
from flyte_build.submit.sandbox.bubblewrap import Bubblewrap
from flyte_build.submit.sandbox.entrance import choose
from flyte_build.submit.sandbox.namespaces import Unshare
from flyte_build.submit.sandbox.spec import SOCKET, Engine, Mount
from tests.support.sandboxes import box_of, run

pytestmark = pytest.mark.integration


LOOK = """
import json, os, socket, sys
def fails(f):
    try:
        f()
    except OSError as e:
        return e.strerror
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
names = sorted(os.listdir("/dev"))
print(json.dumps({
    "ids": [os.getuid(), os.getgid()],
    "env": {k: v for k, v in os.environ.items() if k != "LC_CTYPE"},
    "effective": int(status["CapEff"], 16),
    "no_new_privs": status["NoNewPrivs"],
    "processes": sorted(int(n) for n in os.listdir("/proc") if n.isdigit()),
    "write": fails(lambda: open("/usr/x", "w")),
    "etc": fails(lambda: open("/etc/x", "w")),
    "dev": [n for n in ("null", "urandom", "shm", "pts", "fd") if n in names],
    "disks": [n for n in names if n.startswith(("sd", "vd", "nvme", "mem", "kmsg"))],
    "shm": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,
    "stdin": sys.stdin.read(),
    "host": os.path.exists("HOST_FOLDER"),
    "lo": fails(lambda: socket.create_server(("127.0.0.1", 0)).close()),
    "session": os.getsid(0),
}))
"""


def test_a_task_is_alone_unprivileged_and_read_only(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    assert run(entered, box_of(image), LOOK.replace("HOST_FOLDER", str(tmp_path)), tmp_path / "log") == 0
    seen = json.loads((tmp_path / "log").read_text())
    assert seen["ids"] == [1000, 1000]
    assert seen["env"] == {"ONE": "1"}
    assert seen["effective"] == 0
    assert seen["no_new_privs"] == "1"
    assert seen["processes"] == [1, 2]
    assert seen["write"] == seen["etc"] == "Read-only file system"
    assert seen["dev"] == ["null", "urandom", "shm", "pts", "fd"]
    assert seen["disks"] == []
    assert seen["shm"] == 1 << 20
    assert seen["stdin"] == ""
    assert seen["host"] is False
    assert seen["lo"] is None
    assert seen["session"] == 1  # as in a container: no terminal of the host's can be reached


def test_without_network_there_is_loopback_only(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        assert run(entered, box_of(image), code, tmp_path / "shared") == 0
        assert run(entered, box_of(image, network="none"), code, tmp_path / "none") == 1
    assert "Connection refused" in (tmp_path / "none").read_text()
    names = "print(open('/proc/net/dev').read(), end='')"
    assert run(entered, box_of(image, network="none"), names, tmp_path / "devices") == 0
    assert [line.split(":")[0].strip() for line in (tmp_path / "devices").read_text().splitlines()[2:]] == ["lo"]


def test_mounts_are_seen_with_their_rights(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    for name in ("free", "fixed"):
        (tmp_path / name).mkdir()
    mounts = (Mount(tmp_path / "free", "/home/flyte", writable=True), Mount(tmp_path / "fixed", "/mnt/flyte"))
    code = "open('/home/flyte/new', 'w').write('x'); open('/mnt/flyte/new', 'w')"
    assert run(entered, box_of(image, *mounts), code, tmp_path / "log") == 1
    assert (tmp_path / "free" / "new").read_text() == "x"
    assert (tmp_path / "free" / "new").stat().st_uid == os.getuid()
    assert "Read-only file system" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("code", "expected"),
    [("raise SystemExit(7)", 7), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137), ("pass", 0)],
)
def test_the_exit_code_is_the_commands_own(
    entered: Engine, image: ImageRoot, tmp_path: Path, code: str, expected: int
) -> None:
    assert run(entered, box_of(image), code, tmp_path / "log") == expected


def test_a_missing_program_is_named(engine: Engine, image: ImageRoot, tmp_path: Path) -> None:
    async def go() -> int:
        env = {"PATH": "/nowhere"}
        running = await process.start(engine, box_of(image), ["a0"], env, "/", output=tmp_path / "log")
        return await running.wait()

    assert asyncio.run(go()) == 127
    assert "a0: not found in the image's PATH (/nowhere)" in (tmp_path / "log").read_text()


def test_stop_asks_then_kills_everything(engine: Engine, image: ImageRoot, tmp_path: Path) -> None:
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); print('up', flush=True)"
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(9)); print('up', flush=True)"

    async def go(code: str, log: Path) -> tuple[int, float]:
        argv = ["/usr/bin/env", sys.executable, "-c", f"{code}; time.sleep(60)"]
        running = await process.start(engine, box_of(image), argv, {}, "/", output=log)
        while "up" not in (log.read_text() if log.exists() else ""):
            await asyncio.sleep(0.02)
        start = time.monotonic()
        return await running.stop(grace=1), time.monotonic() - start

    code, took = asyncio.run(go(deaf, tmp_path / "deaf"))
    assert code == 137
    assert took >= 1
    code, _ = asyncio.run(go(polite, tmp_path / "polite"))
    assert code == 9


def test_orphans_are_reaped_and_die_with_the_command(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    code = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)          # an orphan, adopted by process 1
    os._exit(0)
os.wait(); time.sleep(0.3)
states = [open(f"/proc/{n}/stat").read().split()[2] for n in os.listdir("/proc") if n.isdigit()]
print(states.count("Z"))
if os.fork() == 0:
    time.sleep(60)           # left behind
"""
    start = time.monotonic()
    assert run(entered, box_of(image), code, tmp_path / "log") == 0
    assert (tmp_path / "log").read_text() == "0\n"
    assert time.monotonic() - start < 20


def test_the_services_socket_is_reached_through_a_local_port(engine: Engine, image: ImageRoot, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def echo() -> None:
        for _ in range(2):
            client, _ = server.accept()
            with client:
                while data := client.recv(1 << 16):
                    client.sendall(data[::-1])

    threading.Thread(target=echo, daemon=True).start()
    code = """
import os, socket
from urllib.parse import urlsplit
url = urlsplit(os.environ["_U_EP_OVERRIDE"])
for word in (b"abc", b"x" * 300000):
    with socket.create_connection((url.hostname, url.port), 10) as s:
        s.sendall(word); s.shutdown(socket.SHUT_WR)
        got = b"".join(iter(lambda: s.recv(65536), b""))
        print(url.path, len(got), got[:3].decode())
"""

    async def go() -> int:
        box = box_of(image, Mount(path, SOCKET, writable=True), network="none")
        env = {"_U_EP_OVERRIDE": "http://127.0.0.1:0/token"}
        argv = [box.python, "-c", code]
        running = await process.start(engine, box, argv, env, "/", output=tmp_path / "log", forward=True)
        return await running.wait()

    assert asyncio.run(go()) == 0
    assert (tmp_path / "log").read_text() == "/token 3 cba\n/token 300000 xxx\n"
    server.close()


def test_secret_files_are_the_tasks_alone_and_on_no_disk(entered: Engine, image: ImageRoot, tmp_path: Path) -> None:
    path = "/run/secrets/team/key"
    code = f"import os; print(open({path!r}).read(), oct(os.stat({path!r}).st_mode), os.stat({path!r}).st_uid)"
    assert run(entered, box_of(image), code, tmp_path / "log", files={path: "hush"}) == 0
    assert (tmp_path / "log").read_text() == "hush 0o100400 1000\n"
    (tmp_path / "log").unlink()
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and b"hush" in p.read_bytes()]


def test_an_engine_that_is_refused_says_why_and_the_next_is_tried() -> None:
    liar = Bubblewrap("/bin/false")
    refused = engines.probe(liar)
    assert refused == "exit code 1"
    good = next(e for e in engines.available() if isinstance(e, Unshare))
    assert choose(network="host", engines=[liar, good]).engine is good
    with pytest.raises(SandboxError, match=r"refuses to isolate a task \(bubblewrap tried\)") as caught:
        choose(network="host", engines=[liar])
    assert caught.value.hint
    assert caught.value.detail == "bubblewrap: exit code 1"


def test_no_engine_at_all_names_what_to_install() -> None:
    with pytest.raises(SandboxError, match="neither `bwrap` nor `unshare` is installed") as caught:
        choose(engines=[])
    assert "apt install bubblewrap" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("switch", "value", "expected"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("", "", "--security-opt"),
    ],
)
def test_a_refusal_is_explained_by_the_kernels_switches(switch: str, value: str, expected: str) -> None:
    assert expected in engines.explain(lambda path: value if path == switch else None)
