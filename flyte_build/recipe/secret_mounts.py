"""A secret of a step, by its name. Its value is looked for where it is needed, and stands in no recipe and no lock."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernel.canonical import Json

__all__ = ["SecretMount"]


@dataclass(frozen=True, slots=True)
class SecretMount:
    """A secret that commands see while they run, or that packages are had with, and nothing else of the image ever: as
    the variable ``env``, or in the file ``path``. Its value is never part of a recipe."""

    key: str
    group: str | None = None
    env: str | None = None
    path: str | None = None

    @property
    def name(self) -> str:
        """As messages and the variable that holds it have it: ``GROUP_KEY``."""
        return "_".join(part for part in (self.group, self.key) if part)

    def to_json(self) -> Json:
        fields = {"key": self.key, "group": self.group, "env": self.env, "path": self.path}
        return {name: value for name, value in fields.items() if value is not None}
