"""An image has what its own tasks import; and what is found where little is known."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.support.recipes import deb

from .callers import CALLEE, CALLER
from .conftest import IMAGE, Make, said

ALONE = (
    IMAGE
    + """
{imports}
env = flyte.TaskEnvironment("env", image=image)

@env.task
def main(x: int) -> int:
    {body}
    return x
"""
)


def test_an_image_without_what_its_own_task_imports(make: Make) -> None:
    made = make(main=ALONE.format(imports="import Bio", body="pass"))
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.code, found.file, found.line) == ("error", "import-missing", "main.py", 4)
    assert found.message == "env: main imports Bio: image lacks it"
    written = "flyte.Image.from_debian_base(python_version=(3, 11))"
    assert found.hint == f"add the distribution that has `Bio` to `image = {written}.with_pip_packages(…)`"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("import Bio", 9),
        ("from Bio import Seq", 9),
        ("helper()", 13),
        ("def inner():\n        import Bio\n    inner()", 10),
    ],
)
def test_an_image_without_what_its_task_imports_when_it_runs(make: Make, body: str, line: int) -> None:
    helper = "\ndef helper():\n    import Bio\n"
    made = make(main=ALONE.format(imports="", body=body) + helper)
    (found,) = made.check(made.lock("env"))
    assert (found.code, found.line) == ("import-missing", line)


def test_what_a_task_imports_when_it_runs_its_callers_need_not_have(make: Make) -> None:
    low = CALLEE.format(module="os").replace("    return x", "    import Bio\n    return x")
    made = make(low=low, main=CALLER.format(depends="low"))
    bio = made.wheels.make("biopython", "1.86", "Bio")
    assert made.check(made.lock("env"), made.lock("low", bio)) == []
    (found,) = made.check(made.lock("env"), made.lock("low"))
    assert (found.environment, found.file, found.line) == ("low", "low.py", 12)


def test_an_optional_import_that_is_missing_is_a_note(make: Make) -> None:
    text = "try:\n    import ujson\nexcept ImportError:\n    import json as ujson"
    made = make(main=ALONE.format(imports=text, body="pass"))
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.message) == ("note", "env: main would import ujson: image lacks it")


@pytest.mark.parametrize(
    ("python", "module", "said_so"),
    [
        ((3, 11), "cgi", None),
        ((3, 11), "tomllib", None),
        ((3, 11), "asyncio, json, zoneinfo, _thread, __future__", None),
        ((3, 13), "cgi", "Python has not had it since 3.13, and image has no other"),
        ((3, 13), "distutils.core", "Python has not had it since 3.12, and image has no other"),
        ((3, 13), "asyncio", None),
        ((3, 11), "tkinter", "image lacks Debian's python3-tk"),
        ((3, 11), "distutils", None),
    ],
)
def test_the_standard_library_is_that_of_the_images_python(
    make: Make, python: tuple[int, int], module: str, said_so: str | None
) -> None:
    made = make(python=python, main=ALONE.format(imports="", body=f"import {module}"))
    found = made.check(made.lock("env"))
    assert [f.message.rpartition(": ")[2] for f in found] == ([said_so] if said_so else [])


def test_what_replaces_a_removed_module_counts(make: Make) -> None:
    made = make(python=(3, 13), main=ALONE.format(imports="", body="import cgi, distutils.core"))
    wheels = made.wheels.make("legacy-cgi", "2", "cgi"), made.wheels.make("setuptools", "80", "setuptools")
    assert made.check(made.lock("env", *wheels)) == []


def test_a_debian_package_that_is_locked_counts(make: Make) -> None:
    from dataclasses import replace

    made = make(main=ALONE.format(imports="", body="import tkinter"))
    lock = made.lock("env")
    platforms = {n: replace(p, debs=(*p.debs, deb("python3-tk"))) for n, p in lock.platforms.items()}
    assert made.check(replace(lock, platforms=platforms)) == []


def test_the_machine_is_the_images(make: Make) -> None:
    text = "import platform\nif platform.machine() == 'aarch64':\n    import Bio"
    made = make(main=ALONE.format(imports=text, body="pass"))
    assert made.check(made.lock("env")) == []
    assert [f.code for f in made.check(made.lock("env"), platform="linux/arm64")] == ["import-missing"]


def test_a_module_in_a_copied_folder_is_a_note(make: Make, tmp_path: Path) -> None:
    (tmp_path / "vendor" / "gadget").mkdir(parents=True)
    (tmp_path / "vendor" / "gadget" / "data.txt").write_text("x")
    text = ALONE.format(imports="import gadget", body="pass").replace(
        "(3, 11))\n", "(3, 11)).with_source_folder(pathlib.Path(__file__).parent / 'vendor')\n"
    )
    made = make(main="import pathlib\n" + text)
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.code) == ("note", "import-unknown")
    assert "has a copy of `vendor/gadget`" in found.message


def test_a_package_that_is_copied_itself_is_a_note(make: Make, tmp_path: Path) -> None:
    """As the SDK's guide to monorepos has it: the folder of a sibling's package, whose name the copy keeps."""
    (tmp_path / "lib" / "gadget").mkdir(parents=True)
    (tmp_path / "lib" / "gadget" / "__init__.py").write_text("")
    text = ALONE.format(imports="import gadget", body="pass").replace(
        "(3, 11))\n", "(3, 11)).with_source_folder(pathlib.Path(__file__).parent / 'lib' / 'gadget')\n"
    )
    made = make(main="import pathlib\n" + text)
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.code) == ("note", "import-unknown")
    assert "has a copy of `lib/gadget`" in found.message


def test_no_lock_is_a_note_and_constraint_1_is_checked_all_the_same(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio"), main=CALLER.format(depends=""))
    assert said(made.check(), notes=True) == [
        "error depends-on-missing main.py:11",
        "note not-checked low.py:0",
        "note not-checked main.py:0",
    ]


def test_a_module_that_cannot_be_imported_is_a_warning(make: Make) -> None:
    main = CALLER.replace("from low import low, work\n", "").replace(
        "return work", "from low import work\n    return work"
    )
    made = make(low="1 / 0\n", main=main.format(depends=""))
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.code, found.file) == ("warning", "module-unreadable", "low.py")
    assert "ZeroDivisionError" in found.message


def test_imports_whose_module_nobody_can_tell_are_notes(make: Make) -> None:
    text = "import importlib\nPLUGINS = [importlib.import_module(n) for n in ('json', 'ast')]"
    made = make(main=ALONE.format(imports=text, body="pass"))
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.code, found.line) == ("note", "undecided-call", 5)


def test_a_task_of_no_environment_is_a_note(make: Make) -> None:
    text = "from flyte.extras import ContainerTask\nbox = ContainerTask('box', image='x', command=['true'])"
    made = make(main=ALONE.format(imports=text, body="box()"))
    (found,) = made.check(made.lock("env"))
    assert (found.severity, found.code) == ("note", "task-without-environment")


def test_findings_are_the_same_each_time_and_in_order(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio, cv2"), main=CALLER.format(depends=""))
    bio = made.wheels.make("biopython", "1.86", "Bio")
    first = made.check(made.lock("env"), made.lock("low", bio))
    assert first == made.check(made.lock("low", bio), made.lock("env"))
    assert [f.severity for f in first] == sorted((f.severity for f in first), key=["error", "warning", "note"].index)


def test_every_file_is_parsed_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 modules that import and call one another: what is linear in files stays linear."""
    count = 200
    files = {
        f"m{i:03}": f"import m{i // 3:03} as a\nimport m{i // 2:03} as b\n\ndef go(x):\n    return a.go(b.go(x))\n"
        for i in range(1, count)
    }
    files["m000"] = "from low import work\n\ndef go(x):\n    return work(x)\n"
    every = "".join(f"    m{i:03}.go(x)\n" for i in range(count))
    main = CALLER.replace("    return work(x)\n", every + "    return x\n") + "".join(
        f"import m{i:03}\n" for i in range(count)
    )
    made = make(low=CALLEE.format(module="os"), **files, main=main.format(depends="low"))
    parsed: Counter[str] = Counter()
    real = ast.parse

    def counting(source: str, filename: str = "<unknown>", *args: object, **kwargs: object) -> ast.AST:
        parsed[filename] += 1
        return real(source, filename, *args, **kwargs)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(ast, "parse", counting)
    assert made.check(made.lock("env"), made.lock("low")) == []
    mine = {name: n for name, n in parsed.items() if name.startswith(str(made.project.root))}
    assert len(mine) == count + 2
    assert set(mine.values()) == {1}


def test_an_import_whose_handler_may_leave_before_it_raises_is_a_warning(make: Make) -> None:
    body = "    try:\n        import Bio\n    except ImportError:\n        if x:\n            return 0\n        raise\n"
    made = make(
        main=IMAGE + f"env = flyte.TaskEnvironment('env', image=image)\n@env.task\ndef go(x: int) -> int:\n{body}"
    )
    assert said(made.check(made.lock("env"))) == ["warning import-missing main.py:7"]


def test_a_package_that_holds_no_module_is_there(make: Make) -> None:
    """The CUDA wheels' `nvidia.cuda_runtime` is a folder of libraries (PEP 420)."""
    body = (
        "    import nvidia.cuda_runtime\n    from nvidia import cuda_runtime\n    import nvidia.nothing\n    return 1\n"
    )
    made = make(main=IMAGE + f"env = flyte.TaskEnvironment('env', image=image)\n@env.task\ndef go() -> int:\n{body}")
    cuda = made.wheels.make("nvidia-cuda-runtime-cu12", "12.9.79", "nvidia/", "nvidia.cuda_runtime/")
    assert said(made.check(made.lock("env", cuda))) == ["error import-missing main.py:8"]
