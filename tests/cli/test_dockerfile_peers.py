"""A Dockerfile as buildah builds it: the same files, modes, owners and configuration."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ..support.bases import BaseImage, layer, publish_base
from ..support.daemons import shell
from ..support.dockerfiles import FLOW, WHOLE, built, config_of, context, files_of, publish_bases
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
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
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
    return built(offline)


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


BEGUN = """FROM {host}/team/begun:1 AS low
RUN cat two.txt >> log
FROM low
COPY --from=low --chown=1000:1000 /app/log /low
CMD ["x"]
"""


def test_what_a_base_says(offline: Offline, registry: RegistryServer, buildah: str, tmp_path: Path) -> None:
    """``ONBUILD`` of an image. (That of a stage, which BuildKit runs, the buildah of Debian 12 does not.)"""
    publish_bases(registry, offline.home)
    tiny = gzip.decompress((offline.home / "tiny.tar.gz").read_bytes())
    triggers = ["ENV WHERE=/app", "WORKDIR $WHERE", "COPY one.txt two.txt ./", "RUN cat one.txt >> log", "LABEL a=b"]
    settings = {"Env": ["PATH=/bin"], "OnBuild": triggers}
    publish_base(registry, "team/begun", BaseImage([tiny, layer({"etc/x": "x"})], settings, docker=True))
    context(offline.project / "image", BEGUN.format(host=registry.host))
    offline.write(FLOW)
    (files, config), (mine, said) = theirs(buildah, offline.project / "image", tmp_path / "dir"), ours(offline)
    assert {"app/one.txt", "app/log", "low"} <= files.keys()
    assert plain(mine) == plain(files)
    for key in ("WorkingDir", "Cmd", "OnBuild"):
        assert said.get(key) == (config.get(key) or None), key
    assert sorted(said["Env"]) == sorted(config["Env"])


LEFT = """FROM {host}/team/base:1 AS low
RUN mkdir /out && touch /out/file && chown 1000:1000 /out/file
FROM {host}/team/base:1
COPY --from=low /out /out
ADD {archive}/given.git /given
RUN --mount=type=secret,id=token cat /run/secrets/token > /made && cat /given > /made
COPY one.txt /one
USER flyte
ENV A=b
HEALTHCHECK CMD true
"""


def test_what_is_left_to_buildah(
    offline: Offline, registry: RegistryServer, buildah: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built twice on locked bases, sealed by digest, stale when the folder changes; the secret is nowhere."""
    publish_bases(registry, offline.home)
    (offline.home / "www/given.git").write_text("given\n")
    context(offline.project / "image", LEFT.format(host=registry.host, archive=offline.archive.url))
    offline.write(FLOW)
    monkeypatch.setenv("TOKEN", "c4n4ry-in-a-mine")
    said = offline.ok("lock", "flow.py").err
    assert "Dockerfile:5: `ADD http" in said
    assert "no step fetches repositories" in said
    assert "buildah builds the image, which is sealed" in said
    assert "low: sealed `build image/Dockerfile`" in said
    (seal,) = json.loads((offline.lockfiles / "low.json").read_text())["platforms"]["linux/amd64"]["seals"]
    assert seal["reproducible"]
    assert (seal["config"]["User"], seal["config"]["Healthcheck"]) == ("flyte", {"Test": ["CMD-SHELL", "true"]})
    files, config = ours(offline)
    assert {path: files[path].split()[:3] for path in ("out/file", "made", "one")} == {
        "out/file": ["0", "644", "1000:1000"],
        "made": ["0", "644", "0:0"],
        "one": ["0", "644", "0:0"],
    }
    assert config["User"] == "flyte"
    assert "A=b" in config["Env"]
    held = [p for p in offline.home.rglob("*") if p.is_file() and b"c4n4ry-in-a-mine" in p.read_bytes()]
    assert held == []
    # Another machine has it built again; a change of the folder makes the seal stale.
    shutil.rmtree(offline.store)
    assert ours(offline) == (files, config)
    (offline.project / "image/one.txt").write_text("other\n")
    assert "is stale" in offline.refused(4, "plan", "flow.py")
