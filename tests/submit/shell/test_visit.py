"""A visit to an image: a command in a sandbox, and streams that never are the host's own."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flyte_build.kernel.cgroups import Cgroups
from flyte_build.kernel.errors import RunError
from flyte_build.submit.action import ImageRoot
from flyte_build.submit.gpus.here import gpus_here
from flyte_build.submit.limits import TaskLimits
from flyte_build.submit.sandbox.entrance import Entrance
from flyte_build.submit.shell.streams import Streams
from flyte_build.submit.shell.visit import Visit, shell_of, visit
from tests.submit.gpus.machine import machine
from tests.support.flyte_files import host_image

pytestmark = pytest.mark.integration

STREAMS = """
import json, os, stat, sys
def opens(path):
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as e:
        return e.strerror
kinds = [stat.S_IFMT(os.fstat(n).st_mode) for n in range(3)]
print(json.dumps({
    "pipes": [k == stat.S_IFIFO for k in kinds],
    "files": sorted(int(n) for n in os.listdir("/proc/self/fd"))[:-1],
    "terminal": [os.isatty(n) for n in range(3)],
    "tty": opens("/dev/tty"),
    "home": os.environ.get("HOST_SECRET"),
    "ids": [os.getuid(), os.getgid()],
    "read": sys.stdin.read(),
}))
"""


@pytest.fixture
def image(tmp_path: Path) -> ImageRoot:
    return host_image(tmp_path, f"sha256:{1:064x}")


class Heard:
    """What came out, and an event for the words that are waited for."""

    def __init__(self, until: bytes = b"\0") -> None:
        self.out: dict[int, bytes] = {1: b"", 2: b""}
        self._until, self.event = until, threading.Event()

    def __call__(self, number: int, data: bytes) -> None:
        self.out[number] += data
        if self._until in self.out[number]:
            self.event.set()


def go(engine: Entrance, asked: Visit, folder: Path, source: int | None = None) -> tuple[int, Heard]:
    heard = Heard()
    code = visit(engine, asked, Streams(source, heard), folder, pytest.fail)
    assert [p.name for p in folder.iterdir()] == []
    return code, heard


def test_pipes_carry_what_is_said_and_the_exit_code(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"words")
    os.close(write)
    asked = Visit(image, [image.python, "-c", f"{STREAMS}\nsys.stderr.write('aside'); sys.exit(3)"])
    code, heard = go(engine, asked, tmp_path / "visits", read)
    os.close(read)
    assert (code, heard.out[2]) == (3, b"aside")
    assert json.loads(heard.out[1]) == {
        "pipes": [True, True, True],
        "files": [0, 1, 2],
        "terminal": [False, False, False],
        "tty": "No such device or address",
        "home": None,
        "ids": [1000, 1000],
        "read": "words",
    }


def test_its_outputs_can_be_opened_by_name(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    asked = Visit(image, ["sh", "-c", "echo one > /dev/stdout; echo two > /dev/stderr"])
    code, heard = go(engine, asked, tmp_path / "visits")
    assert (code, heard.out) == (0, {1: b"one\n", 2: b"two\n"})


def test_devices_that_are_given_are_there(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    both = gpus_here(machine(tmp_path / "machine", 2))
    script = "ls /dev | grep nvidia; echo $NVIDIA_VISIBLE_DEVICES; nvidia-smi"
    asked = Visit(image, ["sh", "-c", script], gpus=replace(both, devices=both.devices[:1]))
    code, heard = go(engine, asked, tmp_path / "visits")
    assert (code, heard.out[2]) == (0, b"")
    assert heard.out[1].decode().split() == [
        "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidiactl", "GPU-0", "ours"
    ]  # fmt: skip


def test_what_is_not_there_is_said(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    code, heard = go(engine, Visit(image, ["nothing-of-the-kind"]), tmp_path / "visits")
    assert code == 127
    assert b"nothing-of-the-kind: not found in the image's PATH (" in heard.out[2]


def test_the_code_is_where_a_task_has_it_and_never_beyond(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    # What an image could have where the code goes: links that lead out, and a file that is another's.
    (image.root / "home/flyte/pack").symlink_to(outside)
    (image.root / "home/flyte/own.py").symlink_to(outside / "own.py")
    (tmp_path / "own.py").write_text("VALUE = 7\n")
    asked = Visit(
        image, ["python", "-c", "import own, os; print(own.VALUE, os.getcwd(), os.environ['ONE'])"],
        {"ONE": "1"}, {"own.py": tmp_path / "own.py"},
    )  # fmt: skip
    code, heard = go(engine, asked, tmp_path / "visits")
    assert (code, heard.out[1], heard.out[2]) == (0, b"7 /home/flyte 1\n", b"")
    with pytest.raises(RunError, match="expected a folder at `pack`, found something else"):
        visit(
            engine, Visit(image, ["true"], code={"pack/own.py": tmp_path / "own.py"}), Streams(None, Heard()),
            tmp_path / "visits", pytest.fail,
        )  # fmt: skip
    assert list(outside.iterdir()) == []


def at_terminal(
    engine: Entrance, asked: Visit, folder: Path, typed: list[tuple[bytes, bytes]], then: Callable[[Streams], None]
) -> tuple[int, bytes]:
    """Type each second of ``typed`` once its first was seen."""
    read, write = os.pipe()
    size = [(30, 90)]
    heard = Heard()
    streams = Streams(read, heard, size=lambda: size[0])

    def type_in() -> None:
        for until, keys in typed:
            heard._until = until
            if until not in heard.out[1]:
                heard.event.clear()
                if until not in heard.out[1]:
                    assert heard.event.wait(60), heard.out
            if keys == b"resize":
                size[0] = (41, 123)
                then(streams)
            else:
                os.write(write, keys)

    typist = threading.Thread(target=type_in, daemon=True)
    typist.start()
    code = visit(engine, asked, streams, folder, pytest.fail)
    typist.join(5)
    os.close(read)
    os.close(write)
    return code, heard.out[1]


def test_a_terminal_is_one(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n"
        "open('/dev/tty').close()\n"
        "print('ready', os.isatty(0), *os.get_terminal_size(), os.getpgrp() == os.tcgetpgrp(0), flush=True)\n"
        "signal.sigwait([signal.SIGWINCH])\n"
        "try:\n    print('size', *os.get_terminal_size(), flush=True)\n"
        "    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
        "print('line', input(), flush=True)\nsys.exit(4)\n"
    )
    typed = [
        (b"ready True 90 30 True", b"resize"),
        (b"size 123 41", b"\x03"),
        (b"interrupted", b"hello\r"),
    ]
    code, out = at_terminal(
        engine, Visit(image, [image.python, "-c", script]), tmp_path / "visits", typed, Streams.resize
    )
    assert code == 4, out
    assert b"line hello" in out


def test_what_it_leaves_running_ends(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    # Nobody waits for the streams that it holds open.
    code, heard = go(engine, Visit(image, ["sh", "-c", "sleep 600 & trap '' TERM; exit 5"]), tmp_path / "visits")
    assert (code, heard.out[1]) == (5, b"")


def test_an_interrupt_ends_it(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    heard = Heard(b"ready")
    folder = tmp_path / "visits"

    def interrupt() -> None:
        assert heard.event.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    asked = Visit(image, ["sh", "-c", "trap '' TERM INT; echo ready; while :; do sleep 600; done"])
    with pytest.raises(KeyboardInterrupt):
        visit(engine, asked, Streams(None, heard), folder, pytest.fail)
    assert list(folder.iterdir()) == []


def test_it_may_write_no_more_than_a_task(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    script = "f = open('/tmp/x', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()"
    asked = Visit(image, [image.python, "-c", script], limits=TaskLimits(disk=64 << 20))
    with pytest.raises(RunError, match="on disk"):
        visit(engine, asked, Streams(None, Heard()), tmp_path / "visits", pytest.fail)


def test_what_a_killed_visit_left_is_removed(engine: Entrance, image: ImageRoot, tmp_path: Path) -> None:
    left = tmp_path / "visits" / "visit-0000"
    (left / "scratch" / "0").mkdir(parents=True)
    (left / "lock").touch()
    limits = Cgroups.detect().pids
    group = tmp_path / "no" if limits is None else limits / "flyte-build-999999999-1-visit-0000"
    if limits is not None:
        group.mkdir(exist_ok=True)
    code, _ = go(engine, Visit(image, ["true"]), tmp_path / "visits")
    assert code == 0
    assert not left.exists()
    assert not group.exists()


def test_the_shell_is_the_images_own(image: ImageRoot, tmp_path: Path) -> None:
    root = tmp_path / "bare"
    root.mkdir()
    bare = ImageRoot("sha256:0", root, "/opt/venv/bin/python")
    assert shell_of(bare) == "/opt/venv/bin/python"
    (root / "bin").mkdir()
    (root / "bin" / "sh").touch(mode=0o755)
    assert shell_of(bare) == "/bin/sh"
