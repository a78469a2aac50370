"""A place to run on, as a project's settings describe it: ``[tool.flyte-build.targets.NAME]``, read and checked.

Nothing here asks a cluster: see ``access`` for what it has to allow, ``preflight`` for what it can hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from ...kernel.errors import InputError
from ...kernel.values import dataclass, field
from ..template import quantity
from .errors import Unplaceable
from .names import DNS_LABEL
from .pod import Place
from .profiles import CLASSES, Profile, Toleration
from .vendors import PROFILES, profile_of

__all__ = ["DRIVER_ACCOUNT", "Target", "read_target"]

DRIVER_ACCOUNT = "flyte-build"

_DURATION = re.compile(r"(\d+)(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MAPS = ("resources", "device-labels", "devices", "partition-labels")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """``place`` is what its pods have in common; ``context`` and ``kubeconfig`` say where it is (``None``: as kubectl
    has it). ``storage`` is the URL that runs are kept below, with the object store's ``options``; ``unscheduled`` how
    long an attempt may wait for a node (seconds); ``driver_account`` is whose rights runs' drivers have. ``tls``: pods
    call their run's driver by it."""

    name: str
    place: Place
    storage: str
    context: str | None = None
    kubeconfig: str | None = None
    registry: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    unscheduled: float = 1800.0
    driver_account: str = DRIVER_ACCOUNT
    tls: bool = False

    @property
    def storage_secret(self) -> str:
        """The Secret whose keys are variables of every pod: how they log in to the storage; empty for none."""
        return self.place.storage_secret


def read_target(name: str, table: Any, where: str) -> Target:
    """The target ``name`` of a parsed TOML table; raises :class:`InputError`, which begins with ``where``."""
    reader = _Reader(f"{where}: [tool.flyte-build.targets.{name}]", table)
    kind = reader.text("kind", "kubernetes")
    if kind != "kubernetes":
        reader.fail("kind", "`kubernetes`", kind)
    target = Target(
        name=name,
        place=Place(
            namespace=reader.name("namespace") or reader.lacking("namespace", "the namespace that pods are made in"),
            profile=reader.take("profile", _profile, PROFILES["eks"]),
            service_account=reader.name("service-account") or "",
            pull_secrets=reader.texts("pull-secrets"),
            queue=reader.name("queue") or "",
            secrets=reader.name("secrets") or "flyte-secrets",
            defaults={"cpu": "1", "memory": "1Gi", **reader.map("defaults", quantity)},
            quotas=reader.map("quotas", quantity),
            labels=reader.map("labels"),
            annotations=reader.map("annotations"),
            api_access=reader.flag("api-access"),
            storage_secret=reader.name("storage-secret") or "",
        ),
        storage=reader.text("storage")
        or reader.lacking("storage", "where runs are kept, such as `s3://BUCKET/PREFIX`"),
        context=reader.text("context"),
        kubeconfig=reader.text("kubeconfig"),
        registry=reader.text("registry"),
        options=reader.map("storage-options"),
        unscheduled=reader.take("unscheduled", _seconds, 1800.0),
        driver_account=reader.name("driver-account") or DRIVER_ACCOUNT,
        tls=reader.flag("tls"),
    )
    reader.done()
    return target


