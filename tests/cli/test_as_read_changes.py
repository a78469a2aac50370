"""Commands about a project that another one read, after something of it changed: in any doubt the file is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_build.planning import noop

from ..support.as_read import FLOW, Project, exchange, of_another_recipe, project, same
from ..support.offline import Offline

__all__ = ["project"]


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


CHANGES: dict[str, Callable[[Offline], object]] = {
    "the file": lambda o: o.write(FLOW + "# more\n"),
    "what it imports": lambda o: o.write('PACKAGES = ["beta"]\n', "helper_as_read.py"),
    "a module that shadows another": lambda o: o.write("raise SystemExit(3)\n", "flyte.py"),
    "settings": lambda o: o.write('[tool.flyte-build]\nbase = "standalone"\n', "pyproject.toml"),
    "a variable of settings": lambda o: o.patch.setenv("FLYTE_BUILD_OVERLAPS", "refuse"),
    "another store": lambda o: o.patch.setenv("FLYTE_BUILD_CACHE", str(o.home / "elsewhere")),
    "another interpreter": lambda o: o.patch.setattr(noop, "interpreter_state", lambda: ["another"]),
    "a lock gone": lambda o: (o.lockfiles / "low.json").unlink(),
    "a lock that is none": lambda o: (o.lockfiles / "low.json").write_text("{}"),
    "a lock of another recipe": of_another_recipe,
    "a lock's step": lambda o: edited(o.lockfiles / "deep.json", '"step": 1', '"step": 2'),
    "a deb": lambda o: edited(o.lockfiles / "low.json", '"version": "1.0"', '"version": "1.1"'),
    "a wheel of other modules": lambda o: exchange(o, version="9.1", files={"gamma.py": "x = 1\n"}),
    "a wheel that nobody has": lambda o: (
        exchange(o, version="9.2"),
        [p.unlink() for p in o.index.folder.glob("alpha-9.2*")],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_in_any_doubt_the_file_is_imported(project: Project, change: str) -> None:
    """With a lock that changed besides; what is said is what is said where nothing is kept."""
    exchange(project.offline)
    CHANGES[change](project.offline)
    project.unbuilt()
    for words in (("plan", "flow.py", "--json"), ("build", "flow.py", "--json")):
        files = project.files()
        with_record = project(*words)
        assert project.imported or with_record.code != 0
        for path, data in files.items():
            path.write_bytes(data)
        project.unbuilt()
        project.forget("plans")
        without = project(*words)
        if words[0] == "plan" or without.code:
            same(with_record, without)
        else:
            assert [i["digest"] for i in with_record.json()["images"]] == [
                i["digest"] for i in without.json()["images"]
            ]
