"""Values for the secrets a task names, from the environment of whoever started the run.

Flyte's own local mode reads a secret from the variable it would become: ``as_env_var``, else ``<GROUP>_<KEY>`` in upper
case with underscores. The same names count here, also for secrets that become files. Values are never logged
and never on a command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..kernel.values import dataclass, field
from .action import SecretRef

__all__ = ["MOUNT", "MissingSecret", "Secrets", "resolve", "variable"]

# The only mount path the SDK allows (flyte.Secret).
MOUNT = "/etc/flyte/secrets"


class MissingSecret(LookupError):
    """A task names a secret that is not in the environment."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """``env``: variable → value. ``files``: path below ``MOUNT`` → content."""

    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def variable(secret: SecretRef) -> str:
    """The environment variable a secret's value is taken from."""
    name = f"{secret.group}_{secret.key}" if secret.group else secret.key
    return secret.env or name.replace("-", "_").upper()


def resolve(secrets: Iterable[SecretRef], environment: Mapping[str, str]) -> Secrets:
    """Look every secret up; raises :class:`MissingSecret` naming the first that is not there."""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    for secret in secrets:
        source = variable(secret)
        value = environment.get(source)
        if value is None:
            group = f" of group {secret.group!r}" if secret.group else ""
            raise MissingSecret(
                f"secret {secret.key!r}{group} is not set: expected its value in the environment variable {source}"
            )
        if secret.env is not None:
            env[secret.env] = value
        else:
            files["/".join(p for p in (secret.group, secret.key) if p)] = value
    return Secrets(env, files)