class _Reader:
    """One table; every key is asked for once, and what was not asked for is none."""

    def __init__(self, where: str, table: Any) -> None:
        self._where = where
        self._left: dict[str, Any] = dict(table) if isinstance(table, dict) else {}
        self._asked: list[str] = []
        if not isinstance(table, dict):
            raise InputError(f"{where}: expected a table, found {table!r:.80}")

    def take(self, key: str, read: Callable[[Any], T], default: T) -> T:
        self._asked.append(key)
        if key not in self._left:
            return default
        value = self._left.pop(key)
        try:
            return read(value)
        except Unplaceable as e:
            raise InputError(f"{self._where}: {key}: {e}", hint=e.hint) from None
        except ValueError as e:
            raise InputError(f"{self._where}: {key}: {_expected(str(e), value)}") from None

    def text(self, key: str, default: str | None = None) -> str | None:
        return self.take(key, _text, default)

    def name(self, key: str) -> str | None:
        return self.take(key, _dns_name, None)

    def texts(self, key: str) -> tuple[str, ...]:
        return self.take(key, lambda v: tuple(map(_text, _list(v))), ())

    def flag(self, key: str) -> bool:
        return self.take(key, _flag, default=False)

    def map(self, key: str, check: Callable[[str], object] = str) -> dict[str, str]:
        return self.take(key, lambda v: _checked_map(v, check), {})

    def lacking(self, key: str, what: str) -> NoReturn:
        raise InputError(f"{self._where}: expected `{key}`, {what}; found none")

    def fail(self, key: str, expected: str, found: object) -> NoReturn:
        raise InputError(f"{self._where}: {key}: expected {expected}, found {found!r:.80}")

    def done(self) -> None:
        import difflib

        for key in self._left:
            close = difflib.get_close_matches(key, self._asked, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"it may have {', '.join(sorted(self._asked))}"
            raise InputError(f"{self._where}: no such key: `{key}`", hint=hint)


def _expected(words: str, found: object) -> str:
    return words if words.startswith("expected") else f"expected {words}, found {found!r:.80}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _dns_name(value: Any) -> str:
    if not isinstance(value, str) or not DNS_LABEL.fullmatch(value):
        raise ValueError("a name that Kubernetes takes (lower case letters, digits and `-`, at most 63)")
    return value


def _checked_map(value: Any, check: Callable[[str], object]) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError("a table of texts")
    for text in value.values():
        check(text)
    return dict(value)


def _seconds(value: Any) -> float:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a time such as `30m`")
    return int(found[1]) * _SECONDS[found[2]]


def _profile(value: Any) -> Profile:
    """A profile's name, or a table with ``base`` and what is different."""
    if isinstance(value, str):
        return profile_of(value)
    if not isinstance(value, dict):
        raise ValueError(f"one of {', '.join(PROFILES)}, or a table with `base`")
    changes: dict[str, Any] = {}
    for key, given in value.items():
        if key == "base":
            continue
        if key in _MAPS:
            changes[key.replace("-", "_")] = _entries(key, given)
        elif key == "mig":
            if given not in ("label", "resource", "product"):
                raise ValueError("`mig` to be label, resource or product")
            changes[key] = given
        elif key in ("tolerations", "spot"):
            changes[key] = tuple(_toleration(one) for one in _list(given))
        elif key == "cuda-labels":
            changes["cuda_labels"] = tuple(map(_text, _list(given)))
        elif key == "shared":
            changes[key] = tuple(_entries("shared", given).items())
        else:
            raise ValueError(
                f"base, {', '.join(_MAPS)}, mig, cuda-labels, tolerations, spot or shared in it, and no `{key}`"
            )
    return profile_of(_text(value.get("base")), changes)


def _entries(key: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError(f"`{key}` to be a table")
    if key in ("resources", "device-labels", "partition-labels"):
        if strange := [k for k in given if k not in CLASSES]:
            raise ValueError(f"`{key}` of {', '.join(CLASSES)}, and no `{strange[0]}`")
        return {k: _text(v) for k, v in given.items()}
    return {k: _values(v) for k, v in given.items()}


def _values(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(map(_text, _list(given)))


def _toleration(given: Any) -> Toleration:
    """``KEY[=VALUE][:EFFECT]``, as kubectl writes a taint."""
    pair, _, effect = _text(given).partition(":")
    key, equal, value = pair.partition("=")
    if not key or effect not in ("", "NoSchedule", "NoExecute", "PreferNoSchedule"):
        raise ValueError("taints as KEY[=VALUE][:EFFECT]")
    return Toleration(key, value if equal else None, effect or "NoSchedule")
