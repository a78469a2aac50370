"""Secrets that a layer mounts for its packages (``secret_mounts``): who logs in to its indexes, and nothing else.

They are variables, as the SDK's builder gives them to the installer: they fill in ``$NAME`` and ``${NAME}`` in what the
layer says of indexes and addresses, and are heard as uv and pip hear them (``UV_INDEX_<NAME>_PASSWORD``,
``UV_EXTRA_INDEX_URL``). A recipe has their names, a lock not even these, and no message their values. They are looked
for when an index is asked, so that a plan needs none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from ..kernel.errors import InputError
from ..kernel.struck import strike
from ..kernel.values import replace
from ..recipe import PipInstall, SecretMount, SourceTree

if TYPE_CHECKING:
    from .indexes import Index, IndexSettings

__all__ = ["filled", "filled_tree", "login", "settings_of", "value_of", "variables_of"]

# Those that say which indexes there are.
_SAYING = frozenset({
    "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS",
})  # fmt: skip
_NAME = re.compile(r"\$(?:\{([A-Z_][A-Z0-9_]*)\}|([A-Z_][A-Z0-9_]*))")


def value_of(secret: SecretMount, whose: str) -> bytes:
    """As the SDK's builder finds it: the variable ``GROUP_KEY``, else the file of that name in /etc/secrets.

    ``whose`` is for the message. Raises :class:`InputError` where there is neither.
    """
    variable = secret.name.upper()
    if (value := os.environ.get(variable)) is not None:
        return value.encode("utf-8", "surrogateescape")
    file = Path("/etc/secrets") / secret.name
    try:
        return file.read_bytes()
    except OSError:
        raise InputError(
            f"the secret {secret.name} of {whose}: expected it in ${variable} or in {file}, found neither",
            hint="give it as that variable; it is neither sealed nor logged",
        ) from None


def variables_of(secrets: Iterable[SecretMount], whose: str) -> dict[str, str]:
    """What these are as variables; from now on they are struck out of messages. Raises as :func:`value_of`."""
    found = {}
    for secret in dict.fromkeys(secrets):
        # A file in the image's place of secrets is read by no installer.
        if secret.env is not None:
            found[secret.env] = value_of(secret, whose).decode("utf-8", "surrogateescape").rstrip("\r\n")
    strike(*found.values())
    return found


def filled(text: str, given: Mapping[str, str]) -> str:
    """``text`` with these variables in it; others stay as they are."""
    return _NAME.sub(lambda found: given.get(found[1] or found[2], found[0]), text) if given else text


def filled_tree(tree: SourceTree, step: PipInstall) -> SourceTree:
    """``tree``, a source of ``step``, with the secrets of its address."""
    if not step.secrets or (tree.git is None and tree.url is None):
        return tree
    given = variables_of(step.secrets, "its packages")
    return replace(
        tree,
        git=filled(tree.git, given) if tree.git is not None else None,
        url=filled(tree.url, given) if tree.url is not None else None,
    )


def settings_of(
    base: IndexSettings, steps: Sequence[PipInstall], root: Path | None, *, keep_default: bool
) -> IndexSettings:
    """``base`` with the indexes that ``steps`` name, and with their secrets; ``root`` is where configuration is read
    anew, where a secret is part of it. ``keep_default`` as :meth:`IndexSettings.for_recipe` has it."""
    given = variables_of((one for step in steps for one in step.secrets), "the packages of an image")
    if given.keys() & _SAYING:
        from .indexes import configured

        base = replace(configured(root, {**os.environ, **given}), newer=base.newer)
    own = dict.fromkeys(filled(step.index, given) for step in steps if step.index is not None)
    extra = dict.fromkeys(filled(url, given) for step in steps for url in step.extra_indexes)
    found = base.for_recipe(list(own), list(extra), keep_default=keep_default)
    return with_logins(found, given) if given else found


def with_logins(settings: IndexSettings, given: Mapping[str, str]) -> IndexSettings:
    """``settings`` with ``UV_INDEX_<NAME>_USERNAME`` and ``_PASSWORD`` of these in their indexes' addresses."""
    default = login(settings.default, given) if settings.default is not None else None
    return replace(settings, default=default, extra=tuple(login(index, given) for index in settings.extra))


def login(index: Index, given: Mapping[str, str]) -> Index:
    url = filled(index.url, given)
    parts = urlsplit(url)
    prefix = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", index.name or "").upper()
    names = f"{prefix}_USERNAME", f"{prefix}_PASSWORD"
    if index.name and "@" not in parts.netloc and any(name in given for name in names):
        user, password = (given.get(name) or os.environ.get(name, "") for name in names)
        url = urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))
    return replace(index, url=url)
