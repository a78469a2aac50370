"""Projects and locks in, findings out: the two constraints, and what must not be found."""

from __future__ import annotations

import pytest

from flyte_build.planning.checks import CODES, Finding

from .callers import CALLEE, CALLER
from .conftest import IMAGE, Make, said


def test_nothing_is_found_where_all_is_well(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio.Seq"), main=CALLER.format(depends="low"))
    bio = made.wheels.make("biopython", "1.86", "Bio", "Bio.Seq")
    assert made.check(made.lock("env", bio), made.lock("low", bio)) == []


def test_constraint_1(make: Make) -> None:
    made = make(low=CALLEE.format(module="os"), main=CALLER.format(depends=""))
    (found,) = made.check(made.lock("env"), made.lock("low"))
    assert found == Finding(
        "error",
        "depends-on-missing",
        "main (env) calls work (low), but env does not depend on low",
        "main.py",
        11,
        "env",
        "in main.py:7: `env` with `depends_on=[low]`",
    )
    assert found.to_json()["code"] in CODES


def test_constraint_1_names_the_import_that_is_missing_too(make: Make) -> None:
    main = CALLER.replace("from low import low, work", "from low import work").format(depends="")
    made = make(low=CALLEE.format(module="os"), main=main)
    (found,) = made.check(made.lock("env"), made.lock("low"))
    assert found.hint == "in main.py:7: `from low import low`, and `env` with `depends_on=[low]`"


def test_constraint_1_keeps_what_is_listed_and_uses_the_names_of_the_module(make: Make) -> None:
    third = IMAGE + 'third = flyte.TaskEnvironment("third", image=image)\n'
    main = CALLER.replace("from low import low, work", "import low\nfrom third import third\nwork = low.work")
    made = make(third=third, low=CALLEE.format(module="os"), main=main.format(depends="third"))
    (found,) = made.check(*(made.lock(e) for e in ("env", "low", "third")))
    assert found.hint == "in main.py:9: `env` with `depends_on=[third, low.low]`"


def test_constraint_1_is_met_through_other_environments(make: Make) -> None:
    between = IMAGE + 'from low import low\nmid = flyte.TaskEnvironment("mid", image=image, depends_on=[low])\n'
    main = CALLER.format(depends="mid").replace("from low", "from mid import mid\nfrom low")
    made = make(low=CALLEE.format(module="os"), mid=between, main=main)
    assert made.check(*(made.lock(e) for e in ("env", "low", "mid"))) == []


def test_constraint_1_for_a_task_that_only_the_body_imports(make: Make) -> None:
    main = CALLER.replace("from low import low, work\n", "").replace(
        "return work", "from low import work\n    return work"
    )
    made = make(low=CALLEE.format(module="os"), main=main.format(depends=""))
    assert "low" not in made.project.environments
    (found,) = made.check(made.lock("env"))
    assert (found.code, found.line) == ("depends-on-missing", 11)


def test_constraint_1_of_what_may_be_called_is_a_warning(make: Make) -> None:
    main = CALLER.replace("return work(x)", "return open(x).read(work)").format(depends="")
    made = make(low=CALLEE.format(module="os"), main=main)
    (found,) = made.check(made.lock("env"), made.lock("low"))
    assert (found.severity, found.code) == ("warning", "depends-on-missing")
    assert found.message == "main (env) may call work (low), but env does not depend on low"


def test_constraint_1_of_a_guess_is_a_note(make: Make) -> None:
    main = CALLER.replace("return work(x)", "return flyte.run(work, x=x)").format(depends="")
    made = make(low=CALLEE.format(module="os"), main=main)
    (found,) = made.check(made.lock("env"), made.lock("low"))
    assert (found.severity, found.code) == ("note", "undecided-call")
    assert "might call work (low)" in found.message


def test_constraint_1_through_a_helper_says_so(make: Make) -> None:
    helper = "from low import work\n\ndef go(x):\n    return work(x)\n"
    main = CALLER.format(depends="").replace("return work", "from helper import go\n    return go")
    made = make(low=CALLEE.format(module="os"), helper=helper, main=main)
    (found,) = made.check(made.lock("env"), made.lock("low"))
    assert found.message == "main (env) calls work (low) through go (helper.py:4), but env does not depend on low"
    assert (found.file, found.line) == ("main.py", 12)


def test_constraint_2(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio.Seq"), main=CALLER.format(depends="low"))
    bio = made.wheels.make("biopython", "1.86", "Bio", "Bio.Seq")
    (found,) = made.check(made.lock("env"), made.lock("low", bio))
    assert found == Finding(
        "error",
        "import-missing",
        "env calls work (low), whose module imports Bio (biopython 1.86): main_image lacks it",
        "main.py",
        11,
        "env",
        "add it: `main_image = image.with_pip_packages('numpy').with_pip_packages(*LOW_PACKAGES)` "
        "(`from low import LOW_PACKAGES`), or call the task remotely (`flyte.remote.Task.get`)",
    )


def test_constraint_2_for_a_dependency_of_a_dependency_names_it(make: Make) -> None:
    made = make(low=CALLEE.format(module="deep_thing"), main=CALLER.format(depends="low"))
    deep = made.wheels.make("deep-thing", "3", step=0)
    (found,) = made.check(made.lock("env"), made.lock("low", deep))
    assert found.message.endswith("whose module imports deep_thing (deep-thing 3): main_image lacks it")
    assert '.with_pip_packages("deep-thing")`' in (found.hint or "")


def test_constraint_2_through_the_projects_own_modules(make: Make) -> None:
    lib = "from . import inner\n"
    made = make(
        lib__init=lib,
        lib__inner="import Bio\n",
        low=CALLEE.format(module="lib"),
        main=CALLER.format(depends="low"),
    )
    bio = made.wheels.make("biopython", "1.86", "Bio")
    (found,) = made.check(made.lock("env"), made.lock("low", bio))
    assert found.message.endswith("imports Bio (biopython 1.86) through lib.inner: main_image lacks it")


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    import Bio\nexcept ImportError:\n    Bio = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import Bio",
        "import typing\nif typing.TYPE_CHECKING:\n    from Bio import Seq",
        "import sys\nif sys.version_info >= (3, 12):\n    import Bio",
        "import sys\nif sys.platform == 'win32':\n    import Bio",
        "def only_here():\n    import Bio",
        "if __name__ == '__main__':\n    import Bio",
        "def ask():\n    try:\n        import Bio\n    except ImportError:\n        raise RuntimeError('install it')",
        "try:\n    import Bio\nexcept ImportError:\n    if flyte is None:\n        raise",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import Bio",
        "try:\n    import os\nexcept ImportError:\n    import Bio",
    ],
)
def test_constraint_2_leaves_out_what_is_not_imported(make: Make, text: str) -> None:
    made = make(low=CALLEE.format(module="os").replace("import os", text), main=CALLER.format(depends="low"))
    bio = made.wheels.make("biopython", "1.86", "Bio")
    assert said(made.check(made.lock("env"), made.lock("low", bio))) == []


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("try:\n    import Bio\nexcept ImportError:\n    raise RuntimeError('install it')", "error"),
        ("try:\n    import Bio\nexcept ValueError:\n    pass", "error"),
        ("try:\n    import gone_thing\nexcept ImportError:\n    import Bio", "error"),
        ("import sys\nif sys.version_info < (3, 12):\n    import Bio", "error"),
        ("class Holder:\n    import Bio", "error"),
        ("import importlib\nBio = importlib.import_module('Bio')", "error"),
        ("import os\nif os.environ.get('NEVER_SET_HERE', '1'):\n    import Bio", "warning"),
        ("def make():\n    import Bio\n    return Bio\nBIO = make()", "error"),
    ],
)
def test_constraint_2_does_not_leave_out_what_is(make: Make, text: str, severity: str) -> None:
    made = make(low=CALLEE.format(module="os").replace("import os", text), main=CALLER.format(depends="low"))
    bio = made.wheels.make("biopython", "1.86", "Bio")
    found = [f for f in made.check(made.lock("env"), made.lock("low", bio)) if f.severity != "note"]
    assert [(f.severity, f.code) for f in found] == [(severity, "import-missing")]
    assert "Bio (biopython 1.86)" in found[0].message


