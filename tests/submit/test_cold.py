"""A cold action's ``a0`` looks for garbage from when its task is loaded: all else is as its image's script has it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyte_build.assemble.launchers import launcher
from flyte_build.kernel.values import replace
from flyte_build.submit.berth import Berth
from flyte_build.submit.cold import collecting_late, late
from flyte_build.submit.sandbox.spec import Mount, Sandbox, Tmpfs

OURS = "flyte_build_resolver.Resolver"
ARGV = ("a0", "--inputs", "i", "--resolver", OURS, "some.Resolver", "mod", "m", "instance", "main")
PIP = """#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from flyte._bin.runtime import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
UV = """#!{python}
# -*- coding: utf-8 -*-
import sys
from flyte._bin.runtime import main
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    sys.exit(main())
"""
# What the runtime finds when it starts, and what becomes of its end.
RUNTIME = """
import atexit, gc, json, os, signal, sys, threading
def main():
    status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
    found = {
        "argv": sys.argv, "orig_argv": sys.orig_argv, "flags": str(sys.flags), "path": sys.path,
        "options": sys._xoptions, "hooks": [sys.excepthook.__name__],
        "main": {k: str(v).split(" at ")[0] for k, v in vars(sys.modules["__main__"]).items() if k != "__builtins__"},
        "command": open("/proc/self/cmdline").read(), "executable": sys.executable, "env": dict(os.environ),
        "handlers": {int(n): str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals()},
        "signals": [status[n] for n in ("SigBlk", "SigIgn", "SigCgt")], "cwd": os.getcwd(),
        "threads": [t.name for t in threading.enumerate()], "modules": sorted(sys.modules),
        "files": sorted(os.listdir("/proc/self/fd")), "threshold": gc.get_threshold(),
        "sys": sorted(name for name in vars(sys) if not name.startswith("_flyte_build")),
        "collected": gc.isenabled(), "frozen": gc.get_freeze_count() > 0,
    }
    sys.path.insert(0, os.environ["RESOLVER"])
    import flyte_build_resolver
    flyte_build_resolver.collect()
    found["task"] = [gc.isenabled(), gc.get_freeze_count() > 1000, sorted(n for n in vars(sys) if "late" in n)]
    print(json.dumps(found), flush=True)
    import task
    globals()["kept"] = task.Said("the runtime")
    atexit.register(print, "at exit")
    how = sys.argv[-1]
    if how == "raise":
        raise ValueError("its own")
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    return {"3": 3, "text": "words"}.get(how)
"""
TASK = """
class Said:
    def __init__(self, whose):
        self.whose = whose
    def __del__(self):
        print("gone:", self.whose)
kept = Said("the task")
turning = [Said("a cycle")]
turning.append(turning)
del turning
held = open("held", "w")
held.write("buffered")
"""


def berth(root: Path, *mounts: Mount, argv: tuple[str, ...] = ARGV, path: str = "/opt/bin:/usr/bin") -> Berth:
    box = Sandbox(root, "/usr/bin/python3", mounts, (Tmpfs("/run"), Tmpfs("/dev/shm")))
    return Berth("env.main", box, argv, {"PATH": path}, "/", Path("log"))


def script(place: Path, text: str = UV, mode: int = 0o755) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text.replace("{python}", "/usr/bin/python3"))
    place.chmod(mode)


def changed(found: Berth, scratch: Path) -> str | None:
    """Where a script of ours is shown; nothing else is."""
    (*before, last) = found.box.mounts or (None,)
    if last is None or last.source != scratch / "a0":
        return None
    assert all(mount is not None and mount.source != scratch / "a0" for mount in before)
    assert not last.writable
    assert last.source.stat().st_mode & 0o777 == 0o755
    return last.target


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An image's root and a scratch folder."""
    for name in ("root", "scratch"):
        (tmp_path / name).mkdir()
    return tmp_path / "root", tmp_path / "scratch"


def test_the_script_that_the_path_leads_to_is_shown_changed(folders: tuple[Path, Path]) -> None:
    root, scratch = folders
    script(root / "usr/bin/a0")
    found = berth(root)
    collecting_late(found, root, scratch)
    assert changed(found, scratch) == "/usr/bin/a0"
    assert (scratch / "a0").read_bytes() == late((root / "usr/bin/a0").read_bytes())


