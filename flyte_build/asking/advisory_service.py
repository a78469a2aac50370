"""A service that knows advisories, asked in OSV's own way (https://google.github.io/osv.dev/api/): their ids.

It hears names and versions of locked packages, and nothing else. Which service is the user's to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx

from ..kernel import documents, tracing
from ..kernel.errors import FetchError
from .advisories import Packaged, Source

__all__ = ["of_service"]

_BATCH = 1000
_LONGEST = 64 << 20
_PAGES = 50


def of_service(url: str) -> Source:
    """Advisories of the service whose address (``https://host``) is ``url``. Raises :class:`FetchError`."""
    address = f"{url.rstrip('/')}/v1/querybatch"

    def known(asked: Iterable[Packaged]) -> dict[Packaged, tuple[str, ...]]:
        every = list(asked)
        found: dict[Packaged, set[str]] = {}
        with httpx.Client(timeout=60, follow_redirects=False) as client:
            for start in range(0, len(every), _BATCH):
                waiting = [(one, _query(one)) for one in every[start : start + _BATCH]]
                for _ in range(_PAGES):
                    answers = _ask(client, address, [query for _, query in waiting])
                    more = []
                    for (one, query), answer in zip(waiting, answers, strict=True):
                        found.setdefault(one, set()).update(_ids(answer, address))
                        if token := answer.get("next_page_token"):
                            more.append((one, {**query, "page_token": str(token)}))
                    waiting = more
                    if not waiting:
                        break
        return {one: tuple(sorted(ids)) for one, ids in found.items() if ids}

    return known


def _query(one: Packaged) -> dict[str, Any]:
    return {"package": {"ecosystem": one.ecosystem, "name": one.package}, "version": one.version}


def _ask(client: httpx.Client, address: str, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shown = tracing.shown_url(address)
    try:
        with client.stream("POST", address, json={"queries": queries}) as answer:
            if answer.status_code != 200:
                raise FetchError(
                    f"POST {shown}: {answer.status_code} {answer.reason_phrase}",
                    hint="`--osv` takes the address of a service that speaks OSV's API, or a folder of its dumps",
                )
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _LONGEST:
                    raise FetchError(f"POST {shown}: the answer is longer than {_LONGEST >> 20} MiB")
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise FetchError(
            f"POST {shown}: {e or type(e).__name__}",
            hint="check the address and the network; `--osv DIR` takes a folder of advisories instead",
        ) from None
    try:
        results = documents.parse_object(bytes(body)).get("results")
        if not isinstance(results, list) or len(results) != len(queries):
            raise ValueError(f"expected {len(queries)} results")
        if not all(isinstance(one, dict) for one in results):
            raise ValueError("expected objects")
    except ValueError as e:
        raise FetchError(f"POST {shown}: no answer of OSV's API: {e}") from None
    return results


def _ids(answer: dict[str, Any], address: str) -> list[str]:
    try:
        return [str(one["id"]) for one in answer.get("vulns") or ()]
    except (KeyError, TypeError):
        raise FetchError(
            f"POST {tracing.shown_url(address)}: no answer of OSV's API: an advisory without an id"
        ) from None
