"""The S3 store's keys and bucket. Requests are signed here by hand, as no client that the tests have makes buckets."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import secrets
from dataclasses import asdict, dataclass

import httpx

from .site import ClusterError, Site

__all__ = ["Store", "make_bucket", "read_store", "write_store"]

BUCKET = "flyte"
REGION = "us-east-1"


@dataclass(frozen=True)
class Store:
    """``endpoint`` is the same for this machine and for pods."""

    endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str = BUCKET
    region: str = REGION

    @property
    def root(self) -> dict[str, str]:
        """How the store itself is told, in its environment: a command line is for all to see."""
        return {"ROOT_ACCESS_KEY": self.access_key_id, "ROOT_SECRET_KEY": self.secret_access_key}

    @property
    def environ(self) -> dict[str, str]:
        """How S3 clients are told, obstore and the AWS ones among them."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_ALLOW_HTTP": "true",
        }


def write_store(site: Site) -> None:
    """New keys, unless there are some."""
    path = site.home / "s3.json"
    (site.home / "s3").mkdir(exist_ok=True)
    if not path.exists():
        store = Store(site.s3_endpoint, secrets.token_hex(10), secrets.token_hex(20))
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(asdict(store)))
        new.rename(path)


def read_store(site: Site) -> Store:
    return Store(**json.loads((site.home / "s3.json").read_text()))


def make_bucket(store: Store) -> None:
    """:raises ClusterError: the store refuses"""
    response = signed(store, "PUT", f"/{store.bucket}")
    if response.status_code not in (200, 409):
        raise ClusterError(f"the S3 store made no bucket: {response.status_code} {response.text}")


def signed(store: Store, method: str, path: str) -> httpx.Response:
    """A request without a body (AWS Signature Version 4; "Authenticating Requests" of the S3 API Reference)."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{store.region}/s3/aws4_request"
    nothing = hashlib.sha256(b"").hexdigest()
    headers = {"host": httpx.URL(store.endpoint).netloc.decode(), "x-amz-content-sha256": nothing, "x-amz-date": now}
    names = ";".join(headers)
    canonical = "\n".join([method, path, "", *(f"{k}:{v}" for k, v in headers.items()), "", names, nothing])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{store.secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={store.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}"
    return httpx.request(method, store.endpoint + path, headers=headers, timeout=30, trust_env=False)
