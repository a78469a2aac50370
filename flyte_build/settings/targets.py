"""The keys of ``[tool.flyte-build.targets.NAME]``, once: what each takes and what is said of it; and reading them.

Reading sees to names and forms, so that a mistake is told by whatever command comes first; what the values mean is for
whoever runs there (``submit.kubernetes.target``). Never asks a cluster, and never reads a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from ..kernel.errors import InputError
from ..kernel.values import dataclass, field, replace

__all__ = ["DNS_LABEL", "TARGET_KEYS", "TARGET_NAME", "TIME", "StatedTarget", "TargetKey", "stated_targets"]

Form = Literal["text", "name", "texts", "flag", "time", "map", "choice", "kubeconfig", "profile"]
"""What a value is. A ``name`` is a DNS label, a ``map`` a table of texts, a ``time`` such as ``30m``, a ``profile`` one
of the choices or a table whose ``base`` is one; ``kubeconfig`` is a file, relative to the ``pyproject.toml``."""

TARGET_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
TIME = r"^[0-9]{1,9}[smh]$"


@dataclass(frozen=True, slots=True)
class TargetKey:
    """One key; ``otherwise`` says in words what holds without it, and is empty where it has to be there."""

    key: str
    form: Form
    says: str
    example: str
    otherwise: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatedTarget:
    """A target as a project states it, in ``file`` (or wherever settings came from); names and forms are right."""

    name: str
    table: Mapping[str, Any]
    file: str = field(default="", compare=False)

    def placed(self, folder: Path) -> StatedTarget:
        """With a kubeconfig that is relative to ``folder`` made absolute."""
        config = self.table.get("kubeconfig")
        if config is None or config.startswith("~"):
            return self
        return replace(self, table={**self.table, "kubeconfig": os.path.normpath(folder / config)})


_ROWS = (
    TargetKey("kind", "choice", "What runs there.", '"kubernetes"', "`kubernetes`", ("kubernetes",)),
    TargetKey("namespace", "name", "The namespace that runs are in; nothing outside of it is touched.", '"ml"'),
    TargetKey(
        "storage",
        "text",
        "Where runs are kept, and tasks read and write: the URL of an object store.",
        '"s3://bucket/runs"',
    ),
    TargetKey("context", "text", "The context of the kubeconfig.", '"prod"', "the current one"),
    TargetKey(
        "kubeconfig",
        "kubeconfig",
        "The kubeconfig's file, relative to the `pyproject.toml`; `~` is the home folder.",
        '"~/.kube/prod"',
        "as `kubectl` has it, or the service account inside of a cluster",
    ),
    TargetKey(
        "registry",
        "text",
        "Where the cluster pulls from, and images are pushed for it.",
        '"registry.example/team"',
        "`registry` of the settings",
    ),
    TargetKey(
        "service-account",
        "name",
        "The account of tasks' pods, which needs no rights.",
        '"runner"',
        "the namespace's `default`",
    ),
    TargetKey("pull-secrets", "texts", "Secrets that nodes pull images with.", '["pull"]', "none"),
    TargetKey(
        "profile",
        "profile",
        "How the cluster's nodes name accelerators: a known profile, or a table with `base` and what is different.",
        '"gpu-feature-discovery"',
        "`eks`",
        ("eks", "gke", "gpu-feature-discovery"),
    ),
    TargetKey("queue", "name", "Kueue's LocalQueue, for tasks that name none.", '"research"', "no queue"),
    TargetKey(
        "secrets",
        "name",
        "The Secret that holds what tasks ask for without a group.",
        '"team-secrets"',
        "`flyte-secrets`",
    ),
    TargetKey(
        "defaults",
        "map",
        "Quantities for what a task says nothing of, by Kubernetes' names.",
        '{ cpu = "500m", memory = "2Gi" }',
        '`{ cpu = "1", memory = "1Gi" }`',
    ),
    TargetKey(
        "quotas",
        "map",
        "The most that one attempt may ask for, by Kubernetes' names; a task that asks for more is refused.",
        '{ "nvidia.com/gpu" = "8", memory = "512Gi" }',
        "as much as it likes",
    ),
    TargetKey("labels", "map", "More labels of pods and Jobs.", '{ team = "ml" }', "none"),
    TargetKey("annotations", "map", "More annotations of pods.", '{ "example.com/cost" = "ml" }', "none"),
    TargetKey(
        "storage-options",
        "map",
        "The object store's own words, as obstore has them. No secrets: they belong to the environment.",
        '{ endpoint = "http://minio:9000" }',
        "none",
    ),
    TargetKey(
        "storage-secret",
        "name",
        "The Secret whose keys are variables of every pod: the storage's credentials, where pods have no identity of "
        "their own.",
        '"storage"',
        "none",
    ),
    TargetKey(
        "driver-account", "name", "The account of runs' drivers, which may make pods.", '"runs"', "`flyte-build`"
    ),
    TargetKey(
        "tls",
        "flag",
        "Whether pods call their run's driver by TLS, with a certificate of the run's own.",
        "true",
        "`false`",
    ),
    TargetKey("api-access", "flag", "Whether tasks' pods get a token of the cluster's API server.", "true", "`false`"),
    TargetKey("unscheduled", "time", "How long an attempt may wait for a node that takes it.", '"2h"', "`30m`"),
)

TARGET_KEYS: Mapping[str, TargetKey] = MappingProxyType({row.key: row for row in _ROWS})
"""The rows by key, in the order of the documentation."""


def stated_targets(value: Any, where: str) -> tuple[StatedTarget, ...]:
    """What ``targets`` says, in its order; raises :class:`InputError`, which begins with ``where``."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: targets: expected a table a target, found {value!r:.80}")
    found = []
    for name, table in value.items():
        if not re.fullmatch(TARGET_NAME, name):
            raise InputError(
                f"{where}: targets: expected a name of letters, digits, `-` and `_`, at most 63, found {name!r:.80}"
            )
        begin = where.removesuffix("[tool.flyte-build]")
        at = f"{begin}[tool.flyte-build.targets.{name}]"
        if not isinstance(table, dict):
            raise InputError(f"{at}: expected a table, found {table!r:.80}")
        for key, given in table.items():
            if key not in TARGET_KEYS:
                import difflib  # a no-op imports as little as it can

                close = difflib.get_close_matches(key, TARGET_KEYS, 1)
                hint = f"did you mean `{close[0]}`?" if close else f"it may have {', '.join(sorted(TARGET_KEYS))}"
                raise InputError(f"{at}: no such key: `{key}`", hint=hint)
            _check(TARGET_KEYS[key], given, at)
        for row in TARGET_KEYS.values():
            if not row.otherwise and row.key not in table:
                raise InputError(f"{at}: expected `{row.key}`; found none", hint=f"`{row.key} = {row.example}`")
        found.append(StatedTarget(name, dict(table), begin.rstrip(": ")))
    return tuple(found)


def _check(row: TargetKey, value: Any, at: str) -> None:
    def fail(expected: str) -> NoReturn:
        raise InputError(f"{at}: {row.key}: expected {expected}, found {value!r:.80}")

    text = isinstance(value, str) and bool(value)
    if row.form in ("text", "kubeconfig") and not text:
        fail("a text")
    if row.form == "name" and not (text and re.fullmatch(DNS_LABEL, value)):
        fail("a name that Kubernetes takes (lower case letters, digits and `-`, at most 63)")
    if row.form == "texts" and not (isinstance(value, list) and all(isinstance(v, str) and v for v in value)):
        fail("a list of texts")
    if row.form == "flag" and not isinstance(value, bool):
        fail("true or false")
    if row.form == "time" and not (text and re.fullmatch(TIME, value)):
        fail("a time such as `30m`")
    if row.form == "map" and not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
        fail("a table of texts")
    if row.form == "choice" and value not in row.choices:
        fail(" or ".join(f"`{choice}`" for choice in row.choices))
    if row.form == "profile":
        base = value.get("base") if isinstance(value, dict) else value
        if not isinstance(base, str) or base not in row.choices:
            fail(f"one of {', '.join(row.choices)}, or a table whose `base` is one")
