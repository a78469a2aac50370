"""Keys: which ones sign and verify here, which are cosign's to use, and which are refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from flyte_build.kernel.errors import InputError
from flyte_build.supply.keys import public_key, signer

from .pairs import written


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return written(tmp_path, "team", ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_keys_that_sign(kind: str, form: PrivateFormat, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    private, public = written(tmp_path, "a", key, form=form)
    signature = signer(private).sign(b"data")
    for one in (public_key(public), public_key(private), signer(private).public):
        assert one.verifies(signature, b"data")
        assert not one.verifies(signature, b"date")
        assert not one.verifies(signature[:-1], b"data")
        assert not one.verifies(b"", b"data")


def test_a_key_with_a_password(tmp_path: Path) -> None:
    private, public = written(tmp_path, "a", ec.generate_private_key(ec.SECP256R1()), password=b"open")
    with pytest.raises(InputError, match="has a password") as found:
        signer(private, {})
    assert found.value.hint == "set COSIGN_PASSWORD"
    with pytest.raises(InputError, match="is not its password"):
        signer(private, {"COSIGN_PASSWORD": "shut"})
    signature = signer(private, {"COSIGN_PASSWORD": "open"}).sign(b"x")
    assert public_key(public).verifies(signature, b"x")


def test_keys_that_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    odd = written(tmp_path, "odd", ec.generate_private_key(ec.SECP384R1()))
    ed = written(tmp_path, "ed", ed25519.Ed25519PrivateKey.generate())
    for private, public in (odd, ed):
        with pytest.raises(InputError, match="expected an ECDSA key on P-256 or an RSA key"):
            signer(private)
        with pytest.raises(InputError, match="expected an ECDSA key on P-256 or an RSA key"):
            public_key(public)
    with pytest.raises(InputError, match="expected a private key to sign with"):
        signer(pair[1])
    (tmp_path / "text").write_text("no key")
    with pytest.raises(InputError, match="expected a public key in PEM"):
        public_key(str(tmp_path / "text"))
    with pytest.raises(InputError, match="the key cannot be read: No such file"):
        signer(str(tmp_path / "missing"))


@pytest.mark.parametrize("name", ["awskms://alias/a", "env://KEY", "cosign.key"])
def test_a_key_of_cosigns_takes_cosign(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cosign.key").write_text("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    with pytest.raises(InputError, match="there is no `cosign` in PATH"):
        signer(name, {"PATH": str(tmp_path)})
    with pytest.raises(InputError, match="there is no `cosign` in PATH"):
        public_key(name, {"PATH": str(tmp_path)})


@pytest.mark.parametrize("bundle", ["messageSignature", "base64Signature"])
@pytest.mark.parametrize("config", [True, False])
def test_what_cosign_is_asked(bundle: str, config: bool, pair: tuple[str, str], tmp_path: Path) -> None:
    """A stand-in for cosign that keeps to its command line, of version 2 and of version 3."""
    signature = base64.b64encode(signer(pair[0]).sign(b"data")).decode()
    body = {"messageSignature": {"signature": signature}} if bundle == "messageSignature" else {bundle: signature}
    (tmp_path / "bundle.json").write_text(json.dumps(body))
    flag = "--use-signing-config" if config else ""
    program = tmp_path / "cosign"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$*" in "sign-blob --help") echo "{flag}"; exit;; "public-key "*) cat "{pair[1]}"; exit;; esac\n'
        f'echo "$*" >> "{tmp_path}/asked"\n'
        'while [ $# -gt 0 ]; do [ "$1" = --bundle ] && out=$2; shift; done\n'
        f'cp "{tmp_path}/bundle.json" "$out"\n'
    )
    program.chmod(0o755)
    by = signer("awskms://alias/a", {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert by.public.verifies(by.sign(b"data"), b"data")
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("sign-blob --key awskms://alias/a --yes --tlog-upload=false")
    assert ("--use-signing-config=false" in asked) == config
    with pytest.raises(InputError, match="no signature that its own public key verifies"):
        by.sign(b"something else")


def test_what_cosign_says_against_a_key_is_shown(tmp_path: Path) -> None:
    program = tmp_path / "cosign"
    program.write_text("#!/bin/sh\necho 'wrong password' >&2; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(InputError, match="cosign refuses this key") as found:
        public_key("env://KEY", {"PATH": str(tmp_path)})
    assert found.value.detail == "wrong password"
