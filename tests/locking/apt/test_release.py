"""Release files: what a signature covers, and that a good one for something else is not accepted."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flyte_build.kernel.errors import FetchError, InputError, RefusedError
from flyte_build.locking.apt.release import expiry, parse_release
from flyte_build.locking.apt.signature import keyrings, verified_text
from flyte_build.sources.mirrors import Mirror
from tests.support.archive import Signer

MIRROR = Mirror("http://mirror.example/debian", "debian", "a test")
TEXT = """\
Origin: Debian
Label: Debian
Suite: oldstable
Codename: bookworm
Date: Sat, 11 Jul 2026 10:16:37 UTC
Valid-Until: Sat, 18 Jul 2026 10:16:37 UTC
Acquire-By-Hash: yes
No-Support-for-Architecture-all: Packages
Architectures: all amd64 arm64
Components: main contrib
SHA256:
 aaaa        5 main/binary-amd64/Packages
 BBBB       20 main/binary-amd64/Packages.xz
"""


# -- what the text says ------------------------------------------------------------------------------


def test_the_fields_of_a_release() -> None:
    release = parse_release(TEXT, MIRROR, "bookworm")
    assert release.url == "http://mirror.example/debian/dists/bookworm"
    assert release.date == datetime(2026, 7, 11, 10, 16, 37, tzinfo=UTC)
    assert (release.by_hash, release.all_apart) == (True, False)
    assert release.architectures == ("all", "amd64", "arm64")
    assert {(f.path, f.size, f.sha256) for f in release.files.values()} == {
        ("main/binary-amd64/Packages", 5, "aaaa"),
        ("main/binary-amd64/Packages.xz", 20, "bbbb"),
    }


def test_the_security_archive_has_its_own_label_and_component_names() -> None:
    mirror = Mirror("http://mirror.example/debian-security", "debian-security", "a test")
    text = TEXT.replace("Label: Debian", "Label: Debian-Security").replace("bookworm", "bookworm-security")
    text = text.replace("main contrib", "updates/main updates/contrib")
    assert parse_release(text, mirror, "bookworm-security").components == ("main", "contrib")
    with pytest.raises(FetchError, match=r"expected the archive Debian, Debian-Security, found Debian, Debian$"):
        parse_release(TEXT, mirror, "bookworm-security")


@pytest.mark.parametrize("asked", ["bookworm", "oldstable"])
def test_a_suite_by_codename_or_by_its_standing(asked: str) -> None:
    assert parse_release(TEXT, MIRROR, asked).codename == "bookworm"


def test_updates_may_carry_the_codename_of_their_suite() -> None:
    text = TEXT.replace("Suite: oldstable", "Suite: oldstable-updates")
    assert parse_release(text, MIRROR, "bookworm-updates").suite == "bookworm-updates"
    with pytest.raises(FetchError):
        parse_release(text, MIRROR, "trixie-updates")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Codename: bookworm", "Codename: trixie", r"expected the suite bookworm, found trixie \(oldstable\)"),
        ("Origin: Debian", "Origin: Ubuntu", "expected the archive Debian, Debian, found Ubuntu, Debian"),
        ("Date: Sat, 11 Jul 2026 10:16:37 UTC\n", "", "expected a Date, found none"),
        ("Date: Sat, 11 Jul", "Date: some day", "Date: expected a date, found `some day"),
    ],
)
def test_another_archives_or_suites_release_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        parse_release(TEXT.replace(old, new), MIRROR, "bookworm")


def test_expired_and_from_the_future() -> None:
    release = parse_release(TEXT, MIRROR, "bookworm")
    assert expiry(release, release.date + timedelta(days=6)) is None
    assert expiry(release, release.date - timedelta(minutes=30)) is None
    assert expiry(release, datetime(2026, 8, 1, tzinfo=UTC)) == (
        "expired on 2026-07-18 10:16 UTC, and it is 2026-08-01 00:00 UTC"
    )
    assert "in the future" in str(expiry(release, datetime(2026, 7, 1, tzinfo=UTC)))
    timeless = parse_release(TEXT.replace("Valid-Until", "X-Valid-Until"), MIRROR, "bookworm")
    assert expiry(timeless, datetime(2036, 8, 1, tzinfo=UTC)) is None


# -- which keys --------------------------------------------------------------------------------------


def test_keyrings_never_include_removed_keys(tmp_path: Path) -> None:
    for name in ("bookworm-stable.gpg", "removed-keys.gpg", "trixie-stable.pgp", "notes.txt"):
        (tmp_path / f"debian-archive-{name}").touch()
    assert [p.name for p in keyrings({}, tmp_path)] == [
        "debian-archive-bookworm-stable.gpg",
        "debian-archive-trixie-stable.pgp",
    ]
    (tmp_path / "debian-archive-keyring.gpg").touch()
    assert keyrings({}, tmp_path) == [tmp_path / "debian-archive-keyring.gpg"]


def test_an_explicit_keyring(tmp_path: Path) -> None:
    ring = tmp_path / "ring.gpg"
    ring.touch()
    assert keyrings({"FLYTE_BUILD_DEBIAN_KEYRING": str(ring)}) == [ring]
    with pytest.raises(InputError, match=r"\$FLYTE_BUILD_DEBIAN_KEYRING: expected a keyring file"):
        keyrings({"FLYTE_BUILD_DEBIAN_KEYRING": str(tmp_path / "none")})


def test_without_keys_or_verifier_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RefusedError) as no_keys:
        keyrings({}, tmp_path)
    assert "apt-get install debian-archive-keyring" in str(no_keys.value.hint)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError) as no_tool:
        verified_text(b"", [tmp_path], "x")
    assert "apt-get install gpgv" in str(no_tool.value.hint)


# -- signatures, with the real tools -----------------------------------------------------------------


@pytest.mark.integration
def test_only_the_signed_text_comes_back(signer: Signer) -> None:
    signed = b"Origin: Evil\n\n" + signer.clearsign(TEXT + "- a line that is escaped\n") + b"\nLabel: Evil\n"
    assert verified_text(signed, [signer.keyring], "x") == TEXT + "- a line that is escaped\n"


@pytest.mark.integration
def test_an_altered_text_is_refused(signer: Signer) -> None:
    signed = signer.clearsign(TEXT).replace(b"bookworm", b"buckworm")
    with pytest.raises(FetchError, match=r"InRelease: expected a good signature by a key of .*: BAD signature"):
        verified_text(signed, [signer.keyring], "http://mirror.example/InRelease")


@pytest.mark.integration
def test_a_strangers_signature_is_refused_and_passed_over_beside_a_good_one(signer: Signer, tmp_path: Path) -> None:
    stranger = Signer(tmp_path, "Stranger")
    try:
        with pytest.raises(FetchError, match="signed by unknown keys only"):
            verified_text(stranger.clearsign(TEXT), [signer.keyring], "x")
        assert verified_text(stranger.clearsign(TEXT), [signer.keyring, stranger.keyring], "x") == TEXT
        both = _signed_by_both(stranger.clearsign(TEXT), signer.clearsign(TEXT))
        assert verified_text(both, [signer.keyring], "x") == TEXT
    finally:
        stranger.close()


@pytest.mark.integration
def test_a_bad_signature_beside_a_good_one_is_refused(signer: Signer, tmp_path: Path) -> None:
    second = Signer(tmp_path, "Second")
    try:
        both = _signed_by_both(signer.clearsign(TEXT), second.clearsign(TEXT + "More: text\n"))
        with pytest.raises(FetchError, match="BAD signature, the text was altered"):
            verified_text(both, [signer.keyring, second.keyring], "x")
    finally:
        second.close()


@pytest.mark.integration
@pytest.mark.parametrize("data", [TEXT.encode(), b"", b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin:"])
def test_what_is_not_signed_is_refused(signer: Signer, data: bytes) -> None:
    with pytest.raises(FetchError, match="expected a good signature"):
        verified_text(data, [signer.keyring], "x")


@pytest.mark.integration
def test_the_users_own_gnupg_keys_do_not_count(signer: Signer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "trustedkeys.gpg").write_bytes(signer.keyring.read_bytes())
    (tmp_path / "empty.gpg").touch()
    monkeypatch.setenv("GNUPGHOME", str(home))
    with pytest.raises(FetchError, match="unknown keys only"):
        verified_text(signer.clearsign(TEXT), [tmp_path / "empty.gpg"], "x")


def _packets(signed: bytes) -> bytes:
    """The signature packets of a cleartext-signed message (RFC 9580, 6.2: base64 between a blank line and the sum)."""
    body = signed.split(b"-----BEGIN PGP SIGNATURE-----\n", 1)[1]
    return base64.b64decode(b"".join(row for row in body.split(b"\n") if row and row[:1] not in b"=-"))


def _signed_by_both(one: bytes, two: bytes) -> bytes:
    """``one`` with the signature packets of both, as Debian's Release files are signed by several keys."""
    head = one[: one.index(b"-----BEGIN PGP SIGNATURE-----")]
    armour = base64.encodebytes(_packets(one) + _packets(two))
    return head + b"-----BEGIN PGP SIGNATURE-----\n\n" + armour + b"-----END PGP SIGNATURE-----\n"


# -- sqv's side, by its contract -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1])
def test_sqv_is_used_where_gpgv_is_missing_and_its_status_alone_decides(
    status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # sqv writes --output before it has judged; its exit status is the verdict.
    tool = tmp_path / "sqv"
    tool.write_text(
        "#!/bin/sh\n"
        'test "$1 $3 $5" = "--keyring --output --cleartext" || exit 9\n'
        'printf "Origin: Debian\\n" > "$4"\n'
        "echo 'Error: no valid signature' >&2\n"
        f"exit {status}\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if status == 0:
        assert verified_text(b"x", [tmp_path / "ring"], "x") == "Origin: Debian\n"
    else:
        with pytest.raises(FetchError, match="Error: no valid signature"):
            verified_text(b"x", [tmp_path / "ring"], "x")
