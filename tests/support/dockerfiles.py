"""A Dockerfile with what Dockerfiles have, over bases of a registry of ours; and what is in an image, by path."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flyte_build.store import Store

from .bases import BaseImage, layer, publish_base
from .offline import Offline
from .registry import RegistryServer
from .tiny_root import layer_blob, tiny_root

__all__ = ["FLOW", "WHOLE", "built", "config_of", "context", "files_of", "publish_bases"]

FLOW = """
from pathlib import Path
import flyte
image = flyte.Image.from_dockerfile(Path(__file__).parent / "image/Dockerfile", registry="r", name="n")
low = flyte.TaskEnvironment("low", image=image)
"""

WHOLE = """ARG HOST={host}
FROM $HOST/team/base:1 AS build
ARG WHO=flyte
WORKDIR /src
COPY src/ ./
RUN mkdir -p /out/lib && cp main.txt /out/lib/ && ln -s lib/main.txt /out/latest && chmod 700 /out/lib \\
    && chown -R 1000:1000 /out && chown $WHO /out/lib/main.txt
FROM $HOST/team/base:1 AS unused
RUN exit 9
FROM build AS second
RUN cat /out/latest > /out/second
FROM $HOST/team/base:1
ENV APP=/app PATH=/opt/x:$PATH OTHER=${{NONE:-def}}
LABEL a=b "of app"=$APP
RUN mkdir /made
COPY --from=build /out /app
COPY --from=second --chown=flyte:flyte --chmod=640 /out/sec* ${{APP}}/new/
COPY --from={host}/team/tool:1 /tool /bin/tool
COPY --chown=1000:1000 one.txt two.txt /data/
COPY one.txt /made
ADD tree.tar.gz /unpacked/
RUN --mount=type=bind,from=build,source=/out,target=/mnt/out cat /mnt/out/lib/main.txt > /from-out
RUN --mount=type=cache,target=/cached touch /cached/x
USER flyte
WORKDIR /home/work
RUN id -u > /tmp/who && id -g >> /tmp/who && touch mine
COPY two.txt /tmp/rooted.txt
COPY <<EOF /tmp/here
hello $APP
EOF
EXPOSE 80 90/udp
STOPSIGNAL SIGINT
VOLUME /vol
CMD ["serve"]
ENTRYPOINT ["/init"]
"""


def publish_bases(registry: RegistryServer, folder: Path) -> None:
    """``team/base:1``, in which programs run, and ``team/tool:1``, which is one file."""
    layer_blob(folder / "tiny.tar.gz", tiny_root())
    tiny = gzip.decompress((folder / "tiny.tar.gz").read_bytes())
    group = layer({"etc/group": "root:x:0:\nflyte:x:1000:\n", "home": None})
    publish_base(registry, "team/base", BaseImage([tiny, group], {"Env": ["PATH=/bin"]}))
    publish_base(registry, "team/tool", BaseImage([layer({"tool": ("a tool", 0o755)})]))


def context(folder: Path, text: str) -> None:
    """The Dockerfile and what it copies."""
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text(text)
    for name in ("src/main.txt", "one.txt", "two.txt"):
        (folder / name).write_text(f"{name}\n")
        (folder / name).chmod(0o644)
    (folder / "src").chmod(0o755)
    with tarfile.open(folder / "tree.tar.gz", "w:gz") as tar:
        for path, kind, data in (("in", tarfile.DIRTYPE, b""), ("in/file", tarfile.REGTYPE, b"packed")):
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.uid, member.gid, member.size = kind, 0o750, 5, 6, len(data)
            tar.addfile(member, io.BytesIO(data))


def files_of(blobs: Iterable[Path]) -> dict[str, str]:
    """What the layers come to, lowest first: each path with its kind, mode, owner, and content or target."""
    found: dict[str, str] = {}
    for blob in blobs:
        with tarfile.open(blob) as tar:
            for member in tar:
                _put(found, member, tar.extractfile)
    return found


def _put(found: dict[str, str], member: tarfile.TarInfo, read: Callable[[tarfile.TarInfo], Any]) -> None:
    path = member.name.strip("/").removeprefix("./")
    folder, _, name = path.rpartition("/")
    if name.startswith(".wh."):
        gone = f"{folder}/{name[4:]}".lstrip("/")
        for known in [k for k in found if k == gone or k.startswith(f"{gone}/")]:
            del found[known]
    elif path and path != ".":
        what, mode = member.linkname, f"{member.mode & 0o7777:o}"
        if member.isreg():
            what = hashlib.sha256(read(member).read()).hexdigest()[:12]
        elif member.issym():
            mode = "-"
        elif member.islnk():
            found[path] = found[member.linkname.strip("/")]
            return
        found[path] = f"{member.type.decode()} {mode} {member.uid}:{member.gid} {what}".strip()


def config_of(blob: Path) -> dict[str, Any]:
    """The ``config`` object of an image's configuration."""
    found: dict[str, Any] = json.loads(blob.read_bytes())["config"]
    return found


def built(offline: Offline) -> tuple[dict[str, str], dict[str, Any]]:
    """The files and the configuration of the one image of ``flow.py``, which is locked."""
    (image,) = offline.ok("build", "flow.py", "--json").json()["images"]
    store = Store(offline.store)
    manifest = store.manifest(image["digest"])
    assert manifest is not None
    config = config_of(store.blob_path(manifest["config"]["digest"]))
    return files_of(store.blob_path(row["digest"]) for row in manifest["layers"]), config
