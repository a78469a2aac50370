"""The page and the schema are what the table says now, and the schema judges as reading does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import InputError
from flyte_build.settings import read_settings
from flyte_build.settings.__main__ import main
from flyte_build.settings.page import page
from flyte_build.settings.schema import schema, schema_text
from flyte_build.settings.table import TABLE, Setting

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_current() -> None:
    """Where not: ``python -m flyte_build.settings page > docs/settings.md``."""
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == page()


def test_the_schema_is_current() -> None:
    """Where not: ``python -m flyte_build.settings schema > flyte_build/settings/settings.schema.json``."""
    kept = resources.files("flyte_build.settings") / "settings.schema.json"
    assert kept.read_text(encoding="utf-8") == schema_text()
    assert json.loads(schema_text()) == schema()


def test_the_page_has_a_section_a_key_and_its_links_lead_somewhere() -> None:
    text = page()
    assert re.findall(r"^### (.*)$", text, re.M) == list(TABLE)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / target).is_file(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert re.search(rf"^#+ {anchor}$", text, re.M | re.I), anchor
    for example in re.findall(r"^```toml\n(.*?)^```$", text, re.M | re.S):
        tomllib.loads(example)


@pytest.mark.parametrize("what", ["page", "schema"])
def test_the_program_prints_it(what: str) -> None:
    made = subprocess.run([sys.executable, "-m", "flyte_build.settings", what], capture_output=True, check=True)
    assert made.stdout.decode() == {"page": page, "schema": schema_text}[what]()


@pytest.mark.parametrize(("arguments", "found"), [([], "nothing"), (["pages"], "`pages`")])
def test_what_it_does_not_make_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: expected page or schema, found {found}\n"


@cache
def validator() -> Any:
    """Imported where it is asked: its check of one format alone takes seconds to load, and no key of ours has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "rfc3987_syntax", None)
        import jsonschema
    return jsonschema.Draft7Validator(schema())


def judged(text: str) -> bool:
    """Whether the schema takes this ``pyproject.toml``."""
    return bool(validator().is_valid(tomllib.loads(text)))


def read(folder: Path, text: str) -> bool:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    try:
        read_settings(folder, {})
    except InputError:
        return False
    return True


GOOD = {
    "text": ['"x"'],
    "texts": ['"x"', "[]", '["x", "y"]'],
    "flag": ["true", "false"],
    "choice": [],
    "folder": ['"x"', '"."', '"x/y"'],
    "file": ['"x.py"', '"../x.py"'],
    "files": ['"x.py"', "[]", '["x.py", "../y"]'],
    "key": ['"x"', '"awskms://x"'],
    "size": ['"500"', '"10Gi"', '"1.5G"', '"3k"'],
    "count": ["1", "10_000"],
    "age": ['"7 days"', '"2026-11-01"', '"P2W"'],
    "ages": ["{}", '{ x = "none", "https://x/simple" = "36 hours" }'],
    "targets": [
        "{}",
        '{ prod = { namespace = "ml", storage = "s3://b" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", kind = "kubernetes" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", profile = "gke" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", profile = { base = "eks", mig = "resource" } } }',
        '{ prod = { namespace = "ml", storage = "s3://b", pull-secrets = [] } }',
        '{ prod = { namespace = "ml", storage = "s3://b", labels = { a = "" } } }',
        '{ prod = { namespace = "ml", storage = "s3://b", api-access = true } }',
        '{ prod = { namespace = "ml", storage = "s3://b", unscheduled = "2h" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", kubeconfig = "../x" } }',
    ],
}
BAD = {
    "text": ['""', "3", "true", '["x"]', "{ x = 1 }"],
    "texts": ['""', "[1]", '["x", ""]', "false", "{ x = 1 }"],
    "flag": ['"yes"', "1", "[true]"],
    "choice": ['""', "1", '"x"'],
    "folder": ['""', "3", '["x"]'],
    "file": ['""', "3", '["x"]'],
    "files": ['""', "[1]", '["x", ""]', "false"],
    "key": ['""', "3", '["x"]'],
    "size": ['""', '"much"', "3", '"10 Gi"', '"-1G"', '"1i"', '["1G"]', "true"],
    "age": ['""', "7", "[]", "false"],
    "ages": ['"none"', "[]", "{ x = 7 }", '{ x = "" }'],
    "count": ["0", "-1", "true", '"3"', "1.5", "[1]"],
    "targets": [
        '"prod"',
        "[]",
        "{ prod = 3 }",
        '{ prod = { namespace = "ml" } }',
        '{ prod = { storage = "s3://b" } }',
        '{ "a b" = { namespace = "ml", storage = "s3://b" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", kind = "slurm" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", profile = "aks" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", profile = { mig = "resource" } } }',
        '{ prod = { namespace = "ml", storage = "s3://b", profile = 3 } }',
        '{ prod = { namespace = "ml", storage = "s3://b", pull-secrets = "x" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", pull-secrets = [""] } }',
        '{ prod = { namespace = "ml", storage = "s3://b", labels = { a = 1 } } }',
        '{ prod = { namespace = "ml", storage = "s3://b", labels = "a" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", api-access = "yes" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", unscheduled = 30 } }',
        '{ prod = { namespace = "ml", storage = "s3://b", unscheduled = "soon" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", queue = "A_b" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", context = "" } }',
        '{ prod = { namespace = "ml", storage = "s3://b", kubeconfig = 3 } }',
        '{ prod = { namespace = "ml", storage = "s3://b", namespce = "x" } }',
    ],
}


def test_it_is_a_schema() -> None:
    validator().check_schema(schema())


@pytest.mark.parametrize("setting", TABLE.values(), ids=lambda s: s.key)
def test_the_schema_judges_each_key_as_reading_does(tmp_path: Path, setting: Setting) -> None:
    good = [*GOOD[setting.kind], setting.example, *(f'"{choice}"' for choice in setting.choices)]
    for value in good:
        text = f"[tool.flyte-build]\n{setting.key} = {value}\n"
        assert (judged(text), read(tmp_path, text)) == (True, True), text
    for value in BAD[setting.kind]:
        text = f"[tool.flyte-build]\n{setting.key} = {value}\n"
        assert (judged(text), read(tmp_path, text)) == (False, False), text


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("", True),
        ("[tool.flyte-build]", True),
        ("[project]\nname = 'x'\n[tool.other]\nregistry = 3", True),
        ("[tool.flyte-build]\ncahce = 'x'", False),
        ("[tool.flyte-build]\ncache_write = true", False),
        ("[tool]\nflyte-build = 3", False),
    ],
)
def test_the_schema_is_about_our_table_and_no_other(tmp_path: Path, text: str, good: bool) -> None:
    assert (judged(text), read(tmp_path, text)) == (good, good)
