"""A Dockerfile as buildah builds it: the same files, modes, owners and configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flyte_build.store import Store

from ..support.daemons import shell
from ..support.dockerfiles import FLOW, WHOLE, config_of, context, files_of, publish_bases
from ..support.offline import Offline
from ..support.registry import RegistryServer
from ..support.tools import need, need_root

pytestmark = pytest.mark.integration

# What the sandbox of the one or of the other leaves, and no image needs.
_OF_BUILDERS = ("proc", "sys", "dev", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv")
# The folder on the way to what was mounted, which buildah leaves, and BuildKit does not.
_DIFFERENT = ("mnt",)


@pytest.fixture
def buildah(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """buildah with a storage of its own."""
    need_root("a storage without a kernel's help")
    text = f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    (tmp_path / "storage.conf").write_text(text)
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    monkeypatch.setenv("FLYTE_BUILD_SEAL_NETWORK", "none")
    return need("buildah")


def theirs(buildah: str, folder: Path, out: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The files and the configuration of what buildah makes of the Dockerfile in ``folder``."""
    words = ["build", "--tls-verify=false", "--format", "docker", "--iidfile", out.with_suffix(".id"), folder]
    shell(buildah, *words)
    shell(buildah, "push", out.with_suffix(".id").read_text().strip(), f"dir:{out}")
    manifest = json.loads((out / "manifest.json").read_text())
    blobs = [out / row["digest"].partition(":")[2] for row in (*manifest["layers"], manifest["config"])]
    return files_of(blobs[:-1]), config_of(blobs[-1])


def ours(offline: Offline) -> tuple[dict[str, str], dict[str, Any]]:
    offline.ok("lock", "flow.py")
    (image,) = offline.ok("build", "flow.py", "--json").json()["images"]
    store = Store(offline.store)
    manifest = store.manifest(image["digest"])
    assert manifest is not None
    config = config_of(store.blob_path(manifest["config"]["digest"]))
    return files_of(store.blob_path(row["digest"]) for row in manifest["layers"]), config


def plain(found: dict[str, str]) -> dict[str, str]:
    return {path: what for path, what in found.items() if path not in _OF_BUILDERS and path not in _DIFFERENT}


def test_the_same_image(offline: Offline, registry: RegistryServer, buildah: str, tmp_path: Path) -> None:
    publish_bases(registry, offline.home)
    # The buildah of Debian 12 knows no here-documents.
    text = WHOLE.replace("COPY <<EOF /tmp/here\nhello $APP\nEOF\n", "")
    context(offline.project / "image", text.format(host=registry.host))
    offline.write(FLOW)
    (files, config), (mine, settings) = theirs(buildah, offline.project / "image", tmp_path / "dir"), ours(offline)
    assert plain(mine) == plain(files)
    for key in ("User", "WorkingDir", "ExposedPorts", "Volumes", "Cmd", "Entrypoint", "StopSignal"):
        assert settings.get(key) == config.get(key), key
    assert sorted(settings["Env"]) == sorted(config["Env"])
    assert settings["Labels"].items() <= config["Labels"].items()
