"""Where a cluster lives, which control groups it makes, and what the command says where it cannot help."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.cluster import needs
from tests.cluster.__main__ import main
from tests.cluster.cgroups import cgroups, make_cgroup, remove_cgroup
from tests.cluster.cluster import Cluster
from tests.cluster.configs import commands
from tests.cluster.needs import lacking
from tests.cluster.site import ClusterError, Site, find_site, read_site
from tests.support.tools import need


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTE_BUILD_CLUSTER", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home"


def test_a_site_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_site(tmp_path) is None
    site = Site(tmp_path, 7, {"nvidia.com/gpu": 1})
    site.write()
    assert read_site(tmp_path) == site
    assert (site.api, site.registry, site.gateway, site.s3_endpoint) == (
        "127.0.0.1:28503",
        "127.0.0.1:28504",
        "10.231.7.1",
        "http://10.231.7.1:28505",
    )


def test_two_sites_share_no_address(tmp_path: Path) -> None:
    programs = {name: Path("/bin") / name for name in ("kube", "s3", "jobsets", "queues")}
    one, two = (
        {
            word
            for line in commands(Site(tmp_path, n), programs).values()
            for word in line
            if "=" in word and "." in word
        }
        for n in (0, 1)
    )
    assert {word for word in one & two if "127.0.0.1:" in word or "10.23" in word} == set()


def test_addresses_in_use_are_passed_over_or_named(tmp_path: Path) -> None:
    need("ip", "iproute2")
    free = find_site(tmp_path)
    with socket.create_server(("127.0.0.1", free.port(2))):
        assert find_site(tmp_path).number > free.number
        with pytest.raises(ClusterError, match=f"found in use: 127.0.0.1:{free.port(2)}$"):
            find_site(tmp_path, number=free.number)
    with pytest.raises(ClusterError, match="expected a number from 0 to 49, found 50"):
        find_site(tmp_path, number=50)


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups(tmp_path: Path, version: int) -> None:
    """In version 1 one in each tree, in version 2 one, which gets every controller that can be handed down."""
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text("cpu io memory misc pids\n")
        (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
        (tmp_path / "cgroup.procs").touch()
        (tmp_path / "system.slice").mkdir()
        (tmp_path / "system.slice" / "cgroup.procs").touch()
    else:
        for tree in ("cpu,cpuacct", "memory"):
            (tmp_path / tree).mkdir()
            (tmp_path / tree / "cgroup.procs").touch()
        (tmp_path / "cpu").symlink_to("cpu,cpuacct")
        (tmp_path / "empty").mkdir()
    handed = make_cgroup("ours", tmp_path)
    if version == 2:
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +io"
        (tmp_path / "cgroup.subtree_control").write_text("cpu io memory pids\n")
    assert make_cgroup("ours", tmp_path) == []
    made = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("ours"))]
    assert made == (["ours"] if version == 2 else ["cpu,cpuacct/ours", "memory/ours"])
    assert sorted(cgroups("ours", tmp_path)) == sorted(tmp_path.rglob("ours"))
    for group in cgroups("ours", tmp_path):
        (group / "pods" / "one").mkdir(parents=True)
    remove_cgroup("ours", handed, tmp_path)
    remove_cgroup("ours", (), tmp_path)
    assert list(tmp_path.rglob("ours")) == []
    if version == 2:
        assert (tmp_path / "cgroup.subtree_control").read_text() == "-cpu -io"


def test_what_a_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(needs, "_PATH", str(tmp_path))
    monkeypatch.setattr(needs, "_CNI", ())
    monkeypatch.setattr(needs, "_DISK", 1 << 60)
    monkeypatch.setattr(needs, "find_go", lambda: (_ for _ in ()).throw(ClusterError("expected Go")))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said = list(lacking(tmp_path / "not" / "yet"))
    assert said[:2] == ["expected Go", "expected to be root, whom mounts, control groups and networks take; try sudo"]
    packages = "containerd containernetworking-plugins docker-registry iproute2 mount runc util-linux"
    assert said[2] == f"expected programs that are missing (apt-get install {packages})"
    assert said[3].startswith(f"expected 1073741824 GiB free in {tmp_path}, found ")


def test_the_command_says_what_is_missing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.cluster.cluster.lacking", lambda _: iter(["expected this", "expected that"]))
    assert main(["up"]) == 1
    assert capsys.readouterr() == ("", "cluster: expected this\ncluster: expected that\n")
    assert not home.exists()


def test_without_a_cluster(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert capsys.readouterr() == (f"no cluster in {home}\n", "")
    assert main(["status", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"home": str(home), "healthy": False, "parts": []}
    assert main(["down"]) == 0
    assert main(["hollow", "3"]) == 1
    assert capsys.readouterr().err == (
        f"cluster: expected a cluster in {home}, found none; `./dev cluster up` starts one\n"
    )


def test_a_folder_of_somebody_else_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "mine").touch()
    monkeypatch.setattr("tests.cluster.cluster.lacking", lambda _: iter(()))
    monkeypatch.setattr("tests.cluster.cluster.build", lambda _: {})
    with pytest.raises(ClusterError, match=f"expected {home} to be a cluster's folder or empty, found something else"):
        Cluster(home).up()
    Cluster(home).down()
    assert [path.name for path in home.iterdir()] == ["mine"]


@pytest.mark.parametrize("amount", ["nvidia.com/gpu", "gpu=1", "nvidia.com/gpu=some"])
def test_an_amount_that_is_none(home: Path, capsys: pytest.CaptureFixture[str], amount: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["up", "--gpus", amount])
    assert ended.value.code == 2
    assert f"expected NAME=COUNT such as nvidia.com/gpu=4, found `{amount}`" in capsys.readouterr().err
