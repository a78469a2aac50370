"""Images that others made, for tests of bases: layers of plain tar entries, pushed as a real client would push them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.registry import RegistryServer

__all__ = ["DEBIAN", "LIBC", "BaseImage", "debian_base", "layer", "publish_base", "publish_index", "push"]

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
LIBC = b"\x7fELF .. GNU C Library (Debian GLIBC 2.36-9+deb12u7) stable release version 2.36.\nCopyright"
DEBIAN = "ID=debian\nVERSION_CODENAME=bookworm\n"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"


def layer(entries: Mapping[str, Any]) -> bytes:
    """A tar of ``entries`` by path: bytes or text is a file (``(content, mode)`` with a mode), ``None`` a folder,
    ``"-> x"`` in a list a symlink, ``"=> x"`` a hard link; a whiteout is an empty file under its name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, value in entries.items():
            info = tarfile.TarInfo(path)
            data = b""
            if isinstance(value, tuple):
                value, owner = value[0], value[1:]
                info.mode, info.uid, info.gid = (*owner, 0, 0)[:3]
            else:
                info.mode = 0o755 if value is None else 0o644
            if value is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(value, list):
                sign, info.linkname = value[0].split(" ", 1)
                info.type = tarfile.SYMTYPE if sign == "->" else tarfile.LNKTYPE
            else:
                data = value.encode() if isinstance(value, str) else value
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class BaseImage:
    """Tar streams, lowest first, and a ``config`` object. ``docker``: with Docker's media types."""

    layers: Sequence[bytes]
    config: Mapping[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"
    docker: bool = False
    compressed: bool = True
    history: Sequence[Mapping[str, Any]] | None = None

    def parts(self) -> tuple[list[bytes], bytes, bytes, str]:
        """Blobs, configuration, manifest and the manifest's media type."""
        blobs = [gzip.compress(t, mtime=0) if self.compressed else t for t in self.layers]
        end = (".gzip" if self.docker else "+gzip") if self.compressed else ""
        kind = f"{DOCKER}.image.rootfs.diff.tar{end}" if self.docker else f"{OCI}.layer.v1.tar{end}"
        history = self.history
        if history is None:
            history = [{"created_by": f"ADD {i}"} for i in range(len(blobs))]
            history = [*history, {"created_by": "ENV A=b", "empty_layer": True}]
        config = json.dumps(
            {
                "os": "linux",
                "architecture": self.architecture,
                "created": "2024-05-06T07:08:09.123Z",
                "config": dict(self.config),
                "rootfs": {"type": "layers", "diff_ids": [digest(t) for t in self.layers]},
                "history": list(history),
            }
        ).encode()
        media = f"{DOCKER}.distribution.manifest.v2+json" if self.docker else f"{OCI}.manifest.v1+json"
        config_media = f"{DOCKER}.container.image.v1+json" if self.docker else f"{OCI}.config.v1+json"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media,
                "config": {"mediaType": config_media, "digest": digest(config), "size": len(config)},
                "layers": [{"mediaType": kind, "digest": digest(b), "size": len(b)} for b in blobs],
            }
        ).encode()
        return blobs, config, manifest, media


def push(server: RegistryServer, name: str, tag: str | None, media: str, manifest: bytes) -> str:
    """Store a manifest without a request."""
    repository = server.repository(name)
    with server.guard:
        repository.manifests[digest(manifest)] = (media, manifest)
        if tag is not None:
            repository.tags[tag] = digest(manifest)
    return digest(manifest)


def publish_base(server: RegistryServer, name: str, image: BaseImage, tag: str | None = "1") -> str:
    """Put ``image`` into the registry; the manifest's digest."""
    blobs, config, manifest, media = image.parts()
    for blob in (*blobs, config):
        server.put_blob(name, blob)
    return push(server, name, tag, media, manifest)


def publish_index(server: RegistryServer, name: str, images: Sequence[BaseImage], tag: str = "1") -> str:
    """Put an index of ``images`` into the registry, with an attestation as BuildKit adds them; the index's digest."""
    rows = []
    for image in images:
        manifest = image.parts()[2]
        found = publish_base(server, name, image, None)
        where = {"os": "linux", "architecture": image.architecture}
        rows.append({"mediaType": image.parts()[3], "digest": found, "size": len(manifest), "platform": where})
    unknown = {"os": "unknown", "architecture": "unknown"}
    rows.append({**rows[0], "platform": unknown})
    media = f"{DOCKER}.distribution.manifest.list.v2+json" if images[0].docker else f"{OCI}.index.v1+json"
    data = json.dumps({"schemaVersion": 2, "mediaType": media, "manifests": rows}).encode()
    return push(server, name, tag, media, data)


def debian_base(**changes: Any) -> BaseImage:
    """Something like the official slim image: Debian below, Python 3.12 in /usr/local, a CA bundle, and no user."""
    below = {
        "bin": ["-> usr/bin"],
        "lib": ["-> usr/lib"],
        "etc": None,
        "etc/passwd": PASSWD,
        "etc/group": "root:x:0:\nnogroup:x:65534:\n",
        "etc/os-release": ["-> ../usr/lib/os-release"],
        "etc/ssl/certs/ca-certificates.crt": "-----BEGIN CERTIFICATE-----\n",
        "home": None,
        "opt": None,
        "root": (None, 0o700),
        "usr": None,
        "usr/bin": None,
        "usr/bin/dash": ("#!", 0o755),
        "usr/lib/os-release": DEBIAN,
        "usr/lib/x86_64-linux-gnu/libc.so.6": (LIBC, 0o755),
        "var/lib/dpkg/status": "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u7\n"
        "Architecture: amd64\nDepends: libgcc-s1\nProvides: libc6-2.36\n\nPackage: gone\n"
        "Status: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n",
    }
    python = {
        "usr/local/bin/python3.12": ("\x7fELF", 0o755),
        "usr/local/bin/python3": ["-> python3.12"],
        "usr/local/bin/python": ["-> python3"],
        "usr/local/include/python3.12/patchlevel.h": '#define PY_VERSION  "3.12.7"\n',
        "usr/local/lib/python3.12/os.py": "",
        "usr/local/lib/python3.12/site-packages/pip/__init__.py": "",
        "usr/local/lib/python3.12/site-packages/pip-24.0.dist-info/METADATA": "Metadata-Version: 2.1\n"
        "Name: pip\nVersion: 24.0\n\nThe installer",
        "usr/local/lib/python3.12/site-packages/pip-24.0.dist-info/RECORD": "pip/__init__.py,,\n",
    }
    config = {
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "PYTHON_VERSION=3.12.7"],
        "Cmd": ["python3"],
    }
    return BaseImage(**{"layers": [layer(below), layer(python)], "config": config, **changes})
