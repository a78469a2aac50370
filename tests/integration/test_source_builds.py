"""A package with a source distribution only, a folder with C in it, a tagged repository: locked, run, built again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_source_trees import git
from tests.support.cli import Cli
from tests.support.locking import whole_lock

pytestmark = pytest.mark.integration

FLOW = """\
import flyte

image = flyte.Image.from_debian_base(python_version=(3, 11), platform=("linux/amd64",)).with_pip_packages(
    "langdetect==1.0.9", "fastadd @ ./libs/fastadd", "git+{url}@main#egg=tagged"
)
env = flyte.TaskEnvironment("env", image=image)


@env.task
def main() -> str:
    import importlib.metadata

    import fastadd
    import langdetect
    import tagged

    said = langdetect.detect("Guten Tag, wie geht es Ihnen heute?")
    return f"{{said}} {{fastadd.add(40, 2)}} {{tagged.NAME}} {{importlib.metadata.version('tagged')}}"
"""
NATIVE = """\
#include <Python.h>
static PyObject *add(PyObject *self, PyObject *args) {
    long a, b;
    if (!PyArg_ParseTuple(args, "ll", &a, &b)) return NULL;
    return PyLong_FromLong(a + b);
}
static PyMethodDef methods[] = {{"add", add, METH_VARARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fastadd", NULL, -1, methods};
PyMODINIT_FUNC PyInit_fastadd(void) { return PyModule_Create(&module); }
"""
PROJECT = """\
[build-system]
requires = ["setuptools>=77"{more}]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
{version}
"""


def sources(folder: Path) -> str:
    """A folder with C in it, and a repository whose version is its tag; the address of the latter."""
    setup = 'from setuptools import Extension, setup\nsetup(ext_modules=[Extension("fastadd", ["fastadd.c"])])\n'
    project = PROJECT.format(name="fastadd", version='version = "0.1"', more="")
    dynamic = PROJECT.format(name="tagged", version='dynamic = ["version"]', more=', "setuptools-scm>=8"')
    written = {
        "libs/fastadd/pyproject.toml": project,
        "libs/fastadd/setup.py": setup,
        "libs/fastadd/fastadd.c": NATIVE,
        "work/pyproject.toml": dynamic + "[tool.setuptools_scm]\n",
        "work/tagged.py": "NAME = 'ours'\n",
    }
    for name, text in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder / "work", "init", "--quiet", "--initial-branch=main")
    git(folder / "work", "add", ".")
    git(folder / "work", "commit", "--quiet", "--message=one")
    git(folder / "work", "tag", "v1.4.2")
    git(folder / "work", "clone", "--quiet", "--bare", ".", str(folder / "tagged.git"))
    return (folder / "tagged.git").as_uri()


def platform(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = whole_lock(folder / "lockfiles/env.json")["platforms"]["linux/amd64"]
    return found


def test_a_pure_one_and_one_with_c_in_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    flow = tmp_path / "flow.py"
    flow.write_text(FLOW.format(url=sources(tmp_path)))
    (tmp_path / "lockfiles").mkdir()
    said = cli("lock", flow)
    assert said.code == 0, said.err
    held = platform(tmp_path)
    native = {build["source"]["name"]: (build["native"], build["reproducible"]) for build in held["builds"]}
    assert native == {
        "fastadd": (True, True),
        "langdetect": (False, True),
        "tagged": (False, True),
    }
    assert [len(b["source"]["commit"]) for b in held["builds"] if "commit" in b["source"]] == [40]
    assert "gcc" in {deb["name"] for deb in held["tools"]}
    assert "gcc" not in {deb["name"] for deb in held["debs"]}
    ran = cli("run", flow, "main")
    assert ran.code == 0, ran.err
    assert "de 42 ours 1.4.2" in ran.out
    first = cli("build", flow, "--json").json()["images"][0]["digest"]
    shutil.rmtree(next(tmp_path.glob("**/artifacts")).parent)
    again = cli("build", flow, "--json")
    assert again.json()["images"][0]["digest"] == first
