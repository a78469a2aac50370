"""The API server as tests ask it: plain objects, and waiting for what a watch says instead of for time to pass."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from .certificates import folder
from .site import Site

__all__ = ["Api", "Object", "condition", "opened_api"]

Object = dict[str, Any]
# What it takes longest to say: a list of thousands on a busy machine.
_TIMEOUT = 60


class Api:
    """``path`` is as in https://kubernetes.io/docs/reference/using-api/api-concepts/, with the leading slash."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """:raises httpx.HTTPStatusError: it was refused; ``response.json()`` says why"""
        content = None if body is None else json.dumps(body).encode()
        response = self._client.request(method, path, content=content, headers={"Content-Type": kind})
        response.raise_for_status()
        answer = response.json()
        assert isinstance(answer, dict)
        return answer

    def get(self, path: str) -> Object:
        return self.ask("GET", path)

    def items(self, path: str) -> list[Object]:
        return list(self.get(path)["items"])

    def create(self, path: str, body: Object) -> Object:
        return self.ask("POST", path, body)

    def delete(self, path: str, propagation: str = "Background") -> Object:
        return self.ask("DELETE", path, {"propagationPolicy": propagation})

    def text(self, path: str) -> str:
        """A log, or what is healthy."""
        return self._client.get(path).raise_for_status().text

    def ready(self) -> bool:
        try:
            return self._client.get("/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def until(self, path: str, holds: Callable[[Object], bool], *, name: str = "", labels: str = "") -> Object:
        """The first object of the list at ``path``, of this name or with these labels, of which ``holds`` says so.

        :raises AssertionError: none in two minutes; with what was seen last
        """
        last: Object = {}
        for last in self.states(path, name=name, labels=labels):
            if holds(last):
                return last
        raise AssertionError(f"{path} {name or labels}: not as wished; last: {json.dumps(last.get('status', last))}")

    def states(self, path: str, *, name: str = "", labels: str = "", seconds: float = 120) -> Iterator[Object]:
        """Every object of the list as it is, then each change of one, for so many seconds."""
        deadline = time.monotonic() + seconds
        chosen = {"labelSelector": labels} if labels else {}
        if name:
            chosen["fieldSelector"] = f"metadata.name={name}"
        while (left := deadline - time.monotonic()) > 0:
            listed = self._client.get(path, params=chosen).raise_for_status().json()
            yield from listed["items"]
            watch = {**chosen, "watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
            watch["timeoutSeconds"] = str(int(left) + 1)
            with self._client.stream("GET", path, params=watch, timeout=left + 10) as response:
                response.raise_for_status()
                for line in response.iter_lines():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    yield event["object"]


@contextmanager
def opened_api(site: Site) -> Iterator[Api]:
    """As the user who may do everything."""
    keys = folder(site)
    trust = ssl.create_default_context(cafile=str(keys / "authority.crt"))
    trust.load_cert_chain(keys / "admin.crt", keys / "admin.key")
    with httpx.Client(base_url=f"https://{site.api}", verify=trust, timeout=_TIMEOUT, trust_env=False) as client:
        yield Api(client)


def condition(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The condition of this type; empty if there is none."""
    found = [row for row in resource.get("status", {}).get("conditions") or () if row["type"] == kind]
    return found[0] if found else {}
