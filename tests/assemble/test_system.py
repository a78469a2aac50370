"""What maintainer scripts would have made, from packages that only say so."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from debian.deb822 import Deb822

from flyte_build.assemble.debian import read
from flyte_build.assemble.entries import Entry
from flyte_build.assemble.errors import AssembleError
from flyte_build.assemble.system import system_entries
from tests.assemble.test_debian import spec_of
from tests.support.debs import Directory, File, Symlink, build_deb, shared_library

PEM = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----"
PYTHON = {"usr/bin/python3.11": (0o755, b"python"), "usr/bin/pygettext3.11": b""}
PACKAGES: dict[str, dict[str, File]] = {
    "base-files": {
        "usr/share/base-files/profile": b"# profile",
        "usr/share/base-files/dot.bashrc": b"# bashrc",
        "etc/dpkg/origins/debian": b"Vendor: Debian",
        "root": Directory(0o700),
        "tmp": Directory(0o1777),
        "var/run": Directory(),
    },
    "base-passwd": {
        "usr/share/base-passwd/passwd.master": b"root:*:0:0:root:/root:/bin/bash\nwww-data:*:33:33:www:/var/www:/no\n",
        "usr/share/base-passwd/group.master": b"root:*:0:\nwww-data:*:33:root\n",
    },
    "bash": {
        "bin/bash": (0o755, b""),
        "etc/skel/.bashrc": b"# skel",
        "usr/share/debianutils/shells.d/bash": b"/bin/bash\n",
    },
    "ca-certificates": {
        "usr/share/ca-certificates/mozilla/B.crt": PEM % b"b",
        "usr/share/ca-certificates/mozilla/A.crt": PEM % b"a" + b"\n",
        "usr/share/ca-certificates/mozilla/README": b"not one",
    },
    "dash": {"bin/dash": (0o755, b"")},
    "debianutils": {"usr/share/debianutils/shells": b"# shells\n/bin/sh\n"},
    "libc6": {
        "lib/x86_64-linux-gnu/libc.so.6": shared_library("libc.so.6"),
        "lib64/ld-linux-x86-64.so.2": Symlink("/lib/x86_64-linux-gnu/libc.so.6"),
        "etc/ld.so.conf": b"/usr/lib/x86_64-linux-gnu\n",
    },
    "libfoo1": {"usr/lib/x86_64-linux-gnu/libfoo.so.1.0": shared_library("libfoo.so.1")},
    "mawk": {"usr/bin/mawk": (0o755, b"")},
    "python3.11-minimal": PYTHON,
    "tzdata": {"usr/share/zoneinfo/Etc/UTC": b"TZif"},
}
MAWK = r"""#!/bin/sh
update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \
    --slave /usr/bin/nawk nawk /usr/bin/mawk
