"""Debian packages whose scripts do more than our rules: configured by dpkg when the project is locked, and sealed.

The dpkg is a shell that stands for it: it runs the scripts of what the database says is unpacked.
"""

from __future__ import annotations

import shutil
import tarfile
from datetime import UTC, datetime, timedelta

import pytest

from flyte_build.locking.apt.lock import BASE

from ..support.archive import Deb, Signer, publish
from ..support.building_python import python_files
from ..support.offline import Offline
from .test_source_builds import built, platform

DPKG = """#!/bin/sh
case "$*" in
*--configure*)
    cat /etc/triggered
    for new in /etc/*.dpkg-new; do echo "$new" >>/etc/held; mv "$new" "${new%.dpkg-new}"; done
    cp /var/lib/dpkg/status /etc/seen
    for script in /var/lib/dpkg/info/*.postinst; do "$script" configure || exit 1; done ;;
esac
"""
TRIGGER = "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\necho $1 >>/etc/triggered\n"
# What the scripts of the two packages say: one makes a file, the other does what every debhelper script does.
MAKES = "#!/bin/sh\nset -e\ncp /usr/share/tool/made /etc/made\n"
PLAIN = "#!/bin/sh\nset -e\nldconfig\n"
FLOW = """\
import flyte
base = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",))
low = flyte.TaskEnvironment("low", image=base.with_apt_packages("{}"))
@low.task
def main(x: int) -> int:
    return x
"""


@pytest.fixture
def project(offline: Offline, signer: Signer) -> Offline:
    programs = python_files("#!/bin/sh\n", "cat", "perl", "touch", "chmod", "mv")
    run = {"usr/bin/dpkg": (0o755, DPKG.encode()), "usr/bin/dpkg-trigger": (0o755, TRIGGER.encode())}
    made = {"usr/share/tool/made": b"by its script\n", "etc/tool.conf": b"for others\n"}
    debs = [Deb(name, "1.0") for name in BASE]
    debs.append(Deb("python3.11", "3.11.2-6", {"Depends": "libc6"}, files=programs))
    debs.append(Deb("libpython3.11-stdlib", "3.11.2-6", source="python3.11"))
    debs.append(
        Deb("libc6", "2.36-9", source="glibc", triggers="interest-noawait ldconfig\ninterest /usr/lib/watched\n")
    )
    run["etc/dpkg.cfg"] = (0o644, b"needed\n")
    debs.append(Deb("dpkg", "1.21", {"Priority": "required"}, files=run, conffiles=["/etc/dpkg.cfg"]))
    debs.append(Deb("tool", files=made, scripts={"postinst": MAKES}, triggers="activate-noawait ldconfig\n",
                    conffiles=["/etc/tool.conf"]))  # fmt: skip
    debs.append(Deb("plain", scripts={"postinst": PLAIN}))
    publish(offline.home / "www/debian", signer, "bookworm", debs, architectures=("amd64", "arm64"),
            date=datetime.now(UTC) - timedelta(days=1), valid=None, files=True)  # fmt: skip
    offline.write(FLOW.format("tool"))
    return offline


def sealed(project: Offline) -> dict[str, bytes]:
    """The files of the layer that dpkg made."""
    (seal,) = platform(project)["seals"]
    assert seal["step"] == -1
    (path,) = project.store.glob(f"**/{seal['digest'].removeprefix('sha256:')}")
    with tarfile.open(path) as tar:
        return {m.name: f.read() for m in tar if (f := tar.extractfile(m)) is not None}


def debs(project: Offline) -> set[str]:
    return {row["name"] for row in platform(project)["debs"] if not row["base"]}


def test_its_scripts_are_run_once_and_sealed(project: Offline) -> None:
    said = project.ok("lock", "flow.py").err
    assert "low: sealed `configure tool`" in said
    assert debs(project) == {"tool", "dpkg"}
    (seal,) = platform(project)["seals"]
    assert (seal["network"], seal["reproducible"]) == ("none", True)
    layer = sealed(project)
    assert layer["etc/made"] == b"by its script\n"
    # dpkg was told of what was asked for as unpacked, and of the base as installed.
    rows = {row.split("\n")[0]: row for row in layer["etc/seen"].decode().split("\n\n")}
    assert "Status: install ok unpacked" in rows["Package: tool"]
    assert "Status: install ok installed" in rows["Package: libc6"]
    # Its configuration was no one's until then, but for what a Debian has before; and is the image's, as it was.
    assert layer["etc/held"] == b"/etc/tool.conf.dpkg-new\n"
    assert " /etc/tool.conf newconffile" in rows["Package: tool"]
    assert " /etc/dpkg.cfg newconffile" not in rows["Package: dpkg"]
    assert [name for name in layer if "tool.conf" in name or "dpkg.cfg" in name] == []
    assert layer["etc/triggered"].decode().splitlines() == ["/usr/lib/watched", "ldconfig"]
    assert layer["var/lib/dpkg/info/tool.postinst"] == MAKES.encode()
    assert layer["var/lib/dpkg/triggers/File"] == b"/usr/lib/watched libc6\n"
    assert layer["var/lib/dpkg/triggers/ldconfig"] == b"libc6/noawait\n"
    # What is lent to the step is in no image.
    assert not [name for name in layer if name.startswith("build") or "policy-rc.d" in name]


def test_it_is_kept_and_made_again_where_it_lacks(project: Offline) -> None:
    project.ok("lock", "flow.py")
    said = project.ok("build", "flow.py").err
    assert "is not run" not in said
    first, seal = built(project), platform(project)["seals"]
    assert "sealing" not in project.ok("lock", "flow.py").err
    assert platform(project)["seals"] == seal
    project.ok("lock", "--check", "flow.py")
    shutil.rmtree(project.store)
    assert "nobody has the layer of `configure tool`: the step is run again" in project.ok("build", "flow.py").err
    assert built(project) == first


def test_scripts_that_our_rules_stand_for_are_not_run(project: Offline) -> None:
    project.write(FLOW.format("plain"))
    project.ok("lock", "flow.py")
    assert debs(project) == {"plain"}
    assert "seals" not in platform(project)
