"""The host's apt configuration: which sources are Debian's, which proxy leads there."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.sources.apt_sources import Source, read_host_apt

DOCKER_IMAGE = """\
Types: deb
# an instant in a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
Check-Valid-Until: no
"""

BARE_METAL = """\
#deb cdrom:[Debian GNU/Linux 12.0.0]/ bookworm main
deb http://mirror.example/debian/ bookworm main non-free-firmware  # the near one
deb-src http://mirror.example/debian/ bookworm main

deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://s.example/ bookworm-security main
deb http://mirror.example/debian bookworm-updates main
"""


def host(tmp_path: Path, *, main: str = "", dump: str = "", **parts: str):  # type: ignore[no-untyped-def]
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True, exist_ok=True)
    if main:
        (tmp_path / "etc/apt/sources.list").write_text(main)
    for name, text in parts.items():
        (folder / name.replace("__", ".")).write_text(text)
    return read_host_apt(dump, tmp_path)


def test_deb822_of_a_container_image(tmp_path: Path) -> None:
    apt = host(tmp_path, debian__sources=DOCKER_IMAGE)
    where = "/etc/apt/sources.list.d/debian.sources (stanza {})"
    assert apt.sources == (
        Source("http://mirror.example/debian", "debian", where.format(1), None),
        Source("http://mirror.example/debian-security", "debian-security", where.format(2), False),
    )
    assert apt.skipped == ()


def test_one_line_style_with_options_comments_and_a_security_archive_at_a_root(tmp_path: Path) -> None:
    apt = host(tmp_path, main=BARE_METAL)
    assert [(s.url, s.archive, s.where) for s in apt.sources] == [
        ("http://mirror.example/debian", "debian", "/etc/apt/sources.list:2"),
        ("https://s.example", "debian-security", "/etc/apt/sources.list:5"),
    ]


def test_old_security_suites_have_a_slash(tmp_path: Path) -> None:
    apt = host(tmp_path, main="deb http://security.example buster/updates main\n")
    assert [(s.url, s.archive) for s in apt.sources] == [("http://security.example", "debian-security")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("deb http://mirror.example/ubuntu noble main universe", "suite `noble`"),
        ("deb https://vendor.example/linux/debian bookworm stable", "no component `main`"),
        (
            "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/debian bookworm main",
            "signed by /usr/share/keyrings/vendor.gpg",
        ),
        ("deb cdrom:[x]/ bookworm main", "`cdrom:` sources are not supported"),
        ("deb mirror://mirror.example/list bookworm main", "`mirror:` sources are not supported"),
        ("deb http://mirror.example/$(ARCH) bookworm main", "has a variable in it"),
    ],
)
def test_what_is_skipped_says_why(tmp_path: Path, line: str, reason: str) -> None:
    apt = host(tmp_path, main=line + "\n")
    assert apt.sources == ()
    assert [s.where for s in apt.skipped] == ["/etc/apt/sources.list:1"]
    assert reason in apt.skipped[0].reason


def test_disabled_and_source_only_stanzas_are_not_sources(tmp_path: Path) -> None:
    disabled = DOCKER_IMAGE.replace("Types: deb\n", "Types: deb\nEnabled: no\n", 1).replace(
        "Types: deb\nURIs", "Types: deb-src\nURIs"
    )
    apt = host(tmp_path, debian__sources=disabled)
    assert (apt.sources, apt.skipped) == ((), ())


def test_files_are_read_in_apts_order_and_others_are_not(tmp_path: Path) -> None:
    line = "deb http://{}.example/debian bookworm main\n"
    apt = host(
        tmp_path,
        main=line.format("main"),
        b__list=line.format("b"),
        a__list=line.format("a"),
        c__list__disabled=line.format("c"),
    )
    assert [s.url for s in apt.sources] == [f"http://{h}.example/debian" for h in ("main", "a", "b")]


def test_a_list_of_mirrors_in_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "etc/apt/mirrors").mkdir(parents=True)
    (tmp_path / "etc/apt/mirrors/debian.list").write_text("# near\nhttp://one.example/debian/\tpriority:1\nftp://no\n")
    stanza = DOCKER_IMAGE.replace("http://mirror.example/debian\n", "mirror+file:///etc/apt/mirrors/debian.list\n")
    stanza = stanza.replace("http://mirror.example/debian-security/", "mirror+file:/etc/apt/mirrors/missing.list")
    apt = host(tmp_path, debian__sources=stanza)
    assert [(s.url, s.archive) for s in apt.sources] == [("http://one.example/debian", "debian")]
    assert "missing.list" in apt.skipped[0].reason
    assert "cannot be read" in apt.skipped[0].reason


def test_apts_own_folders_are_honoured(tmp_path: Path) -> None:
    (tmp_path / "opt/apt").mkdir(parents=True)
    (tmp_path / "opt/apt/my.list").write_text("deb http://mirror.example/debian sid main\n")
    apt = read_host_apt('Dir::Etc "/opt/apt";\nDir::Etc::sourcelist "my.list";\n', tmp_path)
    assert [s.url for s in apt.sources] == ["http://mirror.example/debian"]


def test_no_apt_at_all(tmp_path: Path) -> None:
    assert read_host_apt("", tmp_path).sources == ()


def test_an_unreadable_file_does_not_stop_the_others(tmp_path: Path) -> None:
    apt = host(tmp_path, a__sources="\x00\n : : \nnonsense", debian__sources=DOCKER_IMAGE)
    assert len(apt.sources) == 2


DUMP = """\
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::near.example "DIRECT";
Acquire::HTTPS::Proxy::far.example "http://other.example:1";
"""


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://mirror.example/debian", "http://proxy.example:3128"),
        ("http://near.example/debian", "DIRECT"),
        ("https://mirror.example/debian", "http://proxy.example:3128"),
        ("https://far.example/debian", "http://other.example:1"),
    ],
)
def test_apts_proxy(tmp_path: Path, url: str, proxy: str) -> None:
    assert host(tmp_path, dump=DUMP).proxy(url) == proxy


def test_no_proxy_and_the_valid_until_switch(tmp_path: Path) -> None:
    apt = host(tmp_path, dump='Acquire::Check-Valid-Until "false";\n')
    assert apt.proxy("http://mirror.example") is None
    assert not apt.check_valid_until
    assert host(tmp_path).check_valid_until
