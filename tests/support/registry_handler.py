"""What the registry of the tests does with blobs, manifests and lists: the distribution specification."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from typing import Any
from urllib.parse import urlencode

from tests.support.registry_wire import Answer, Wire, problem

__all__ = ["RegistryHandler"]

_INDEX = "application/vnd.oci.image.index.v1+json"


class RegistryHandler(Wire):
    """Each method ends with an :class:`Answer`."""

    def _get_ping(self) -> None:
        self._json({})

    # -- blobs -----------------------------------------------------------------------------------------

    def _get_blob(self) -> None:
        with self.registry.guard:
            known = self.id in self._repository().blobs
            data = self.registry.blobs.get(self.id, b"")
        if not known:
            raise problem(404, "BLOB_UNKNOWN")
        if self.registry.redirect is not None and self.command == "GET":
            raise Answer(307, headers={"Location": self.registry.redirect + self.id})
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": self.id}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.registry.ranges:
            start = int(asked[1])
            if start >= len(data):
                raise problem(416, "RANGE_INVALID")
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            raise Answer(206, data[start:], headers)
        raise Answer(200, data, headers)

    _head_blob = _get_blob

    def _post_upload(self) -> None:
        self._body()
        server, wanted, source = self.registry, self.query.get("mount"), self.query.get("from", "")
        if "mount" in self.query and server.mount == "refused":
            raise problem(405, "UNSUPPORTED")
        with server.guard:
            if wanted and server.mount == "yes" and wanted in server.repository(source).blobs:
                self._repository().blobs.add(wanted)
                raise Answer(201, headers=self._there(wanted))
            session = secrets.token_hex(8)
            self._repository().uploads[session] = bytearray()
        raise Answer(202, headers=self._going(session, 0))

    def _patch_session(self) -> None:
        if not self.registry.patch:
            self._body()
            raise problem(405, "UNSUPPORTED")
        upload = self._upload()
        asked = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        length = int(self.headers.get("Content-Length") or 0)
        if asked and (int(asked[1]) != len(upload) or int(asked[2]) - int(asked[1]) + 1 != length):
            self._body()
            raise problem(416, "RANGE_INVALID")
        data = self._body()
        with self.registry.guard:
            # A chunk below the minimum must have been the last.
            if getattr(upload, "ended", False):
                raise problem(416, "SIZE_INVALID")
            upload += data
            if len(data) < self.registry.least:
                ended = _Ended(upload)
                self._repository().uploads[self.id] = upload = ended
        raise Answer(self.registry.taken, headers=self._going(self.id, len(upload)))

    def _get_session(self) -> None:
        if not self.registry.status:
            raise problem(405, "UNSUPPORTED")
        raise Answer(204, headers=self._going(self.id, len(self._upload())))

    def _put_session(self) -> None:
        upload = self._upload()
        data = self._body()
        wanted = self.query.get("digest", "")
        algorithm = wanted.partition(":")[0] or "sha256"
        with self.registry.guard:
            whole = bytes(upload) + data
            self._repository().uploads.pop(self.id, None)
            if f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}" != wanted:
                raise problem(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
            self.registry.blobs[wanted] = whole
            if self.registry.racing:
                self._repository().blobs.discard(wanted)
        time.sleep(self.registry.racing)
        with self.registry.guard:
            self._repository().blobs.add(wanted)
        raise Answer(201, headers=self._there(wanted))

    def _delete_session(self) -> None:
        with self.registry.guard:
            self._repository().uploads.pop(self.id, None)
        raise Answer(204)

    def _upload(self) -> bytearray:
        with self.registry.guard:
            found = self._repository().uploads.get(self.id)
        if found is None:
            self._body()
            raise problem(404, "BLOB_UPLOAD_UNKNOWN")
        return found

    def _going(self, session: str, offset: int) -> dict[str, str]:
        headers = {"Location": f"/v2/{self.name}/blobs/uploads/{session}?state={secrets.token_hex(4)}"}
        headers["Range"] = f"0-{max(0, offset - 1)}"
        if self.registry.least:
            headers["OCI-Chunk-Min-Length"] = str(self.registry.least)
        return headers

    def _there(self, digest: str) -> dict[str, str]:
        return {"Location": f"/v2/{self.name}/blobs/{digest}", "Docker-Content-Digest": self.fault.digest or digest}

    # -- manifests -------------------------------------------------------------------------------------

    def _get_manifest(self) -> None:
        with self.registry.guard:
            repository = self._repository()
            digest = repository.tags.get(self.id, self.id)
            kept = repository.manifests.get(digest)
        if kept is None:
            raise problem(404, "MANIFEST_UNKNOWN")
        headers = {"Content-Type": kept[0], "Docker-Content-Digest": self.fault.digest or digest}
        raise Answer(200, kept[1], headers)

    _head_manifest = _get_manifest

    def _put_manifest(self) -> None:
        data = self._body()
        algorithm = self.id.partition(":")[0] if ":" in self.id else "sha256"
        digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        if ":" in self.id and self.id != digest:
            raise problem(400, "DIGEST_INVALID")
        document = json.loads(data)
        with self.registry.guard:
            repository = self._repository()
            needed = {d["digest"] for d in (*document.get("layers", ()), document.get("config")) if d}
            missing = needed - repository.blobs
            missing |= {d["digest"] for d in document.get("manifests", ())} - set(repository.manifests)
            tag = not self.id.startswith(("sha256:", "sha512:"))
            if missing and self.registry.strict and not (tag and self.id.startswith("sha256-")):
                raise problem(400, "MANIFEST_BLOB_UNKNOWN", ", ".join(sorted(missing)))
            repository.manifests[digest] = (self.headers.get("Content-Type", ""), data)
            if tag:
                repository.tags[self.id] = digest
        headers = {"Location": f"/v2/{self.name}/manifests/{digest}"}
        headers["Docker-Content-Digest"] = self.fault.digest or digest
        if "subject" in document and self.registry.referrers:
            headers["OCI-Subject"] = document["subject"]["digest"]
        raise Answer(201, headers=headers)

    def _delete_manifest(self) -> None:
        with self.registry.guard:
            repository = self._repository()
            repository.tags.pop(self.id, None)
            repository.manifests.pop(self.id, None)
        raise Answer(202)

    def _get_tags(self) -> None:
        with self.registry.guard:
            if self.name not in self.registry.repositories:
                raise problem(404, "NAME_UNKNOWN")
            names = sorted(self._repository().tags)
        names, more = self._page([t for t in names if t > self.query.get("last", "")])
        headers = {}
        if more:
            asked = urlencode({"n": self.query.get("n", ""), "last": names[-1]})
            headers["Link"] = f'</v2/{self.name}/tags/list?{asked}>; rel="next"'
        self._json({"name": self.name, "tags": names}, headers)

    def _get_referrers(self) -> None:
        if not self.registry.referrers:
            raise problem(404, "NOT_FOUND")
        found = []
        with self.registry.guard:
            manifests = sorted(self._repository().manifests.items())
        for digest, (kind, data) in manifests:
            document = json.loads(data)
            if document.get("subject", {}).get("digest") != self.id:
                continue
            artifact = document.get("artifactType") or document.get("config", {}).get("mediaType")
            entry = {"mediaType": kind, "digest": digest, "size": len(data), "artifactType": artifact}
            if "annotations" in document:
                entry["annotations"] = document["annotations"]
            found.append(entry)
        found = [d for d in found if d["digest"] > self.query.get("last", "")]
        found, more = self._page(found)
        headers = {"Content-Type": _INDEX}
        if more:
            headers["Link"] = f'</v2/{self.name}/referrers/{self.id}?last={found[-1]["digest"]}>; rel="next"'
        self._json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": found}, headers)

    def _page(self, entries: list[Any]) -> tuple[list[Any], bool]:
        count = min(self.registry.page, int(self.query.get("n") or self.registry.page))
        return entries[:count], len(entries) > count


class _Ended(bytearray):
    """An upload whose last chunk was below the minimum."""

    ended = True