def test_constraint_2_spares_remote_tasks(make: Make) -> None:
    main = CALLER.replace(
        "from low import low, work",
        "import flyte.remote\nwork = flyte.remote.Task.get('low.work', auto_version='latest')",
    )
    made = make(low=CALLEE.format(module="Bio"), main=main.format(depends=""))
    assert made.check(made.lock("env")) == []


def test_versions_that_differ_are_a_warning(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio"), main=CALLER.format(depends="low"))
    old, new = (made.wheels.make("biopython", v, "Bio") for v in ("1.85", "1.86"))
    unused = [made.wheels.make("unused", v) for v in ("1", "2")]
    (found,) = made.check(made.lock("env", old, unused[0]), made.lock("low", new, unused[1]))
    assert (found.severity, found.code) == ("warning", "version-differs")
    assert found.message == (
        "env calls work (low), whose module imports biopython: main_image has 1.85, low_image has 1.86"
    )


def test_modules_are_found_in_the_wheels_and_not_by_name(make: Make) -> None:
    low = CALLEE.format(module="cv2, PIL.Image, sklearn, google.cloud.storage")
    made = make(low=low, main=CALLER.format(depends="low"))
    wheels = [
        made.wheels.make("opencv-python", "4", "cv2"),
        made.wheels.make("pillow", "11", "PIL", "PIL.Image"),
        made.wheels.make("scikit-learn", "1", "sklearn"),
        made.wheels.make("google-cloud-storage", "3", "google.cloud.storage"),
        made.wheels.make("google-cloud-core", "2", "google.cloud.client"),
    ]
    assert made.check(made.lock("env", *wheels), made.lock("low", *wheels)) == []
    found = made.check(made.lock("env", wheels[4]), made.lock("low", *wheels))
    assert [f.message.partition("imports ")[2] for f in found] == [
        "PIL (pillow 11): main_image lacks it",
        "cv2 (opencv-python 4): main_image lacks it",
        "google.cloud.storage (google-cloud-storage 3): main_image lacks it",
        "sklearn (scikit-learn 1): main_image lacks it",
    ]


def test_a_wheel_that_is_called_like_the_module_but_lacks_it_is_not_believed(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio"), main=CALLER.format(depends="low"))
    impostor = made.wheels.make("bio", "1", "something_else")
    real = made.wheels.make("biopython", "1.86", "Bio")
    (found,) = made.check(made.lock("env", impostor), made.lock("low", real))
    assert found.code == "import-missing"


def test_names_out_of_a_namespace_package(make: Make) -> None:
    low = CALLEE.format(module="os").replace("import os", "from google.cloud import storage, bigquery")
    made = make(low=low, main=CALLER.format(depends="low"))
    storage = made.wheels.make("google-cloud-storage", "3", "google.cloud.storage")
    bigquery = made.wheels.make("google-cloud-bigquery", "3", "google.cloud.bigquery")
    (found,) = made.check(made.lock("env", storage), made.lock("low", storage, bigquery))
    assert "imports google.cloud.bigquery (google-cloud-bigquery 3)" in found.message


def test_a_package_without_a_file_for_the_module_is_a_note(make: Make) -> None:
    made = make(low=CALLEE.format(module="six.moves"), main=CALLER.format(depends="low"))
    six = made.wheels.make("six", "1.17", "six")
    found = made.check(made.lock("env", six), made.lock("low", six))
    assert {(f.severity, f.code) for f in found} == {("note", "import-unknown")}
    assert any("main_image has six 1.17, which has no file for it" in f.message for f in found)


def test_wheels_that_cannot_be_read_are_a_note(make: Make) -> None:
    made = make(low=CALLEE.format(module="Bio"), main=CALLER.format(depends="low"))
    dark = made.wheels.make("dark", "1", readable=False)
    bio = made.wheels.make("biopython", "1.86", "Bio")
    found = made.check(made.lock("env", dark), made.lock("low", bio))
    assert [(f.severity, f.code) for f in found] == [("note", "not-checked")]
    assert "the contents of dark 1 could not be had" in found[0].message


def test_wheels_are_read_only_as_far_as_it_takes(make: Make) -> None:
    made = make(low=CALLEE.format(module="numpy.linalg"), main=CALLER.format(depends="low"))
    numpy = made.wheels.make("numpy", "2", "numpy", "numpy.linalg")
    others = [made.wheels.make(f"other{i}") for i in range(20)]
    assert made.check(made.lock("env", numpy, *others), made.lock("low", numpy, *others)) == []
    assert sorted(set(made.wheels.asked)) == ["flyte", "numpy"]
