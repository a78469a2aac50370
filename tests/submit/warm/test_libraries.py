"""Which libraries a worker imports before the fork: what the task's own modules say at their top, and no more."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from flyte_build.submit.warm.libraries import KNOWN, Libraries

ARGV = ("a0", "--inputs", "x", "--resolver", "flyte.resolver", "mod", "{}", "instance", "one")


def libraries(tmp_path: Path, **sources: str) -> Libraries:
    """Of a bundle with these modules: two underscores are a dot."""
    bundle = tmp_path / "code.tgz"
    with tarfile.open(bundle, "w:gz") as tar:
        for name, text in sources.items():
            info = tarfile.TarInfo(f"./{name.replace('__', '/')}.py")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return Libraries.of(bundle)


def wanted(found: Libraries, module: str) -> tuple[str, ...]:
    return found.wanted([word.format(module) for word in ARGV])


def test_what_the_tasks_module_leads_to_is_imported(tmp_path: Path) -> None:
    found = libraries(
        tmp_path,
        main="import flyte\nfrom own import helper\n",
        own__helper="import pandas as pd\n",
        own__init="",
        other="import numpy.linalg\n",
        plain="import json\n",
    )
    assert wanted(found, "main") == KNOWN["pandas"]
    assert wanted(found, "other") == ("numpy",)
    assert wanted(found, "plain") == wanted(found, "none") == ()
    assert found.wanted(["a0"]) == ()


def test_both_are_imported_once(tmp_path: Path) -> None:
    found = wanted(libraries(tmp_path, main="import numpy, pandas\nfrom flyte.io import File\n"), "main")
    assert len(found) == len(set(found))
    assert {"numpy", "pandas", "flyte.io"} <= set(found)


def test_an_import_within_a_function_is_the_tasks_own(tmp_path: Path) -> None:
    assert wanted(libraries(tmp_path, main="def one():\n    import pandas\n"), "main") == ()


@pytest.mark.parametrize(
    "line", ['os.environ["OMP_NUM_THREADS"] = "1"', "OPENBLAS_NUM_THREADS=2", 'environ |= {"MKL_DYNAMIC": "0"}']
)
def test_code_that_tells_a_library_something_imports_it_itself(tmp_path: Path, line: str) -> None:
    assert wanted(libraries(tmp_path, main="import numpy\n", elsewhere=line), "main") == ()


@pytest.mark.parametrize("name", ["numpy", "pandas__core", "flyte__io"])
def test_code_that_brings_a_module_of_that_name_keeps_its_own(tmp_path: Path, name: str) -> None:
    found = libraries(tmp_path, main="import numpy\nimport pandas\n", **{name: "x = 1\n"})
    assert wanted(found, "main") == ()


def test_modules_that_import_each_other_in_a_circle_end(tmp_path: Path) -> None:
    found = libraries(tmp_path, a="import b\n", b="import a\nimport numpy\n")
    assert wanted(found, "a") == wanted(found, "b") == ("numpy",)


@pytest.mark.parametrize("data", [b"", b"not a bundle", b"\x1f\x8b\x08\x00torn"])
def test_a_bundle_that_cannot_be_read_has_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "code.tgz").write_bytes(data)
    assert wanted(Libraries.of(tmp_path / "code.tgz"), "main") == ()
