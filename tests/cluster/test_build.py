"""How the programs are built and found again, with a Go that only writes down what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.cluster import build as building
from tests.cluster.build import PROGRAMS, build
from tests.cluster.site import ClusterError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What Go was told; it is 1.99 until the file ``version`` says otherwise, and fails where there is ``broken``."""
    sources = tmp_path / "programs"
    for module in {program.module for program in PROGRAMS}:
        (sources / module).mkdir(parents=True)
        (sources / module / "go.mod").write_text(f"module {module}\nrequire k8s.io/kubernetes v1.77.3\n")
        (sources / module / "main.go").write_text("package main\n")
    for program in PROGRAMS:
        for file in program.files:
            (tmp_path / "files" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "files" / file).write_text(f"of: {Path(file).stem}\n")
    (tmp_path / "bin").mkdir()
    go = tmp_path / "bin" / "go"
    go.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            cd {tmp_path}
            [ "$1" != env ] || {{ cat version; exit; }}
            echo "$*" >>told
            [ ! -e broken ] || {{ echo "main.go: all wrong" >&2; exit 1; }}
            [ ! -p slow ] || read -r _ <slow
            [ "$1" != mod ] || {{ echo '{{"Dir": "{tmp_path}/files"}}'; exit; }}
            while [ "$1" != -o ]; do shift; done
            echo program >"$2"
            """
        )
    )
    go.chmod(0o755)
    (tmp_path / "version").write_text("go1.99.1\n")
    monkeypatch.setenv("PATH", f"{go.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "SOURCES", sources)
    return tmp_path / "told"


def lines(told: Path) -> list[str]:
    return told.read_text().splitlines() if told.exists() else []


def test_what_is_built_once_is_found_again(told: Path) -> None:
    said: list[str] = []
    first = build(said.append)
    assert list(first) == ["pod", "s3", "jobset", "jobsets", "kueue", "queues", "kube"]
    assert said == [f"{name}: building with go1.99.1" for name in first]
    assert [line.rpartition(" ")[2] for line in lines(told)] == [program.package for program in PROGRAMS]
    programs = [line for line in lines(told) if line.startswith("build ")]
    assert len(programs) == 5
    assert all("-X k8s.io/component-base/version.gitVersion=v1.77.3" in line for line in programs)
    assert first["jobset"].read_text() == "of: jobset.x-k8s.io_jobsets\n\n---\nof: manifests\n"
    assert build(said.append) == first
    assert len(lines(told)) == 7
    names = [path.name for path in (told.parent / "cache" / "flyte-build-tests" / "cluster").iterdir()]
    locks = [f"{name}.lock" for name in first]
    assert sorted(names) == sorted([*(path.name for path in first.values()), *locks])


def test_only_what_changed_is_built_anew(told: Path) -> None:
    first = build()
    (building.SOURCES / "kube" / "main.go").write_text("package main // other\n")
    second = build()
    assert {name for name in first if first[name] != second[name]} == {"kube", "pod"}
    (told.parent / "version").write_text("go1.99.2\n")
    third = build()
    assert {name for name in first if second[name] != third[name]} == set(third)
    assert len(lines(told)) == 7 + 2 + 7


def test_old_ones_go(told: Path) -> None:
    built = []
    for number in range(5):
        (building.SOURCES / "s3" / "main.go").write_text(f"package main // {number}\n")
        built.append(build()["s3"])
        os.utime(built[-1], (number, number))
    assert [path.exists() for path in built] == [False, False, True, True, True]


def test_what_failed_leaves_nothing_and_is_tried_again(told: Path) -> None:
    (told.parent / "broken").touch()
    with pytest.raises(ClusterError, match=r"(?s)`.*go build .* \./pod` in .*kube failed:\n  main\.go: all wrong"):
        build()
    assert [path.name for path in building.cache_folder().iterdir()] == ["pod.lock"]
    (told.parent / "broken").unlink()
    built = build()
    assert all(built[program.name].read_text() == "program\n" for program in PROGRAMS if not program.files)


def test_two_at_once_build_it_once(told: Path) -> None:
    """The first holds the lock for as long as its Go reads from the pipe."""
    pipe = told.parent / "slow"
    os.mkfifo(pipe)
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.cluster import build as b\n"
        f"b.SOURCES = Path({str(building.SOURCES)!r})\n"
        "b.PROGRAMS = b.PROGRAMS[:1]\nprint(b.build(lambda text: print(text, flush=True))['pod'])\n"
    )
    command = [sys.executable, "-c", script]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "pod: building with go1.99.1\n"
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "pod: somebody else builds it; waiting\n"
            pipe.write_text("go on\n")
            paths = {first.stdout.read(), second.stdout.read()}
    assert len(paths) == 1
    assert len(lines(told)) == 1


def test_one_that_is_told_to_end_ends_its_go(told: Path) -> None:
    os.mkfifo(told.parent / "slow")
    command = [sys.executable, "-m", "tests.cluster", "build"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as building_one:
        assert building_one.stderr is not None
        assert building_one.stderr.readline() == "cluster: pod: building with go1.99.1\n"
        # Returns once that Go reads from it.
        pipe = os.open(told.parent / "slow", os.O_WRONLY)
        building_one.send_signal(signal.SIGTERM)
        assert building_one.wait() == 143
    with pytest.raises(BrokenPipeError):
        os.write(pipe, b"go on\n")
    os.close(pipe)
    assert [path.name for path in building.cache_folder().iterdir()] == ["pod.lock"]


@pytest.mark.parametrize(
    ("version", "said"),
    [("go1.19.8\n", "expected Go 1.21 or newer, found go1.19.8"), ("", "expected the version of Go")],
)
def test_a_go_that_is_too_old(told: Path, version: str, said: str) -> None:
    (told.parent / "version").write_text(version)
    with pytest.raises(ClusterError, match=said):
        build()
    assert lines(told) == []


def test_modules_are_named_by_their_content_and_by_nobodys_host() -> None:
    """Law 1: where they come from is what this machine's Go says."""
    for module in {program.module for program in PROGRAMS}:
        folder = ROOT / "tests" / "cluster" / "programs" / module
        names = {line.split()[0] for line in (folder / "go.sum").read_text().splitlines()}
        hashes = {line.split()[2][:3] for line in (folder / "go.sum").read_text().splitlines()}
        assert len(names) > 80
        assert hashes == {"h1:"}
        assert "GOPROXY" not in (folder / "go.mod").read_text()
