"""The folder that stands for a namespace's PodTemplates and ConfigMaps."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.submit.pods.given import Shelf, read_shelf

TWO = """
apiVersion: v1
kind: PodTemplate
metadata: {name: team}
template:
  spec:
    containers: [{name: primary, env: [{name: A, value: "1"}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {mode: fast}
---
"""


def test_templates_and_configs_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(TWO)
    (tmp_path / "more.yml").write_text("kind: List\nitems: [{kind: ConfigMap, metadata: {name: other}}]")
    (tmp_path / "service.yaml").write_text("kind: Service\nmetadata: {name: x}")
    (tmp_path / "notes.txt").write_text(": no yaml")
    found = read_shelf(tmp_path)
    assert found == Shelf(
        {"team": {"spec": {"containers": [{"name": "primary", "env": [{"name": "A", "value": "1"}]}]}}},
        {"conf": {"mode": "fast"}, "other": {}},
        tmp_path,
    )
    assert read_shelf(None) == Shelf()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", r"x\.yaml: expected YAML"),
        ("- 1", "expected objects of Kubernetes with a `kind`"),
        ("kind: PodTemplate", "expected a name in `metadata`"),
        ("kind: PodTemplate\nmetadata: {name: t}", "PodTemplate t: expected `template`, an object, found None"),
        ("kind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1}", "ConfigMap c: expected `data`, an object of texts"),
        (TWO + TWO, "the PodTemplate team is there twice"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_file(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError, match=says):
        read_shelf(tmp_path)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a folder of YAML files, found nothing at .*/gone"):
        read_shelf(tmp_path / "gone")