def test_links_are_followed_in_the_image_only(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Mounted through a link, it would land outside."""
    root, scratch = folders
    script(root / "opt/venv/bin/a0")
    (root / "usr").mkdir()
    (root / "usr/bin").symlink_to("/opt/links")
    (root / "opt/links").mkdir()
    (root / "opt/links/a0").symlink_to("../venv/bin/a0")
    script(Path(f"{tmp_path}/opt/venv/bin/a0"), "another")
    found = berth(root)
    collecting_late(found, root, scratch)
    assert changed(found, scratch) == "/opt/venv/bin/a0"


def test_it_may_lie_in_what_is_mounted(folders: tuple[Path, Path], tmp_path: Path) -> None:
    root, scratch = folders
    script(tmp_path / "shown/bin/a0")
    script(root / "opt/bin/a0", "#!/bin/sh\nexit 1\n")
    found = berth(root, Mount(tmp_path / "shown", "/opt"))
    collecting_late(found, root, scratch)
    assert changed(found, scratch) == "/opt/bin/a0"


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (("a0", "--resolver", "some.Resolver", "mod", "m"), {}),
        ((*ARGV[:5], "--pkl", "code.pkl"), {}),
        (("/bin/sh", *ARGV), {}),
        (ARGV, {"_F_EXEC_WRAPPER": "nsys launch"}),
        (ARGV, {"_F_E_VS": "true"}),
    ],
)
def test_what_is_asked_for_otherwise_starts_as_ever(
    folders: tuple[Path, Path], argv: tuple[str, ...], env: dict[str, str]
) -> None:
    root, scratch = folders
    script(root / "usr/bin/a0")
    found = berth(root, argv=argv)
    found.env = {**found.env, **env}
    collecting_late(found, root, scratch)
    assert changed(found, scratch) is None


def test_a_script_that_process_1_would_not_take_is_left(folders: tuple[Path, Path]) -> None:
    root, scratch = folders
    found = berth(root)
    collecting_late(found, root, scratch)
    assert changed(found, scratch) is None, "there is none"
    script(root / "usr/bin/a0", mode=0o644)
    (root / "opt/bin/a0").mkdir(parents=True)
    collecting_late(found, root, scratch)
    assert changed(found, scratch) is None, "none is a program"
    script(root / "usr/bin/a0")
    for path in ("bin:/usr/bin", "", "/run/bin:/usr/bin"):
        found = berth(root, path=path)
        collecting_late(found, root, scratch)
        assert changed(found, scratch) is None, "what comes first is not known from here"
    found.box = replace(found.box, tmpfs=(Tmpfs("/usr"),))
    found.env = {"PATH": "/usr/bin"}
    collecting_late(found, root, scratch)
    assert changed(found, scratch) is None, "another lies upon it"


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexec python3 -m flyte._bin.runtime\n",
        "import sys\nfrom flyte._bin.runtime import main\n",
        "#!/usr/bin/python3\nimport sys\nfrom my.own import main\nsys.exit(main())\n",
        "#!/usr/bin/python3\nfrom flyte._bin.runtime import main\nimport sys\nsys.exit(main())\n",
        "#!/usr/bin/python3\n'''\nimport sys\n'''\nfrom flyte._bin.runtime import main as other\n",
        "\x7fELF",
    ],
)
def test_no_script_but_an_installers_is_changed(text: str) -> None:
    assert late(text.encode()) is None


OWN = launcher("flyte._bin.runtime:main", "/usr/bin/python3").decode()
LONG = launcher("flyte._bin.runtime:main", "/a/very/long/path" * 12 + "/python3").decode()


@pytest.mark.parametrize("text", [PIP, UV, OWN, LONG], ids=["pip", "uv", "own", "long"])
def test_it_has_one_expression_more_in_as_many_lines(text: str) -> None:
    made = late(text.encode())
    assert made is not None
    (new,) = [(a, b) for a, b in zip(text.splitlines(), made.decode().splitlines(), strict=True) if a != b]
    assert new[0] in ("import re", "import sys")
    assert new[1].endswith(f"; {new[0]}")
    compile(made, "a0", "exec")


@pytest.mark.parametrize("text", [PIP, UV, OWN.replace("/usr/bin/python3", "{python}")], ids=["pip", "uv", "own"])
@pytest.mark.parametrize("how", ["none", "3", "text", "raise", "interrupt"])
def test_the_runtime_finds_what_the_stock_script_gives_it(tmp_path: Path, text: str, how: str) -> None:
    """Started by the kernel from one place, as by a mount: what it finds, what it prints and how it ends."""
    package = tmp_path / "packages" / "flyte" / "_bin"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "runtime.py").write_text(RUNTIME)
    (tmp_path / "resolver").mkdir()
    (tmp_path / "resolver" / "task.py").write_text(TASK)
    here = Path(__file__).parents[2] / "flyte_build"
    for source, name in (("submit/resolver", "resolver"), ("kernel/code_strings", "code_strings")):
        (tmp_path / "resolver" / f"flyte_build_{name}.py").write_bytes((here / f"{source}.py").read_bytes())
    env = {"PYTHONPATH": f"{tmp_path}/packages", "RESOLVER": f"{tmp_path}/resolver", "PYTHONDONTWRITEBYTECODE": "1"}
    place = tmp_path / "a0"
    stock = text.replace("{python}", sys.executable).encode()

    def started(script: bytes, *given: str) -> tuple[Any, Any]:
        place.write_bytes(script)
        place.chmod(0o755)
        done = subprocess.run([place, *given, how], env=env, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert (tmp_path / "held").read_text() == "buffered"
        (tmp_path / "held").unlink()
        first, *rest = done.stdout.splitlines()
        return json.loads(first), (done.returncode, sorted(rest), done.stderr)  # when garbage goes is nobody's word

    changed = late(stock)
    assert changed is not None
    (plain, end), (found, its_end) = started(stock, *ARGV[1:]), started(changed, *ARGV[1:])
    assert its_end == end
    assert end[1] == ["at exit", "gone: a cycle", "gone: the runtime", "gone: the task"]
    assert (plain.pop("collected"), found.pop("collected")) == (True, False)
    assert (plain.pop("task"), found.pop("task")) == ([True, False, []], [True, True, []])
    assert found == plain
    own, _ = started(changed, "--help")
    assert own["collected"], "what a task's own programs call it for is as ever"
    assert own["task"] == [True, False, []]


NOTICING = {
    "nothing": ("import colorsys\nclass Own:\n    pass\nown = Own()\nown.itself = [own]\n", False),
    "a class with a finalizer": ("class Own:\n    __slots__ = ()\n    def __del__(self): ...\nown = Own()\n", True),
    "an object of the library's": ("import tempfile\nown = tempfile.TemporaryFile()\n", True),
    "a file": ("own = open('/dev/null', 'w')\n", True),
    "a generator": ("def going():\n    yield\nown = going()\nnext(own)\n", True),
    "an extension": (
        "odd = sys.modules['odd'] = types.ModuleType('odd')\nodd.__spec__ = types.SimpleNamespace(origin='odd.so')\n",
        True,
    ),
    "a module of no kind": ("sys.modules['odd'] = types.ModuleType('odd')\n", True),
    "a class that nothing equals": (
        "class Odd(type):\n    def __eq__(self, other):\n        raise ValueError\n    __hash__ = None\n"
        "class Own(metaclass=Odd): ...\n",
        False,
    ),
}


@pytest.mark.parametrize("what", NOTICING)
def test_the_end_is_the_stock_one_where_anything_would_notice(tmp_path: Path, what: str) -> None:
    here = Path(__file__).parents[2] / "flyte_build"
    for source, name in (("submit/resolver", "resolver"), ("kernel/code_strings", "code_strings")):
        (tmp_path / f"flyte_build_{name}.py").write_bytes((here / f"{source}.py").read_bytes())
    made, thawed = NOTICING[what]
    look = (
        "import gc, json, sys, tempfile, types\nimport flyte_build_resolver as resolver\nlast = []\n"
        "def end(own):\n    exec(own, {'sys': sys, 'types': types, '__name__': 'task'}, space := {})\n    last[0]()\n"
        "    print(json.dumps([gc.get_freeze_count() > 0, gc.isenabled()]))\n"
        "gc.disable()\nsys._flyte_build_late = last\nresolver.collect()\nend(sys.argv[1])\n"
    )
    words = [sys.executable, "-c", look, made]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [not thawed, not thawed]
