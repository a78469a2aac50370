"""A step is run in a sandbox over the layers below it, and what it changed is a layer: no more, and no less."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from flyte_build.kernel.errors import ArtifactError, SealError
from flyte_build.kernel.reporting import Recorder
from flyte_build.kernel.seccomp import NUMBERS
from flyte_build.sealing import Below, Limits, Secret, Step, seal

from .conftest import Sealed


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(path) as tar:
        return {m.name: m for m in tar}


def test_what_is_written_owned_linked_and_removed_is_in_the_layer(sealed: Sealed) -> None:
    made = sealed(
        "mkdir -p /opt/tool/bin && echo one > /opt/tool/bin/run && chmod 4755 /opt/tool/bin/run",
        "ln /opt/tool/bin/run /opt/tool/twin && ln -s bin/run /opt/tool/link && chown 1000:1000 /opt/tool",
        "rm /etc/passwd",
    )
    found = members(made.layer)
    assert list(found) == [
        "etc", "etc/.wh.passwd", "opt", "opt/tool", "opt/tool/bin", "opt/tool/bin/run", "opt/tool/link",
        "opt/tool/twin",
    ]  # fmt: skip
    assert found["opt/tool/bin/run"].mode == 0o4755
    assert (found["opt/tool"].uid, found["opt/tool"].gid) == (1000, 1000)
    assert found["opt/tool/twin"].islnk()
    assert found["opt/tool/twin"].linkname == "opt/tool/bin/run"
    assert found["opt/tool/link"].linkname == "bin/run"
    assert {m.mtime for m in found.values()} == {315532800}
    assert made.reproducible
    assert made.network == "none"
    assert made.content == 4


def test_the_same_step_has_the_same_digest_everywhere(sealed: Sealed) -> None:
    made = sealed("mkdir /opt && echo hello > /opt/x")
    assert made.diff_id == "sha256:6a77e9a0aaf94658fed9c980fd421b75c67346697f3572b1080dbac7eb7e5d05"


def test_what_equals_the_layers_below_is_no_change(sealed: Sealed) -> None:
    made = sealed(
        "cat /etc/passwd > /tmp/p && cat /tmp/p > /etc/passwd && rm /tmp/p && touch /bin/sh && chmod 700 /root"
    )
    assert dict(made.listing) == {}


def test_a_folder_made_anew_hides_what_was_in_it_by_name(sealed: Sealed) -> None:
    below = {"data/a": b"a", "data/sub/b": b"b", "data/keep": b"k"}
    made = sealed("rm -r /data && mkdir /data /data/sub && echo -n k > /data/keep && echo new > /data/c", files=[below])
    assert set(made.listing) == {"data", "data/.wh.a", "data/c", "data/sub", "data/sub/.wh.b"}


def test_layers_are_laid_over_one_another_as_images_have_them(sealed: Sealed) -> None:
    first = {"data/a": b"1", "data/gone": b"", "shown/x": b"", "link": "data"}
    second = {"data/a": b"2", "data/.wh.gone": b"", "shown/.wh..wh..opq": b"", "shown/y": b""}
    made = sealed("cd /data && ls > /out && cat a >> /out; ls /shown /link >> /out", files=[first, second])
    with tarfile.open(made.layer) as tar:
        content = tar.extractfile("out")
        assert content is not None
        assert content.read().decode().split() == ["a", "2/link:", "a", "/shown:", "y"]


def test_no_link_of_a_layer_leads_out(sealed: Sealed, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    planted = {"way": str(outside), "up": "../../../../../../../../" + str(outside)}
    made = sealed("ls / > /list", files=[planted, {"way/x": b"x", "up/y": b"y"}])
    assert list(outside.iterdir()) == []
    assert "list" in made.listing


def test_the_traces_of_one_run_are_left_out(sealed: Sealed) -> None:
    made = sealed(
        "mkdir -p /var/log/app /var/lib/apt/lists /root/.cache/pip /srv/__pycache__ /var/cache/apt",
        "for f in /var/log/app/a.log /var/lib/apt/lists/l /root/.cache/pip/c /srv/__pycache__/m.pyc /etc/machine-id "
        "/run/pid /dev/made /var/cache/apt/p /tmp/kept; do echo x > $f; done",
    )
    assert set(made.listing) == {
        "srv", "tmp", "tmp/kept", "var", "var/cache", "var/cache/apt", "var/lib", "var/lib/apt", "var/log",
        "var/log/app",
    }  # fmt: skip


def test_a_module_that_changes_takes_its_bytecode_along(sealed: Sealed) -> None:
    """Of what a layer of bytecode has, nobody would look whether it is still the module's; other bytecode looks."""
    unchecked, by_date = b"\xa7\r\r\n\1\0\0\0" + bytes(8), b"\xa7\r\r\n" + bytes(12)
    names = ("changed", "gone", "same", "dated", "changed_not")
    below = {f"lib/{name}.py": b"x = 1" for name in names}
    below |= {f"lib/__pycache__/{name}.cpython-311.pyc": unchecked for name in names}
    below["lib/__pycache__/dated.cpython-311.pyc"] = by_date
    made = sealed(
        "cd /lib; echo 2 > changed.py; rm gone.py __pycache__/gone*; echo 2 > dated.py; touch same.py", files=[below]
    )
    assert set(made.listing) == {
        "lib", "lib/.wh.gone.py", "lib/__pycache__/.wh.changed.cpython-311.pyc",
        "lib/__pycache__/.wh.gone.cpython-311.pyc", "lib/changed.py", "lib/dated.py",
    }  # fmt: skip


