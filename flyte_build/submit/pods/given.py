"""What stands here for the objects that a namespace would hold: PodTemplates, ConfigMaps and Secrets.

The first two are YAML files in a folder of the project. A Secret's values are variables of whoever started the run, as
those of ``flyte.Secret`` are, so that no value ever lies in the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...kernel.errors import InputError
from ...kernel.values import dataclass, field
from ..action import SecretRef
from ..secrets import variable

__all__ = ["Given", "Shelf", "read_shelf"]

_KINDS = ("PodTemplate", "ConfigMap")


@dataclass(frozen=True, slots=True)
class Shelf:
    """``templates``: name → ``template`` of a PodTemplate; ``configs``: name → the data of a ConfigMap.

    ``folder`` is where they are from; ``None``: nobody named one.
    """

    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    folder: Path | None = None

    def where(self, kind: str, name: str) -> str:
        """What to do about an object that is not there."""
        if self.folder is None:
            return f"set `pod-templates` in [tool.flyte-build] to a folder of YAML that has the {kind} {name}"
        return f"put the {kind} {name} into a YAML file in {self.folder}"


@dataclass(frozen=True, slots=True)
class Given:
    """A shelf, and the ``environment`` in which secrets are looked up."""

    shelf: Shelf
    environment: Mapping[str, str]

    def secret(self, name: str, key: str) -> str | None:
        """The value of a Secret's key; ``None`` where it is not there."""
        return self.environment.get(self.variable(name, key))

    def variable(self, name: str, key: str) -> str:
        """The variable that holds it: ``NAME_KEY`` in upper case, with underscores for hyphens and dots."""
        return variable(SecretRef(key.replace(".", "_"), name.replace(".", "_")))


def read_shelf(folder: Path | None) -> Shelf:
    """The PodTemplates and ConfigMaps of the YAML files in ``folder``; objects of other kinds are passed over.

    Raises :class:`InputError` that names the file, for what is no YAML, no object, or there twice.
    """
    if folder is None:
        return Shelf()
    if not folder.is_dir():
        raise InputError(
            f"pod-templates: expected a folder of YAML files, found {'a file' if folder.exists() else 'nothing'} at "
            f"{folder}",
            hint="correct `pod-templates` in [tool.flyte-build]",
        )
    import yaml  # type: ignore[import-untyped]

    templates: dict[str, Mapping[str, Any]] = {}
    configs: dict[str, Mapping[str, str]] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml")):
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as e:
            raise InputError(f"{path}: expected YAML: {' '.join(str(e).split())}") from None
        for document in _objects(documents):
            kind, name = _named(document, path)
            if kind == "PodTemplate":
                found: dict[str, Any] = templates
                found_value: Any = document.get("template")
                what = "`template`, an object"
            elif kind == "ConfigMap":
                found, found_value, what = configs, document.get("data") or {}, "`data`, an object of texts"
            else:
                continue
            if not isinstance(found_value, dict) or (kind == "ConfigMap" and not _texts(found_value)):
                raise InputError(f"{path}: {kind} {name}: expected {what}, found {found_value!r:.60}")
            if name in found:
                raise InputError(f"{path}: the {kind} {name} is there twice, in {folder}", hint="keep one")
            found[name] = found_value
    return Shelf(templates, configs, folder)


def _objects(documents: list[Any]) -> list[Any]:
    found: list[Any] = []
    for document in documents:
        is_list = isinstance(document, dict) and document.get("kind") == "List"
        found += document.get("items") or [] if is_list else [document]
    return [x for x in found if x is not None]


def _named(document: Any, path: Path) -> tuple[str, str]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise InputError(f"{path}: expected objects of Kubernetes with a `kind`, found {document!r:.60}")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) and document["kind"] in _KINDS:
        raise InputError(f"{path}: {document['kind']}: expected a name in `metadata`, found {metadata!r:.60}")
    return document["kind"], str(name)


def _texts(found: dict[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, str) for k, v in found.items())
