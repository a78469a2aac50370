"""What a project says of its targets: the same keys as whoever runs there reads, and mistakes told where they are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.settings import read_settings
from flyte_build.settings.targets import TARGET_KEYS, TargetKey, stated_targets
from flyte_build.submit.kubernetes.target import read_target
from flyte_build.submit.kubernetes.vendors import PROFILES

LEAST = {"namespace": "ml", "storage": "s3://b"}


@pytest.mark.parametrize("row", TARGET_KEYS.values(), ids=lambda row: row.key)
def test_whoever_runs_there_knows_the_key_and_its_example(row: TargetKey) -> None:
    value = tomllib.loads(f"x = {row.example}")["x"]
    table = {**LEAST, row.key: value}
    stated_targets({"prod": table}, "here: [tool.flyte-build]")
    plain = read_target("prod", LEAST, "here")
    assert row.key in ("kind", *LEAST) or read_target("prod", table, "here") != plain
    assert row.says.endswith(".")


def test_a_key_that_is_read_is_one_of_the_table() -> None:
    with pytest.raises(InputError) as e:
        read_target("prod", {**LEAST, "???": 1}, "here")
    assert str(e.value.hint) == f"it may have {', '.join(sorted(TARGET_KEYS))}"


def test_the_profiles_are_those_there_are() -> None:
    assert TARGET_KEYS["profile"].choices == tuple(PROFILES)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("targets = 3", "[tool.flyte-build]: targets: expected a table a target, found 3", ""),
        ("[tool.flyte-build.targets]\nprod = 3", "[tool.flyte-build.targets.prod]: expected a table, found 3", ""),
        ('[tool.flyte-build.targets."a b"]', "targets: expected a name of letters, digits, `-` and `_`", ""),
        (
            '[tool.flyte-build.targets.prod]\nnamespce = "x"',
            "[tool.flyte-build.targets.prod]: no such key: `namespce`",
            "did you mean `namespace`?",
        ),
        ("[tool.flyte-build.targets.prod]\nzzz = 1", "no such key: `zzz`", "it may have annotations, api-access, "),
        ('[tool.flyte-build.targets.prod]\nnamespace = "x"', "expected `storage`; found none", '`storage = "s3://'),
        ('[tool.flyte-build.targets.prod]\nqueue = "A"', "queue: expected a name that Kubernetes takes", ""),
        ('[tool.flyte-build.targets.prod]\nprofile = "aks"', "profile: expected one of eks, gke, gpu-feature-", ""),
    ],
)
def test_a_mistake_is_told_with_where_it_is(tmp_path: Path, text: str, said: str, hint: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.flyte-build]\n{text}\n")
    with pytest.raises(InputError, match=re.escape(said)) as e:
        read_settings(tmp_path, {})
    assert e.value.message.startswith(f"{tmp_path}/pyproject.toml: [tool.flyte-build")
    assert hint in (e.value.hint or "")
