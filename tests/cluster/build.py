"""The cluster's programs, built from Go modules and kept: Kubernetes in one file, what runs in pods, a store, JobSet,
Kueue. So are files that a module brings beside its code.

What was built is found again by the hash of all that decides it: the sources, the module list with its hashes, Go's
version and the command. Two who build at once wait for each other; nothing half-built is ever seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .site import ClusterError

__all__ = ["PROGRAMS", "Program", "build", "cache_folder", "find_go"]

SOURCES = Path(__file__).parent / "programs"
# Built ones of each program that are kept: somebody may go back and forth between two branches.
_KEPT = 3
# Since then a Go that is too old for a module fetches one that is not, or says why it may not.
_OLDEST_GO = (1, 21)
_TAIL = 30


@dataclass(frozen=True)
class Program:
    """``module`` is a folder of ``programs/``; ``package`` is what to build there, as Go names it. With ``files`` it is
    no program, but these of the module ``package``, one after the other, as one YAML."""

    name: str
    module: str
    package: str
    files: tuple[str, ...] = ()


PROGRAMS = (
    Program("pod", "kube", "./pod"),
    Program("s3", "s3", "github.com/versity/versitygw/cmd/versitygw"),
    Program("jobset", "jobset", "sigs.k8s.io/jobset", (
        "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml", "config/components/webhook/manifests.yaml",
    )),
    Program("jobsets", "jobset", "."),
    Program("kueue", "kueue", "sigs.k8s.io/kueue", (
        *(f"config/components/crd/bases/kueue.x-k8s.io_{kind}.yaml" for kind in (
            "admissionchecks", "clusterqueues", "cohorts", "localqueues", "resourceflavors", "workloadpriorityclasses",
            "workloads",
        )),
        "config/components/webhook/manifests.yaml",
    )),
    Program("queues", "kueue", "."),
    Program("kube", "kube", "."),
)  # fmt: skip


def cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "flyte-build-tests" / "cluster"


def find_go() -> str:
    """:raises ClusterError: there is none"""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise ClusterError(
            "expected Go on PATH, found none; it builds the cluster (in Debian 13: apt-get install golang-go)"
        )
    return go


def build(say: Callable[[str], None] = lambda _: None) -> Mapping[str, Path]:
    """Every program by its name, built now unless it is there. Cold, Kubernetes takes 800 s of processor time.

    :raises ClusterError: there is no Go, or it failed; with the end of what it said
    """
    go = find_go()
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return {program.name: _built(program, go, folder, say) for program in PROGRAMS}


def _built(program: Program, go: str, folder: Path, say: Callable[[str], None]) -> Path:
    version, target = _go_version(go, SOURCES / program.module)
    command = _command(program, go)
    path = folder / f"{program.name}-{_hash(program, (version, target, *command[1:], *program.files))}"
    if not path.exists():
        with _alone(folder / f"{program.name}.lock", lambda: say(f"{program.name}: somebody else builds it; waiting")):
            if not path.exists():
                say(f"{program.name}: building with {version}")
                (_collect if program.files else _compile)(program, command, path)
                _forget(folder, program.name)
    path.touch()
    return path


def _go_version(go: str, module: Path) -> tuple[str, str]:
    """Of the Go that builds this module, which need not be the one that was called (https://go.dev/doc/toolchain); and
    for which processor."""
    said = subprocess.run([go, "env", "GOVERSION", "GOARCH"], cwd=module, capture_output=True, text=True, check=False)
    version, _, target = said.stdout.strip().partition("\n")
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if said.returncode or numbers is None:
        raise ClusterError(f"expected the version of Go ({go}), found `{version}`: {said.stderr.strip()}")
    if (int(numbers[1]), int(numbers[2])) < _OLDEST_GO:
        raise ClusterError(f"expected Go {_OLDEST_GO[0]}.{_OLDEST_GO[1]} or newer, found {version} ({go})")
    return version, target


def _command(program: Program, go: str) -> list[str]:
    if program.files:
        return [go, "mod", "download", "-json", program.package]
    # Without symbols it is a third smaller. What it says of its version is read by clients, and by the kubelet.
    linker = ["-s", "-w"]
    if version := re.search(r"k8s\.io/kubernetes v(1\.(\d+)\.\d+)", (SOURCES / program.module / "go.mod").read_text()):
        values = {
            "gitVersion": f"v{version[1]}",
            "gitMajor": "1",
            "gitMinor": version[2],
            "gitCommit": "0" * 40,
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
        }
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            linker += [f"-X {package}.{name}={value}" for name, value in values.items()]
    return [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(linker), program.package]


def _hash(program: Program, parts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\0".encode())
    for path in sorted((SOURCES / program.module).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            digest.update(f"{path.relative_to(SOURCES)}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def _collect(program: Program, command: list[str], path: Path) -> None:
    done = subprocess.run(command, cwd=SOURCES / program.module, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failed(command, program, f"{done.stderr}\n{done.stdout}")
    place = Path(json.loads(done.stdout)["Dir"])
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text("\n---\n".join((place / name).read_text() for name in program.files))
    new.rename(path)


def _failed(command: list[str], program: Program, said: str) -> ClusterError:
    words = [line for line in said.splitlines() if line][-_TAIL:]
    return ClusterError("\n  ".join([f"`{' '.join(command)}` in {SOURCES / program.module} failed:", *words]))


def _compile(program: Program, command: list[str], path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f"{program.name}.", dir=path.parent) as work:
        new = Path(work) / program.name
        line = [*command[:-1], "-o", str(new), command[-1]]
        # Static: one of them runs in images that hold nothing else.
        environ = {**os.environ, "CGO_ENABLED": "0"}
        code, said = _run(line, SOURCES / program.module, environ)
        if code:
            raise _failed(line, program, said)
        new.rename(path)


def _run(command: list[str], folder: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and errors. Whoever ends this process by SIGTERM or by hand ends all that the command started."""
    # Until it is known whom to end, neither may come.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 (no threads here)
        )
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            said = _errors(process)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process.returncode, said


def _errors(process: subprocess.Popen[bytes]) -> str:
    """In short waits: a signal that comes just before one begins is only seen when it ends."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.5)[1].decode(errors="replace")


def _forget(folder: Path, name: str) -> None:
    """Those that were used last are kept."""
    built = sorted(folder.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in built[_KEPT:]:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(lock: Path, waiting: Callable[[], None]) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
