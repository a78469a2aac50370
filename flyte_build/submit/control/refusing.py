"""Answers for what is not served here: a method that a backend has, refused in words that the SDK shows. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError

__all__ = ["Served", "missing", "refusal"]


def missing(service: str, method: str) -> str:
    """Why ``service`` has no ``method``: what a task wanted, and what it takes."""
    return f"flyte-build has no {service}.{method} in its runs: this needs a Flyte backend (see docs/parity.md)"


def refusal(path: str) -> bytes:
    """The body of an answer to a call of ``/package.Service/Method`` that nothing here serves (Connect's JSON)."""
    service, _, method = path.strip("/").rpartition("/")
    words = missing(service.rpartition(".")[2] or "service", method or "method")
    return json.dumps({"code": Code.UNIMPLEMENTED.value, "message": words}).encode()


class Served:
    """A service that has some of its methods; all others are refused."""

    service = ""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(request: Any, ctx: Any) -> Any:
            words = missing(self.service, "".join(part.capitalize() for part in name.split("_")))
            raise ConnectError(Code.UNIMPLEMENTED, words)

        return refuse
