"""Reading a file whose dependencies are not installed here: what stands in, for whom, and what stays an error."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.kernel.errors import LoadError
from flyte_build.project.loading import Project, load
from flyte_build.project.serializing import root_action
from flyte_build.project.stubs import is_stand_in, stand_ins_in

PREAMBLE = (
    "import flyte\nenv = flyte.TaskEnvironment('env', image=flyte.Image.from_debian_base(python_version=(3, 11)))\n"
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Project]:
    def make(text: str, *, stand_ins: bool = True, **others: str) -> Project:
        for name, body in others.items():
            path = tmp_path / (name.replace("__", "/") + ".py")
            path = path.with_name("__init__.py") if path.stem == "init" else path
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(body))
        path = tmp_path / "main.py"
        path.write_text(PREAMBLE + textwrap.dedent(text))
        return load(path, tmp_path, stand_ins=stand_ins)

    return make


USES = [
    "import nope_a\nX = nope_a.anything.at.all",
    "import nope_a.b.c as c\nX = c.d",
    "from nope_a import b, c\nfrom nope_a.d import E",
    "from nope_a import *",
    (
        "import nope_a\nclass A(nope_a.nn.Module):\n    def __init__(self):\n"
        "        super().__init__(1, x=2)\n        self.l = self.unknown(3)\nX = A()"
    ),
    "import abc, nope_a\nclass A(nope_a.Base, abc.ABC):\n    pass",
    "import typing, nope_a\nT = typing.TypeVar('T')\nclass A(nope_a.Base, typing.Generic[T]):\n    pass\nX = A[int]",
    "import nope_a\nclass A(nope_a.Dataset[int]):\n    pass",
    "import nope_a\nclass A(nope_a.Base, flag=True):\n    pass",
    (
        "import nope_a\nclass MyError(nope_a.BaseError):\n    pass\ntry:\n    raise MyError('x')\n"
        "except nope_a.BaseError:\n    pass"
    ),
    "import nope_a\n@nope_a.jit\ndef f(x):\n    return x + 1\nassert f(1) == 2",
    "import nope_a\n@nope_a.jit(nopython=True)\ndef f(x):\n    return x + 1\nassert f(1) == 2",
    "import nope_a\n@nope_a.register('x', y=2)\nclass A:\n    z = 3\nassert A.z == 3",
    (
        "import nope_a\nX = (nope_a.pi * 2 + 1) / nope_a.e ** -2 | nope_a.FLAG & 3\n"
        "Y = 2 * nope_a.pi - nope_a.array([1])[0]"
    ),
    (
        "import nope_a\nX: nope_a.Array | None = None\n"
        "def f(x: 'nope_a.T', y: nope_a.A[int, nope_a.B] = None) -> list[nope_a.C]: ..."
    ),
    (
        "import typing, nope_a\nX = typing.Optional[nope_a.T]\nY = typing.Annotated[nope_a.T, 1]\n"
        "Z = typing.Callable[[nope_a.T], nope_a.U]"
    ),
    "import nope_a\nwith nope_a.no_grad() as g, nope_a.lock:\n    X = g",
    (
        "import nope_a\nfor _ in nope_a.things():\n    raise AssertionError\n"
        "assert len(nope_a.x) == 0 and 1 not in nope_a.x"
    ),
    (
        "import nope_a\nX = 1 if nope_a.version > '2' else 2\nY = {nope_a.k: 1}[nope_a.k]\n"
        "Z = [1, 2][nope_a.i], int(nope_a.i), float(nope_a.f)"
    ),
    "import nope_a\nassert nope_a.__version__ == '0'\nassert 'nope_a.x' in repr(nope_a.x) and f'{nope_a.x}'",
    "import nope_a\nnope_a.options.mode = 'x'\nnope_a.options['y'] = 1\nassert nope_a.options.mode == 'x'",
    (
        "import dataclasses, nope_a\n@dataclasses.dataclass\nclass A:\n    x: nope_a.T\n"
        "    y: nope_a.T = nope_a.default\nX = A(1)"
    ),
    "import pydantic, nope_a\nclass A(pydantic.BaseModel):\n    x: nope_a.T\nX = A(x=1)",
    "import enum, nope_a\nclass A(enum.Enum):\n    X = nope_a.x\n    Y = nope_a.y\nassert A.X is not A.Y",
    (
        "import functools, nope_a\n@functools.singledispatch\ndef f(x): ...\n"
        "@f.register(nope_a.T)\ndef _(x): ...\nassert not isinstance(1, nope_a.T)"
    ),
    "import importlib\nX = importlib.import_module('nope_a.b').c",
    "def late():\n    import nope_a\n    return nope_a.x\nX = late()",
]


@pytest.mark.parametrize("text", USES)
def test_a_module_is_stood_in_for(read: Callable[..., Project], text: str) -> None:
    made = read(text + "\n@env.task\ndef main(x: int) -> int:\n    return x\n")
    assert made.stand_ins == ("nope_a",)
    assert [t.name for t in made.tasks] == ["main"]


def test_stand_ins_are_gone_from_the_import_system_and_stay_with_the_user(read: Callable[..., Project]) -> None:
    before = list(sys.meta_path)
    read("import nope_a.b\nfrom nope_a import c\nX = nope_a.b.y\n")
    assert sys.meta_path == before
    assert [n for n in sys.modules if n.startswith("nope_a")] == []
    main = sys.modules["main"]
    assert is_stand_in(main.nope_a)
    assert is_stand_in(main.c)
    assert is_stand_in(main.nope_a.b.z)
    with pytest.raises(ModuleNotFoundError):
        __import__("nope_a")


def test_stand_ins_below_a_real_package_leave_no_trace_in_it(read: Callable[..., Project]) -> None:
    import google

    made = read("import google.nope_b.c\nX = google.nope_b.c.D\n")
    assert made.stand_ins == ("google.nope_b",)
    assert not hasattr(google, "nope_b")


def test_without_stand_ins_it_is_an_error_as_before(read: Callable[..., Project]) -> None:
    with pytest.raises(LoadError, match="No module named 'nope_a'"):
        read("import nope_a\n", stand_ins=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def (:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("import nope_a\nundefined\n", "NameError"),
        ("import helper.gone\n", "No module named 'helper.gone'"),
        ("from helper import gone\n", "cannot import name 'gone'"),
        ("import asyncio.gone\n", "No module named 'asyncio.gone'"),
        ("import nope_a\nraise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_every_other_error_stays_one(read: Callable[..., Project], text: str, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        read(text, helper__init="x = 1\n")


def test_code_that_can_do_without_is_let_do_without(read: Callable[..., Project]) -> None:
    made = read("""
        import contextlib
        try:
            import nope_a
        except ImportError:
            nope_a = None
        HAS = False
        with contextlib.suppress(ImportError):
            import nope_b
            HAS = True
        try:
            import nope_c
        except ImportError as e:
            raise RuntimeError("needed") from e
    """)
    assert made.stand_ins == ("nope_c",)
    main = sys.modules["main"]
    assert main.nope_a is None
    assert main.HAS is False


def test_libraries_are_told_the_truth(read: Callable[..., Project], tmp_path: Path) -> None:
    """An installed library that asks what is installed must not take a stand-in for it."""
    library = tmp_path / "site-packages"
    library.mkdir()
    (library / "asking_lib.py").write_text(
        "try:\n    import nope_a\n    HAS = True\nexcept ImportError:\n    HAS = False\n"
    )
    sys.path.append(str(library))
    made = read("import asking_lib\n")
    assert sys.modules["asking_lib"].HAS is False
    assert made.stand_ins == ()


def test_other_threads_are_told_the_truth(read: Callable[..., Project]) -> None:
    read("""
        import threading
        SEEN = []
        def ask():
            try:
                import nope_a
            except ModuleNotFoundError as e:
                SEEN.append(e.name)
        t = threading.Thread(target=ask)
        t.start()
        t.join()
    """)
    assert sys.modules["main"].SEEN == ["nope_a"]
    assert threading.active_count() >= 1


def test_a_root_action_whose_own_types_are_real(read: Callable[..., Project], tmp_path: Path) -> None:
    made = read("""
        import nope_a
        @env.task
        def inner(x: nope_a.Array) -> nope_a.Array:
            return x
        @env.task
        def main(x: int) -> int:
            return int(inner(nope_a.ones(x)).sum())
    """)
    action = root_action(made, made.task("main"), {"x": 3}, tmp_path / "bundles")
    assert b"env.main" in action.task_spec
    assert action.bundle.stat().st_size > 0
    with pytest.raises(LoadError, match=r"env.inner cannot be submitted from here: its types need nope_a.Array"):
        root_action(made, made.task("inner"), {"x": 3}, tmp_path / "bundles")


def test_stand_ins_in_a_type(read: Callable[..., Project]) -> None:
    read("import nope_a\nclass Own(nope_a.Base): ...\n")
    main = sys.modules["main"]
    assert stand_ins_in(int | None) == []
    assert stand_ins_in(list[main.nope_a.T]) == ["nope_a.T"]
    assert stand_ins_in(dict[str, main.nope_a.T | None]) == ["nope_a.T"]
    assert stand_ins_in(main.Own) == ["nope_a.Base"]