def test_what_writes_the_time_is_not_reproducible_and_said_by_path(sealed: Sealed) -> None:
    made = sealed("mkdir /opt; echo 1 > /opt/same; stat -c %i-%Z /bin/sh > /dev/null; cat /proc/uptime > /opt/when")
    assert not made.reproducible
    assert made.differs == ("opt/when",)


def test_once_is_not_known_to_be_reproducible(sealed: Sealed) -> None:
    made = sealed("echo 1 > /x", twice=False)
    assert not made.reproducible
    assert made.differs == ()


def test_variables_folder_and_user_are_those_of_the_step(sealed: Sealed, tmp_path: Path) -> None:
    sealed("pwd; id; echo $NAME $HOME $SOURCE_DATE_EPOCH", workdir="/tmp", environment={"NAME": "v"}, twice=False)
    said = (tmp_path / "log").read_text()
    assert "/tmp\nuid=0(root) gid=0" in said
    assert "v /root 315532800" in said


def test_the_first_command_that_fails_ends_it_with_its_words(sealed: Sealed, tmp_path: Path) -> None:
    with pytest.raises(SealError, match=r"`run it`: `echo why >&2; exit 3` ended with exit code 3") as e:
        sealed("echo fine", "echo why >&2; exit 3", "echo never > /x")
    assert e.value.exit_code == 16
    assert e.value.detail is not None
    assert e.value.detail.splitlines()[-1] == "why"
    assert str(tmp_path / "log") in str(e.value.hint)
    assert "never" not in (tmp_path / "log").read_text()


def test_a_program_that_is_not_there_is_said(sealed: Sealed) -> None:
    with pytest.raises(SealError) as e:
        sealed("no-such-program")
    assert "a program is not in the image" in str(e.value.hint)


@pytest.mark.parametrize(
    ("command", "way_out"), [("apt-get update", "with_apt_packages"), ("uv pip install x", "with_pip_packages")]
)
def test_what_only_the_sdks_builder_has(sealed: Sealed, command: str, way_out: str) -> None:
    with pytest.raises(SealError) as e:
        sealed(command)
    assert way_out in str(e.value.hint)


def test_no_program_outlives_the_step(sealed: Sealed) -> None:
    made = sealed("(while :; do echo x >> /tmp/grows; done) & echo done > /x")
    assert "x" in made.listing


def test_a_step_that_never_ends_is_ended(sealed: Sealed, tmp_path: Path) -> None:
    with pytest.raises(SealError, match="did not end within"):
        sealed("while :; do :; done", limits=Limits(seconds=1.0))
    assert not (tmp_path / "work/stage").exists()


def test_there_is_no_network_but_a_loopback(sealed: Sealed, tmp_path: Path) -> None:
    sealed("cat /proc/net/dev; cat /etc/hosts", twice=False)
    devices = [line.split(":")[0].strip() for line in (tmp_path / "log").read_text().splitlines() if ":" in line]
    assert "lo" in devices
    assert not {"eth0", "tap0"} & set(devices)


@pytest.mark.skipif(os.uname().machine not in NUMBERS, reason="no filter is known for this machine")
def test_its_system_calls_are_filtered_and_identities_still_change(sealed: Sealed, tmp_path: Path) -> None:
    sealed(
        "while read -r name value; do case $name in Seccomp:|NoNewPrivs:) echo $name $value;; esac; "
        "done </proc/self/status"
    )
    said = (tmp_path / "log").read_text().splitlines()
    assert "Seccomp: 2" in said
    # Programs that change who runs them (su, ping) work as they do in an image.
    assert "NoNewPrivs: 0" in said


def test_a_layer_that_is_another_is_refused(base: Below, tmp_path: Path) -> None:
    step = Step("run it", ("true",), {}, "/", "none")
    with pytest.raises(ArtifactError, match="expected diff_id sha256:0000"):
        seal(step, [Below(base.path, "sha256:" + "0" * 64)], tmp_path / "work", tmp_path / "log", Recorder())


def test_nothing_is_left_but_the_layers(sealed: Sealed, tmp_path: Path) -> None:
    sealed("mkdir /a && chmod 0 /a && chown 77:77 /a && echo 1 > /tmp/x")
    assert sorted(p.name for p in (tmp_path / "work").iterdir()) == ["layer-1", "layer-2"]
    assert stat.S_ISREG(os.lstat(tmp_path / "work/layer-1").st_mode)


CANARY = Secret("team_token", b"tr0ub4dor&3", env="TOKEN", path="/etc/flyte/secrets")


def test_a_secret_is_seen_and_neither_sealed_nor_logged(sealed: Sealed, tmp_path: Path) -> None:
    made = sealed('test "$TOKEN" = "$(cat /etc/flyte/secrets)" && echo it is $TOKEN; echo used > /x', secrets=[CANARY])
    assert set(made.listing) == {"x"}
    said = (tmp_path / "log").read_bytes()
    assert b"it is [secret]" in said
    everything = said + b"".join(p.read_bytes() for p in (tmp_path / "work").iterdir())
    assert CANARY.value not in everything


def test_a_layer_that_holds_a_secret_is_refused_by_path(sealed: Sealed) -> None:
    with pytest.raises(SealError, match=r"`opt/conf` holds the secret team_token: nothing was sealed"):
        sealed("mkdir /opt; echo url=$TOKEN@host > /opt/conf", secrets=[CANARY])


def test_what_is_lent_is_struck_out_of_the_log(sealed: Sealed, tmp_path: Path) -> None:
    sealed("echo from $INDEX", lent={"INDEX": "https://user:word@index.example/"}, twice=False)
    assert "from [secret]" in (tmp_path / "log").read_text()
    assert "user:word" not in (tmp_path / "log").read_text()
