"""SBOMs, provenance and signatures as others see them: oras lists and pulls them, cosign makes and verifies them.

Both programs are Debian's, of its unstable suite where this machine has none. Nothing but the loopback is asked: no
transparency log, no service of Sigstore.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_build.kernel.errors import RefusedError
from flyte_build.kernel.reporting import Silent
from flyte_build.locks.lockfile import Lock, read
from flyte_build.registry import IMAGE_MANIFEST, Reference, Registry
from flyte_build.remote.publishing import PushedImage
from flyte_build.store import Store
from flyte_build.supply.attaching import attach
from flyte_build.supply.documents import FORMATS, document, sent
from flyte_build.supply.keys import signer
from flyte_build.supply.packages import inventory
from flyte_build.supply.pushing import push_bytes
from flyte_build.supply.signing import require_signatures, sign, verify_signature
from tests.support.daemons import registry, shell
from tests.support.sid import sid_program
from tests.support.tools import need

from .conftest import LOCKFILES

pytestmark = pytest.mark.integration

AMD64 = "linux/amd64"
VERIFY = ("verify", "--insecure-ignore-tlog=true", "--allow-http-registry")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry") / "it") as found:
        yield found


@pytest.fixture
def client() -> Iterator[Registry]:
    with Registry(environ={}) as one:
        yield one


@pytest.fixture
def image(address: str, client: Registry, request: pytest.FixtureRequest) -> str:
    """A small image in a repository of the test's own, by digest."""
    name = request.node.name.partition("[")[0].replace("_", "-")
    repository = Reference.parse(f"{address}/{name}")
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    described = push_bytes(client, repository, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": described, "layers": []}
    put = client.put_manifest(repository, json.dumps(manifest).encode(), IMAGE_MANIFEST)
    return str(repository.with_digest(put.digest))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key pairs of cosign's making (``cosign.key`` with a password) and of openssl's (``plain.key``)."""
    folder = tmp_path_factory.mktemp("keys")
    cosign("generate-key-pair", cwd=folder)
    shell(need("openssl"), "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "plain.key")
    shell(need("openssl"), "ec", "-in", folder / "plain.key", "-pubout", "-out", folder / "plain.pub")
    return folder


def variables() -> dict[str, str]:
    folder = str(Path(sid_program("cosign")).parent)
    return {**os.environ, "COSIGN_PASSWORD": "of the test", "PATH": f"{folder}:{os.environ['PATH']}"}


def cosign(*arguments: str | Path, cwd: Path | None = None, code: int = 0) -> str:
    command = [sid_program("cosign"), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=variables(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def locked() -> Lock:
    lock = read(LOCKFILES, "fold_env")
    assert lock is not None
    return lock


def test_oras_lists_and_pulls_what_is_attached(image: str, client: Registry, tmp_path: Path) -> None:
    digest, lock, store = image.partition("@")[2], locked(), Store(tmp_path / "cache")
    pushed = PushedImage("fold_env", image, digest, {AMD64: digest}, (), 0, 0, 0)
    attached = attach([pushed], {"fold_env": lock}, store, client, Silent())
    oras = sid_program("oras")
    listed = json.loads(shell(oras, "discover", "--plain-http", "--format", "json", image))
    rows = listed.get("referrers") or listed.get("manifests")
    assert {(r["artifactType"], r["digest"]) for r in rows} == {
        (FORMATS[a.format].media_type, a.reference.partition("@")[2]) for a in attached
    }
    described = inventory(lock, AMD64, digest=digest)
    for one in attached:
        folder = tmp_path / one.format
        shell(oras, "pull", "--plain-http", "--output", folder, one.reference)
        (file,) = folder.iterdir()
        assert file.name == f"fold_env-linux-amd64{FORMATS[one.format].suffix}"
        assert file.read_bytes() == sent(document(one.format, lock, described))


@pytest.mark.parametrize("key", ["plain.key", "cosign.key"])
def test_cosign_verifies_what_we_signed(
    key: str, image: str, client: Registry, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PATH", "COSIGN_PASSWORD"):
        monkeypatch.setenv(name, variables()[name])
    public = {"plain.key": "plain.pub", "cosign.key": "cosign.pub"}
    assert sign(image, signer(str(keys / key)), client)
    assert not sign(image, signer(str(keys / key)), client)
    (said,) = json.loads(cosign(*VERIFY, "--key", keys / public[key], "--output", "json", image))
    assert said["critical"]["image"]["docker-manifest-digest"] == image.partition("@")[2]
    require_signatures({"env": image}, str(keys / public[key]), client)


def test_documents_are_in_no_ones_way(image: str, client: Registry, keys: Path, tmp_path: Path) -> None:
    digest, lock = image.partition("@")[2], locked()
    pushed = PushedImage("fold_env", image, digest, {AMD64: digest}, (), 0, 0, 0)
    for again in (False, True):
        found = attach([pushed], {"fold_env": lock}, Store(tmp_path / "cache"), client, Silent())
        assert [one.new for one in found] == [not again] * 3
        assert sign(image, signer(str(keys / "plain.key")), client) == (not again)
        cosign(*VERIFY, "--key", keys / "plain.pub", image)


def test_two_keys_of_one_image(image: str, client: Registry, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "COSIGN_PASSWORD"):
        monkeypatch.setenv(name, variables()[name])
    assert sign(image, signer(str(keys / "plain.key")), client)
    assert sign(image, signer(str(keys / "cosign.key")), client)
    for public in ("plain.pub", "cosign.pub"):
        cosign(*VERIFY, "--key", keys / public, image)


def test_cosign_refuses_what_another_key_signed(image: str, client: Registry, keys: Path) -> None:
    sign(image, signer(str(keys / "plain.key")), client)
    command = [sid_program("cosign"), *VERIFY, "--key", str(keys / "cosign.pub"), image]
    done = subprocess.run(command, env=variables(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    with pytest.raises(RefusedError, match="signed, but not by this key"):
        require_signatures({"env": image}, str(keys / "cosign.pub"), client)


def test_we_verify_what_cosign_signed(image: str, client: Registry, keys: Path) -> None:
    quiet = ["--yes", "--tlog-upload=false", "--allow-http-registry"]
    if "--use-signing-config" in cosign("sign", "--help"):
        quiet.append("--use-signing-config=false")
    assert not verify_signature(image, str(keys / "cosign.pub"), client)
    cosign("sign", "--key", keys / "cosign.key", *quiet, image)
    assert verify_signature(image, str(keys / "cosign.pub"), client)
    assert not verify_signature(image, str(keys / "plain.pub"), client)
    # Where cosign 3 finds a bundle, it looks at nothing else: we have to leave one, too.
    sign(image, signer(str(keys / "plain.key")), client)
    for public in ("plain.pub", "cosign.pub"):
        assert verify_signature(image, str(keys / public), client)
        cosign(*VERIFY, "--key", keys / public, image)
