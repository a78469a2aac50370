"""Targets by their names: those that there are, those that there are not, and a client that is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.settings import Settings, read_settings
from flyte_build.workbench import target, targets

TEXT = """
[tool.flyte-build.targets.prod]
namespace = "ml"
storage = "s3://bucket/runs"
kubeconfig = "kube/config"

[tool.flyte-build.targets.dev]
namespace = "dev"
storage = "s3://bucket/dev"
kubeconfig = "~/.kube/dev"
"""


def settings(folder: Path, text: str = TEXT) -> Settings:
    (folder / "pyproject.toml").write_text(text)
    return read_settings(folder, {})


def test_a_target_is_found_by_its_name(tmp_path: Path) -> None:
    found = target("prod", settings(tmp_path))
    assert (found.name, found.place.namespace, found.storage) == ("prod", "ml", "s3://bucket/runs")
    assert found.kubeconfig == str(tmp_path / "kube/config")
    assert target("dev", settings(tmp_path)).kubeconfig == "~/.kube/dev"
    assert [t.name for t in targets(settings(tmp_path))] == ["prod", "dev"]


def test_the_working_folders_are_meant_where_none_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert target("dev").name == "dev"
    assert len(targets()) == 2


@pytest.mark.parametrize(
    ("text", "name", "message", "hint"),
    [
        (TEXT, "prodd", "no target `prodd`; there are: prod, dev", "did you mean `prod`?"),
        (TEXT, "zzz", "no target `zzz`; there are: prod, dev", "add [tool.flyte-build.targets.zzz] with `namespace"),
        ("", "prod", "no target `prod`; none is set", "add [tool.flyte-build.targets.prod] with `namespace"),
    ],
)
def test_a_name_that_is_none_is_told_with_those_there_are(
    tmp_path: Path, text: str, name: str, message: str, hint: str
) -> None:
    with pytest.raises(InputError) as e:
        target(name, settings(tmp_path, text))
    assert e.value.message == message
    assert str(e.value.hint).startswith(hint)


def test_a_value_that_means_nothing_is_told_with_its_file(tmp_path: Path) -> None:
    table = '[tool.flyte-build.targets.prod]\nnamespace = "ml"\nstorage = "s3://b"\ndefaults = { cpu = "lots" }\n'
    with pytest.raises(InputError) as e:
        target("prod", settings(tmp_path, table))
    begin = f"{tmp_path}/pyproject.toml: [tool.flyte-build.targets.prod]: defaults: expected a quantity"
    assert e.value.message.startswith(begin)


def test_a_client_that_is_not_installed_is_told_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyte_build.workbench.targeting.find_spec", lambda name: None)
    with pytest.raises(InputError, match="target prod is a Kubernetes cluster, and its client is not") as e:
        target("prod", settings(tmp_path))
    assert e.value.hint == "pip install 'flyte-build[kubernetes]'"
