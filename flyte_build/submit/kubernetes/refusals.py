"""What a cluster's API answers that is no success, and when it is asked once more. Pure."""

from __future__ import annotations

import json
from random import SystemRandom

from ...kernel.errors import RunError

__all__ = ["JITTER", "TRIES", "ApiError", "again", "pause", "refusal", "unreachable", "used_up"]

TRIES = 6
_AGAIN = (429, 500, 502, 503, 504)
_MOST_WAIT = 30.0
JITTER = SystemRandom()
"""Spreads who asks again: the ``random`` module's own state is the user's, who may have seeded it."""


class ApiError(RunError):
    """The cluster said no. ``status`` is HTTP's, ``reason`` Kubernetes' own word for it (``AlreadyExists``)."""

    def __init__(self, status: int, reason: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason
        self.retry_after: str | None = None


def used_up(error: ApiError) -> str:
    """What a quota that leaves no room just now says of itself; empty for any other refusal."""
    return error.message.partition("exceeded quota: ")[2] if error.status == 403 else ""


def unreachable(method: str, url: str, why: Exception) -> ApiError:
    """There was no answer."""
    hint = "is the cluster up, and is this machine allowed to reach it?"
    return ApiError(0, "Unreachable", f"{method} {url}: no answer: {why}", hint=hint)


def refusal(method: str, url: str, status: int, word: str, text: bytes, retry_after: str | None) -> ApiError:
    """What an answer that is no success says; ``word`` is HTTP's for its ``status``."""
    try:
        told = json.loads(text)
        message, reason = str(told["message"]), str(told.get("reason") or word)
    except (ValueError, KeyError, TypeError):
        message, reason = text[:200].decode(errors="replace").strip() or word, word
    hints = {
        401: "log in again: the credentials of the kubeconfig were not accepted",
        403: "ask an administrator for it: `flyte-build target manifests TARGET` prints what is needed",
    }
    error = ApiError(status, reason, f"{method} {url}: {status} {message}", hint=hints.get(status))
    error.retry_after = retry_after
    return error


def again(error: ApiError, attempt: int) -> bool:
    """Whether what failed so in this ``attempt`` (from 0) is asked once more."""
    return error.status in _AGAIN or (error.status == 0 and attempt < TRIES - 2)


def pause(attempt: int, failure: ApiError | None) -> float:
    """Seconds before this ``attempt``: as the server said, else more each time; never all at once with others."""
    said = failure.retry_after if failure is not None else None
    if said is not None and said.isdigit():
        return min(float(said), _MOST_WAIT) + JITTER.random() * 0.5
    return min(0.2 * 2.0**attempt, _MOST_WAIT) * (0.5 + JITTER.random())
