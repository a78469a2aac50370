"""``shell`` and ``exec``: a command in an image that was built here, with and without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cli import Cli

from .conftest import EXAMPLE, LOCKFILES, Layout

pytestmark = pytest.mark.integration

SECONDS = 90


def test_a_command_is_run_in_the_image(cli: Cli, layout: Layout) -> None:
    code = (
        "import httpx, fold, os; print(httpx.__name__, fold.__name__, os.environ.get('HOME'), os.environ.get('MINE'))"
    )
    own = replace(cli, variables={"MINE": "1", "OTHER": "2"})
    done = own("exec", "--var", "OTHER", EXAMPLE, "fold_env", "--", "python", "-c", code + "; raise SystemExit(7)")
    assert (done.code, done.out) == (7, "httpx fold /home/flyte None\n"), done.err
    said = own.ok(
        "exec", "--json", "--var", "OTHER", EXAMPLE, "fold_env", "--", "sh", "-c", "echo $OTHER; exit 9"
    ).json()
    assert said == {
        "schema": 1, "environment": "fold_env", "image": layout.digests["fold_env"],
        "command": ["sh", "-c", "echo $OTHER; exit 9"], "exit_code": 9, "stdout": "2\n", "stderr": "",
    }  # fmt: skip


SECRETIVE = """
import flyte
from fold.run import fold_image

fold_env = flyte.TaskEnvironment(
    "fold_env",
    image=fold_image,
    secrets=[
        "plain-key",
        flyte.Secret("named", as_env_var="NAMED"),
        flyte.Secret("file", group="g", mount="/etc/flyte/secrets"),
    ],
)
"""


def test_secrets_are_there_where_they_are_asked_for(cli: Cli, layout: Layout, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE.parent / "fold", tmp_path / "fold")
    (tmp_path / "fold" / "run.py").write_text(
        (EXAMPLE.parent / "fold" / "run.py").read_text().partition("fold_env =")[0]
    )
    (tmp_path / "flow.py").write_text(SECRETIVE)
    command = (
        "--lockfiles", LOCKFILES, tmp_path / "flow.py", "fold_env", "--", "sh", "-c",
        "echo $PLAIN_KEY.$NAMED.$G_FILE; cat /etc/flyte/secrets/g/file",
    )  # fmt: skip
    values = {"PLAIN_KEY": "canary-1", "NAMED": "canary-2", "G_FILE": "canary-3"}
    own = replace(cli, variables=values)
    assert own("exec", *command).out == "..\n", "only where they are asked for"
    done = own.ok("exec", "--secrets", "-v", *command)
    assert done.out == "canary-1.canary-2.\ncanary-3"
    assert "canary" not in done.err
    less = replace(cli, variables={name: values[name] for name in ("PLAIN_KEY", "NAMED")})
    missing = less("exec", "--secrets", *command)
    assert missing.code == 2
    assert "secret 'file' of group 'g' is not set: expected its value in the environment variable G_FILE" in missing.err
    assert "canary" not in missing.err


def test_standard_input_is_carried(cli: Cli, layout: Layout) -> None:
    done = subprocess.run(
        cli.command("shell", EXAMPLE, "fold_env"),
        input="echo one; echo two >&2; tty", env=cli.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "one\nnot a tty\n"), done.stderr
    assert "two\n" in done.stderr


def test_a_runner_that_reads_along_obeys_nothing(cli: Cli, layout: Layout) -> None:
    watched = replace(cli, variables={"GITHUB_ACTIONS": "true"})
    done = watched.ok("exec", EXAMPLE, "fold_env", "--", "printf", "::set-env::x\\n::no end")
    assert done.out == "\\u003a:set-env::x\n\\u003a:no end"


def test_an_interrupt_ends_it(cli: Cli, layout: Layout) -> None:
    running = cli.start("exec", EXAMPLE, "fold_env", "--", "sh", "-c", "echo ready; sleep 600")
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(SECONDS) == 130


class Seat:
    """The keys and the screen of a terminal."""

    def __init__(self, file: int, child: subprocess.Popen[bytes]) -> None:
        self.file, self.child, self.seen = file, child, b""

    def until(self, words: bytes) -> re.Match[bytes]:
        """Read on until ``words`` (an expression) were seen."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(words, self.seen)):
            ready, _, _ = select.select([self.file], [], [], max(deadline - time.monotonic(), 0))
            assert ready, self.seen
            try:
                self.seen += os.read(self.file, 4096)
            except OSError:
                break
        assert found, self.seen
        self.seen = self.seen[found.end() :]
        return found

    def type(self, keys: bytes) -> None:
        os.write(self.file, keys)

    def resize(self, rows: int, columns: int) -> None:
        """As a terminal does it; but it is nobody's controlling one here, so the signal is ours to send."""
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.child.send_signal(signal.SIGWINCH)


@contextmanager
def seat(cli: Cli, *arguments: object) -> Iterator[Seat]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))

    env = cli.environment() | {"TERM": "xterm-256color"}
    child = subprocess.Popen(cli.command(*map(str, arguments)), stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    try:
        yield Seat(ours, child)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
        os.close(theirs)


def test_somebody_sits_in_an_image(cli: Cli, layout: Layout) -> None:
    with seat(cli, "shell", "-q", EXAMPLE, "fold_env") as here:
        before = termios.tcgetattr(here.file)
        here.until(rb"\$ ")
        here.type(b"stty size; echo $TERM-$(id -u)-\r")
        here.until(rb"33 77\r\nxterm-256color-1000-\r\n")
        here.resize(44, 99)
        # The line is there once the shell has been told; it asks the terminal itself.
        here.type(b"until [ \"$(stty size)\" = '44 99' ]; do :; done; echo si''zed\r")
        here.until(rb"sized\r\n")
        # What is typed before the program runs is the shell's own.
        here.type(b"sh -c 'echo u''p; exec sleep 600'\r")
        here.until(rb"\r\nup\r\n")
        here.type(b"\x1a")
        here.until(rb"Stopped")
        here.type(b"sh -c 'echo u''p; exec sleep 600'\r")
        here.until(rb"\r\nup\r\n")
        here.type(b"\x03")
        here.until(rb"\^C")
        here.type(b"echo -$?-\r")
        here.until(rb"-130-\r\n")
        here.type(b"disown -a; exit 6\r")
        assert here.child.wait(SECONDS) == 6
        assert termios.tcgetattr(here.file) == before


def test_a_closed_window_leaves_nothing(cli: Cli, layout: Layout) -> None:
    with seat(cli, "shell", "-q", EXAMPLE, "fold_env") as here:
        before = termios.tcgetattr(here.file)
        here.until(rb"\$ ")
        here.child.send_signal(signal.SIGHUP)
        assert here.child.wait(SECONDS) == 130
        assert termios.tcgetattr(here.file) == before
    assert list((cli.home / "state" / "visits").iterdir()) == []