"""
USER = {"name": "flyte", "uid": 1000, "gid": 1000, "home": "/home/flyte"}


def build(tmp_path: Path, packages: dict[str, dict[str, File]] | None = None, **fields: object) -> list[Entry]:
    debs = []
    for name, files in (PACKAGES if packages is None else packages).items():
        scripts = {"postinst": MAWK} if name == "mawk" else {}
        conffiles = ["/etc/ld.so.conf"] if name == "libc6" else []
        control = {"Multi-Arch": "same"} if name.startswith("lib") else {}
        version = "3.11.2-6+deb12u9" if name.startswith("python") else "1:1.0-1"
        debs.append(build_deb(tmp_path, name, version, files, scripts=scripts, conffiles=conffiles, control=control))
    spec, where = spec_of(debs)
    spec |= {"kind": "system", "suite": "bookworm", "python": "3.11", "venv": "/opt/venv", "user": USER, **fields}
    return system_entries(spec, where.__getitem__, tmp_path)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    return {e.path: e for e in build(tmp_path_factory.mktemp("system"))}


def text(system: dict[str, Entry], path: str) -> str:
    return read(system[path].content).decode()


def test_links_of_merged_usr_and_of_var(system: dict[str, Entry]) -> None:
    expected = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
    expected |= {"var/run": "../run", "var/lock": "../run/lock", "var/spool/mail": "../mail"}
    assert {p: system[p].link for p in expected} == expected
    assert "lib32" not in system


def test_folders_with_their_modes(system: dict[str, Entry]) -> None:
    assert {oct(system[p].mode) for p in ("tmp", "var/tmp", "run/lock")} == {"0o1777"}
    assert (system["var/mail"].mode, system["var/mail"].gid) == (0o2775, 8)
    for path in ("proc", "sys", "dev", "run", "mnt", "home", "usr/local/bin", "usr/local/lib/python3.11/dist-packages"):
        assert (system[path].kind, system[path].mode) == ("dir", 0o755)


def test_every_entry_has_its_folders(system: dict[str, Entry]) -> None:
    for path in system:
        above = path.rpartition("/")[0]
        assert not above or system[above].kind == "dir"
    assert list(system) == sorted(system)


def test_accounts(system: dict[str, Entry]) -> None:
    assert text(system, "etc/passwd") == (
        "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33:www:/var/www:/no\nflyte:x:1000:1000::/home/flyte:/bin/bash\n"
    )
    assert text(system, "etc/group") == "root:x:0:\nwww-data:x:33:root\nflyte:x:1000:\n"
    assert text(system, "etc/shadow").splitlines()[-1] == "flyte:!::0:99999:7:::"
    assert text(system, "etc/gshadow") == "root:*::\nwww-data:*::root\nflyte:!::\n"
    assert (system["etc/shadow"].mode, system["etc/shadow"].gid) == (0o640, 42)
    assert system["etc/passwd"].mode == 0o644


def test_homes_belong_to_the_user(system: dict[str, Entry]) -> None:
    mine = {p for p, e in system.items() if (e.uid, e.gid) == (1000, 1000)}
    assert mine == {"home/flyte", "home/flyte/.bashrc", "root", "root/.bashrc"}
    assert text(system, "home/flyte/.bashrc") == "# skel"
    assert (system["root"].mode, system["home/flyte"].mode) == (0o700, 0o755)


def test_defaults(system: dict[str, Entry]) -> None:
    assert text(system, "etc/profile") == "# profile"
    assert text(system, "etc/shells") == "# shells\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n"
    assert text(system, "etc/hosts").startswith("127.0.0.1\tlocalhost\n")
    assert "hosts: files dns" in text(system, "etc/nsswitch.conf")
    assert system["etc/resolv.conf"].content == ()
    assert system["etc/localtime"].link == "/usr/share/zoneinfo/Etc/UTC"
    assert text(system, "etc/timezone") == "Etc/UTC\n"
    assert system["usr/bin/sh"].link == "dash"
    assert system["etc/dpkg/origins/default"].link == "debian"
    assert "etc/motd" not in system


def test_the_ca_bundle(system: dict[str, Entry]) -> None:
    assert text(system, "etc/ssl/certs/ca-certificates.crt") == (PEM % b"a" + b"\n" + PEM % b"b" + b"\n").decode()
    assert text(system, "etc/ca-certificates.conf") == "mozilla/A.crt\nmozilla/B.crt\n"
    assert system["usr/lib/ssl/cert.pem"].link == "/etc/ssl/certs/ca-certificates.crt"


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    packages = {"ca-certificates": {"usr/share/ca-certificates/x.crt": b"DER"}, "python3.11-minimal": PYTHON}
    with pytest.raises(
        AssembleError, match=r"ca-certificates_1.0-1_amd64\.deb: `usr/share/ca-certificates/x.crt` is not"
    ):
        build(tmp_path, packages)


def test_alternatives(system: dict[str, Entry]) -> None:
    assert system["usr/bin/awk"].link == "/etc/alternatives/awk"
    assert system["etc/alternatives/awk"].link == "/usr/bin/mawk"
    assert system["etc/alternatives/nawk"].link == "/usr/bin/mawk"


def test_libraries(system: dict[str, Entry]) -> None:
    cache = read(system["etc/ld.so.cache"].content)
    assert cache.startswith(b"glibc-ld.so.cache1.1")
    assert b"/usr/lib/x86_64-linux-gnu/libfoo.so.1\0" in cache
    assert system["usr/lib/x86_64-linux-gnu/libfoo.so.1"].link == "libfoo.so.1.0"
    assert "usr/lib/x86_64-linux-gnu/libc.so.6" not in system


def test_dpkg_database(system: dict[str, Entry]) -> None:
    stanzas = {s["Package"]: s for s in Deb822.iter_paragraphs(text(system, "var/lib/dpkg/status"))}
    assert sorted(stanzas) == sorted(PACKAGES)
    libc = stanzas["libc6"]
    assert (libc["Status"], libc["Version"]) == ("install ok installed", "1:1.0-1")
    assert (
        libc["Conffiles"] == f"\n /etc/ld.so.conf {hashlib.md5(b'/usr/lib/x86_64-linux-gnu' + bytes([10])).hexdigest()}"
    )
    assert text(system, "var/lib/dpkg/info/libc6:amd64.list").splitlines()[:3] == [
        "/.",
        "/lib",
        "/lib/x86_64-linux-gnu",
    ]
    assert "  usr/bin/mawk\n" in text(system, "var/lib/dpkg/info/mawk.md5sums")
    assert text(system, "var/lib/dpkg/info/libc6:amd64.conffiles") == "/etc/ld.so.conf\n"
    assert text(system, "var/lib/dpkg/info/format") == "1\n"


def test_venv(system: dict[str, Entry]) -> None:
    links = {p: e.link for p, e in system.items() if p.startswith("opt/venv/") and e.kind == "symlink"}
    assert links == {
        "opt/venv/bin/python": "/usr/bin/python3.11",
        "opt/venv/bin/python3": "python",
        "opt/venv/bin/python3.11": "python",
        "opt/venv/lib64": "lib",
    }
    assert system["opt/venv/lib/python3.11/site-packages"].kind == "dir"
    assert text(system, "opt/venv/pyvenv.cfg") == (
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\nexecutable = /usr/bin/python3.11\n"
    )


def test_a_python_that_no_package_has(tmp_path: Path) -> None:
    with pytest.raises(AssembleError, match=r"expected /usr/bin/python3\.13 in one of the image's packages"):
        build(tmp_path, {"python3.11-minimal": PYTHON}, python="3.13")


def test_the_least_image(tmp_path: Path) -> None:
    """Without base-passwd, certificates or a time zone there are no inventions but root, nobody and the user."""
    found = {e.path: e for e in build(tmp_path, {"python3.11-minimal": PYTHON})}
    assert [row.split(":")[0] for row in text(found, "etc/passwd").splitlines()] == ["root", "nobody", "flyte"]
    for path in ("etc/ssl/certs/ca-certificates.crt", "etc/localtime", "etc/shells", "usr/bin/sh", "lib64"):
        assert path not in found


@pytest.mark.parametrize("field", [{"name": "www-data"}, {"uid": 33}, {"gid": 33}])
def test_a_user_that_debian_has(tmp_path: Path, field: dict[str, object]) -> None:
    with pytest.raises(AssembleError, match="is already www-data"):
        build(tmp_path, user=USER | field)


def test_an_account_line_that_is_none(tmp_path: Path) -> None:
    packages = {"base-passwd": {"usr/share/base-passwd/passwd.master": b"root\n"}, "python3.11-minimal": PYTHON}
    with pytest.raises(AssembleError, match=r"passwd\.master: expected 7 fields, found root"):
        build(tmp_path, packages)


def test_conflicts_between_base_and_apt_are_found(tmp_path: Path) -> None:
    packages = {"one": {"usr/x": b"1"}, "two": {"usr/x": b"2"}, "python3.11-minimal": PYTHON}
    with pytest.raises(AssembleError, match=r"two_1\.0-1_amd64\.deb: `usr/x` is a file .* in one_1\.0-1"):
        build(tmp_path, packages)


def test_a_package_where_a_link_of_the_system_shall_be(tmp_path: Path) -> None:
    packages = {"bad": {"opt/venv": b"a file"}, "python3.11-minimal": PYTHON}
    with pytest.raises(AssembleError, match=r"bad_1\.0-1_amd64\.deb: `opt/venv`"):
        build(tmp_path, packages)


def listing(entries: list[Entry]) -> str:
    rows = [
        (e.path, e.kind, e.mode, e.uid, e.gid, e.link, hashlib.sha256(read(e.content)).hexdigest()) for e in entries
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def test_golden(tmp_path: Path) -> None:
    """This changes only together with the assembler's version."""
    assert listing(build(tmp_path)) == "c2f5dc1669e95ce6ee4243d20341569d0c32e4cdaddb3c52c93b9fbe810236ba"


@pytest.mark.integration
def test_dpkg_reads_the_database(system: dict[str, Entry], tmp_path: Path) -> None:
    assert shutil.which("dpkg-query"), "dpkg-query is needed"
    for path, entry in system.items():
        if path.startswith("var/lib/dpkg"):
            here = tmp_path / path
            if entry.kind == "dir":
                here.mkdir(parents=True, exist_ok=True)
            else:
                here.parent.mkdir(parents=True, exist_ok=True)
                here.write_bytes(read(entry.content))

    def query(*arguments: str) -> str:
        command = ["dpkg-query", f"--admindir={tmp_path}/var/lib/dpkg", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    assert query("-W", "-f", "${Package} ${db:Status-Abbrev}\n").splitlines() == [f"{p} ii " for p in sorted(PACKAGES)]
    assert "/usr/bin/mawk" in query("-L", "mawk").splitlines()
    assert "/usr/lib/x86_64-linux-gnu/libfoo.so.1.0" in query("-L", "libfoo1").splitlines()
