"""Maintainer scripts are read, never run: which ones matter, and which alternatives they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flyte_build.assemble.alternatives import Alternative, alternatives, install_calls
from flyte_build.assemble.deb import Control, read_control
from flyte_build.assemble.debian import Tree, read
from flyte_build.assemble.entries import Entry
from flyte_build.assemble.scripts import known_scripts, unhandled_scripts
from tests.support.debs import build_deb

HARMLESS = r"""#!/bin/sh
set -e
# Automatically added by dh_installsystemd/13.11
if deb-systemd-helper --quiet was-enabled 'x.service'; then
    deb-systemd-helper enable 'x.service' >/dev/null || true
fi
# End automatically added section
case "$1" in
    configure)
        ldconfig
        update-alternatives --quiet \
            --install /usr/bin/editor editor /usr/bin/x 10 \
            --slave /usr/share/man/man1/editor.1.gz editor.1.gz /usr/share/man/man1/x.1.gz
    ;;
    abort-upgrade|abort-remove)
    ;;
    *)
        echo "unknown argument $1" >&2
        exit 1
    ;;
esac
dpkg-maintscript-helper rm_conffile /etc/x 1.0 -- "$@"
exit 0
"""


def control(tmp_path: Path, name: str, scripts: Mapping[str, str | bytes]) -> Control:
    return read_control(build_deb(tmp_path, name, "1", {}, scripts=scripts))


def test_scaffolding_and_what_is_replaced_is_no_reason_to_warn(tmp_path: Path) -> None:
    assert unhandled_scripts([control(tmp_path, "x", {"postinst": HARMLESS, "preinst": "#! /bin/bash -e\n"})]) == []


@pytest.mark.parametrize(
    "line",
    [
        "adduser --system x",
        "mkdir -p /var/lib/x",
        'echo "$(make-something)" > /etc/x',
        "update-alternatives --install /usr/bin/$prog $prog /usr/bin/x 10",
        "dpkg-divert --add /usr/bin/other",
        "if true; then rm -f /etc/x; fi",
        "echo `rm -f /etc/x`",
        "echo word > /etc/x",
    ],
)
def test_an_effect_is_a_reason(tmp_path: Path, line: str) -> None:
    script = HARMLESS.replace("ldconfig", line)
    assert unhandled_scripts([control(tmp_path, "x", {"postinst": script})]) == [("x", "postinst")]


def test_sections_of_tools_with_effects_count(tmp_path: Path) -> None:
    script = "#!/bin/sh\n# Automatically added by dh_installsysusers/1\nsystemd-sysusers x.conf\n"
    script += "# End automatically added section\n"
    assert unhandled_scripts([control(tmp_path, "x", {"preinst": script})]) == [("x", "preinst")]


@pytest.mark.parametrize("script", [b"#!/usr/bin/perl\nunlink 'x';\n", b"\x7fELF\xff\xfe", b"#!/usr/bin/python3\n"])
def test_what_is_no_shell_script_counts(tmp_path: Path, script: bytes) -> None:
    assert unhandled_scripts([control(tmp_path, "x", {"postinst": script})]) == [("x", "postinst")]


def test_scripts_for_upgrades_and_removals_do_not_count(tmp_path: Path) -> None:
    scripts = dict.fromkeys(("prerm", "postrm", "config"), "#!/bin/sh\nrm -rf /\n")
    assert unhandled_scripts([control(tmp_path, "x", scripts)]) == []


def test_packages_that_somebody_read(tmp_path: Path) -> None:
    effect = {"postinst": "#!/bin/sh\ncp -p a b\n"}
    debs = [
        control(tmp_path, name, effect) for name in ("zz", "base-files", "python3.13-minimal", "base-files-x", "aa")
    ]
    assert unhandled_scripts(debs) == [("aa", "postinst"), ("base-files-x", "postinst"), ("zz", "postinst")]
    assert known_scripts("python3.14") == known_scripts("python3.11-minimal")
    assert known_scripts("postgresql") is None


# -- alternatives ----------------------------------------------------------------------------------


def calls(script: str) -> list[Alternative | None]:
    return [meaning for _, meaning in install_calls(script)]


def test_plain_calls_are_understood() -> None:
    assert calls(HARMLESS) == [
        Alternative(
            "/usr/bin/editor",
            "editor",
            "/usr/bin/x",
            10,
            (("/usr/share/man/man1/editor.1.gz", "editor.1.gz", "/usr/share/man/man1/x.1.gz"),),
        )
    ]
    assert calls('update-alternatives --install /etc/my.cnf my.cnf "/etc/m y.cnf" 500 || true') == [
        Alternative("/etc/my.cnf", "my.cnf", "/etc/m y.cnf", 500, ())
    ]
    assert calls("update-alternatives --install /usr/bin/cc cc /usr/bin/gcc 20 \\\n  #--slave /a b /c") == [
        Alternative("/usr/bin/cc", "cc", "/usr/bin/gcc", 20, ())
    ]


@pytest.mark.parametrize(
    "call",
    [
        "update-alternatives --install /usr/bin/$p p /usr/bin/p 10",
        "update-alternatives --install /usr/bin/p p /usr/bin/p",
        "update-alternatives --install /usr/bin/p p /usr/bin/p ten",
        "update-alternatives --install usr/bin/p p /usr/bin/p 10",
        "update-alternatives --install /usr/../p p /usr/bin/p 10",
        "update-alternatives --install /usr/bin/p ../../p /usr/bin/p 10",
        "update-alternatives --install /usr/bin/p p /usr/bin/p 10 --slave /a b",
        "update-alternatives --install /usr/bin/p p /usr/bin/p 10 $(slaves)",
        "update-alternatives --remove p /usr/bin/p",
        "update-alternatives --install '/usr/bin/p p /usr/bin/p 10",
    ],
)
def test_others_are_not_guessed_at(call: str) -> None:
    assert calls(call) == [None]


def file(path: str) -> Entry:
    return Entry(path, "file", 0o755)


def test_the_highest_priority_wins_and_dpkg_can_tell(tmp_path: Path) -> None:
    def postinst(priority: int, program: str, slave: str) -> dict[str, str]:
        install = f"update-alternatives --install /usr/bin/awk awk /usr/bin/{program} {priority}"
        return {"postinst": f"#!/bin/sh\n{install} --slave /usr/bin/nawk nawk {slave}\n"}

    controls = [
        control(tmp_path, "gawk", postinst(10, "gawk", "/usr/bin/gawk")),
        control(tmp_path, "gone", postinst(99, "gone", "/usr/bin/gone")),
        control(tmp_path, "mawk", postinst(5, "mawk", "/usr/bin/missing")),
    ]
    paths = ["usr", "usr/bin", "usr/bin/gawk", "usr/bin/mawk"]
    tree = Tree({p: file(p) if p.endswith("awk") else Entry(p, "dir", 0o755) for p in paths})
    found = {e.path: e for e in alternatives(controls, tree)}
    assert {p: e.link for p, e in found.items() if e.kind == "symlink"} == {
        "usr/bin/awk": "/etc/alternatives/awk",
        "etc/alternatives/awk": "/usr/bin/gawk",
        "usr/bin/nawk": "/etc/alternatives/nawk",
        "etc/alternatives/nawk": "/usr/bin/gawk",
    }
    assert read(found["var/lib/dpkg/alternatives/awk"].content).decode() == (
        "auto\n/usr/bin/awk\nnawk\n/usr/bin/nawk\n\n"
        "/usr/bin/gawk\n10\n/usr/bin/gawk\n/usr/bin/mawk\n5\n/usr/bin/missing\n\n"
    )


def test_no_link_takes_the_place_of_a_file(tmp_path: Path) -> None:
    script = "#!/bin/sh\nupdate-alternatives --install /bin/x x /usr/bin/y 1\n"
    tree = Tree(
        {p: file(p) for p in ("usr/bin/x", "usr/bin/y")} | {p: Entry(p, "dir", 0o755) for p in ("usr", "usr/bin")}
    )
    found = alternatives([control(tmp_path, "x", {"postinst": script})], tree)
    assert [e.path for e in found] == ["var/lib/dpkg/alternatives/x"]
