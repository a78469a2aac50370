"""A project's modules are in ``sys.modules`` while they are needed, and no longer."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from flyte_build.project.modules import Modules


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "of_modules").mkdir()
    (tmp_path / "of_modules" / "__init__.py").write_text("")
    (tmp_path / "of_modules" / "inner.py").write_text("VALUE = 1\n")
    return tmp_path


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("of_modules")}


def enter(modules: Modules, root: Path) -> ModuleType:
    with modules.entered():
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        importlib.invalidate_caches()
        return importlib.import_module("of_modules.inner")


def test_they_are_taken_out_and_put_back(root: Path) -> None:
    modules, path = Modules(root), list(sys.path)
    first = enter(modules, root)
    assert loaded() == set()
    assert sys.path == path
    with modules.entered(), modules.entered():
        assert loaded() == {"of_modules", "of_modules.inner"}
        assert sys.path[0] == str(root)
    assert loaded() == set()
    assert enter(modules, root) is first, "the same objects each time"
    assert enter(Modules(root), root) is not first, "another opening reads anew"


def test_they_are_taken_out_after_an_error(root: Path) -> None:
    modules = Modules(root)
    (root / "of_modules" / "inner.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        enter(modules, root)
    assert loaded() == set()


def test_other_modules_are_let_be(root: Path) -> None:
    here = sys.modules[__name__]
    with Modules(root).entered():
        assert sys.modules[__name__] is here
        assert "pytest" in sys.modules
        assert "flyte_build.project.modules" in sys.modules


def test_what_is_installed_below_the_root_is_let_be(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in {"of_venv": "venv/lib/python3.11/site-packages/of_venv.py", "flyte_build_x": "x.py"}.items():
        module = ModuleType(name)
        module.__file__ = str(root / file)
        monkeypatch.setitem(sys.modules, name, module)
    with Modules(root).entered():
        assert "of_venv" in sys.modules
        assert "flyte_build_x" not in sys.modules
    assert "flyte_build_x" in sys.modules


def test_one_thread_at_a_time(root: Path) -> None:
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with Modules(root).entered():
            order.append("first in")
            inside.set()
            go_on.wait(30)
            order.append("first out")

    def second() -> None:
        inside.wait(30)
        with Modules(root).entered():
            order.append("second in")

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    inside.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert order == ["first in", "first out", "second in"]


def test_they_may_stay(root: Path) -> None:
    modules, path = Modules(root), list(sys.path)
    enter(modules, root)
    try:
        modules.stay()
        assert loaded() == {"of_modules", "of_modules.inner"}
        with modules.entered():
            assert loaded() == {"of_modules", "of_modules.inner"}
        assert loaded() == {"of_modules", "of_modules.inner"}
    finally:
        sys.path[:] = path
        for name in loaded():
            del sys.modules[name]


@pytest.mark.parametrize("barred", [False, True])
def test_a_namespace_package_whose_parent_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, barred: bool
) -> None:
    """Python asks the package above for its folders, which may have been taken out before, or must not be imported."""
    (tmp_path / "of_modules" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "of_modules" / "deep" / "er" / "inner.py").write_text("VALUE = 2\n")
    modules = Modules(tmp_path)
    with modules.entered():
        sys.path.insert(0, str(tmp_path))
        importlib.invalidate_caches()
        module = importlib.import_module("of_modules.deep.er.inner")
        del sys.modules["of_modules"], sys.modules["of_modules.deep"]
        if barred:
            for name in ("of_modules", "of_modules.deep"):
                monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.undo()
    assert loaded() == set()
    with modules.entered():
        assert sys.modules["of_modules.deep.er.inner"] is module
