"""Names that Kubernetes takes: DNS labels (RFC 1123) and label values, each the same for the same input.

A driver that was killed finds its Jobs by their names, so a name says which attempt it is for, and no two attempts of
whatever runs have one.
"""

from __future__ import annotations

import hashlib
import re

__all__ = ["DNS_LABEL", "MAIN", "MOST", "job_name", "label_value", "run_object"]

MOST = 63
"""Characters that a DNS label and a label's value may have."""

MAIN = "kubectl.kubernetes.io/default-container"
"""kubectl's annotation that says whose log is meant, where a pod has several containers."""

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MARK = 10
# A pod is called as its Job, a hyphen and five characters, and Kubernetes cuts what is then too long.
_MOST_OF_A_JOB = MOST - 6


def job_name(run: str, action: str, attempt: int, most: int = _MOST_OF_A_JOB) -> str:
    """The Job of an attempt: readable, a DNS label, and different wherever any of the three is.

    It always ends in a mark of all three, because ``a-b`` and ``c`` would else be named as ``a`` and ``b-c``, and
    because what is no DNS label is changed. It has at most ``most`` characters.
    """
    mark = hashlib.sha256(f"{run}\0{action}\0{attempt}".encode()).hexdigest()[:_MARK]
    readable = re.sub(r"[^a-z0-9]+", "-", f"{run}-{action}-{attempt}".lower()).strip("-")
    return f"{readable[: most - 1 - _MARK].rstrip('-') or 'run'}-{mark}"


def run_object(run: str) -> str:
    """What the objects of a run itself are called: its Secret, its driver."""
    mark = hashlib.sha256(run.encode()).hexdigest()[:_MARK]
    readable = re.sub(r"[^a-z0-9]+", "-", f"run-{run}".lower()).strip("-")
    return f"{readable[: _MOST_OF_A_JOB - 1 - _MARK].rstrip('-')}-{mark}"


def label_value(text: str) -> str:
    """``text`` as a label's value: itself where it is one, else shortened and marked so that it stays different."""
    if _VALUE.fullmatch(text):
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:_MARK]
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    return f"{readable[: MOST - 1 - _MARK].rstrip('-_.') or 'x'}-{mark}"
