"""Packages on top of a system that is there already: only what is missing, and nothing of it replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from flyte_build.kernel.errors import ResolutionError
from flyte_build.kernel.reporting import Recorder
from flyte_build.locking.apt import Debian, DebianResolution
from flyte_build.locking.apt.package import Package, Relation, installed_packages
from tests.support.archive import NOW, Server, Signer
from tests.support.debian import places


def stanza(name: str, version: str, **fields: str) -> str:
    rows = {"Status": "install ok installed", "Architecture": "amd64", "Version": version, **fields}
    return f"Package: {name}\n" + "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in rows.items())


def test_what_dpkg_says_is_installed() -> None:
    first = "\n".join(
        [
            stanza("libc6", "2.36", Depends="libgcc-s1, libx (>= 1) | liby", Breaks="old (<< 2)", Provides="c (= 2)"),
            stanza("gone", "1", Status="deinstall ok config-files"),
            stanza("foreign", "1", Architecture="i386"),
            stanza("data", "1:2", Architecture="all", Source="src (1)"),
        ]
    )
    found = {p.name: p for p in installed_packages([first, "Package: tiny\nVersion: 1\n"], "amd64")}
    assert sorted(found) == ["data", "libc6", "tiny"]
    assert found["libc6"].depends == ((Relation("libgcc-s1"),), (Relation("libx", ">=", "1"), Relation("liby")))
    assert found["libc6"].against == (Relation("old", "<<", "2"),)
    assert Relation("c", "=", "2").matched_by(found["libc6"])
    assert (found["data"].source, found["data"].version) == ("src", "1:2")
    assert isinstance(found["tiny"], Package)


def add(
    server: Server, signer: Signer, tmp_path: Path, status: Sequence[str], packages: Sequence[str]
) -> DebianResolution:
    with httpx.Client() as http:
        debian = Debian(
            cutoff=None,
            reporter=Recorder(),
            http=http,
            mirrors=places(server),
            cache=tmp_path / "indices",
            rings=[signer.keyring],
            now=lambda: NOW,
        )
        return debian.add("bookworm", "amd64", status, packages)


@pytest.mark.integration  # gpg signs, gpgv verifies
def test_only_what_is_missing_is_added(server: Server, signer: Signer, tmp_path: Path) -> None:
    from tests.support.debian import lock, versions

    whole = {**versions(lock(server, signer, tmp_path, ["git"])), "dpkg": "1.21", "perl-base": "5.36"}
    there = [stanza(name, version) for name, version in whole.items() if name not in ("git", "perl")]
    found = add(server, signer, tmp_path, ["\n".join(there)], ["git"])
    assert versions(found) == {name: whole[name] for name in ("git", "perl")}
    assert not any(d.base for d in found.debs)
    assert add(server, signer, tmp_path, ["\n".join([*there, stanza("git", "1:9")])], ["git"]).debs == ()


@pytest.mark.integration
def test_what_is_installed_is_never_replaced(server: Server, signer: Signer, tmp_path: Path) -> None:
    """The index's packages need a C library that is newer than the base's: that is the user's to decide."""
    with pytest.raises(ResolutionError) as caught:
        add(server, signer, tmp_path, [stanza("libc6", "2.0"), stanza("perl-base", "1.0")], ["git"])
    assert "never replaced: take a newer base" in (caught.value.hint or "")
