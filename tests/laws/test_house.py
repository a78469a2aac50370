"""The house as ``docs/architecture.md`` has it: who may import whom, and what the skins take of the stages."""

from __future__ import annotations

from pathlib import Path

from .house import PACKAGE, arrows, modules, table

# Of the stages, the skins import these and no others where it counts: values, and the words for them.
NOUNS = frozenset(
    {
        "diffing.comparison",
        "diffing.contents",
        "diffing.entries",
        "diffing.wording",
        "planning.checks.rules.findings",
        "project.nouns",
        "recipe",
        "submit.action",
        "submit.journal",
    }
)
# The plug-in translates the SDK's own objects, which is what this package is for.
EDGE = "project"
SHARED = frozenset({"kernel", "settings", "workbench", "cli", "plugin"})


def package_of(module: str) -> str:
    """``flyte_build.store.files`` → ``store``; nothing for what is on top."""
    name = module.split(".")[1] if "." in module else ""
    return name if (PACKAGE / name).is_dir() and name else ""


def test_the_table_has_every_package_and_no_other() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert set(table()) == folders


def test_only_the_front_door_is_on_top() -> None:
    assert {p.name for p in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "errors.py"}


def test_packages_stand_on_packages_below() -> None:
    rows = list(table().items())
    for i, (package, stands_on) in enumerate(rows):
        below = {name for name, _ in rows[:i]}
        assert set(stands_on) <= below, f"{package} stands on what the table has after it"


def test_no_import_runs_against_the_table() -> None:
    allowed = table()
    against = []
    for arrow in arrows():
        importer, imported = package_of(arrow.importer), package_of(arrow.imported)
        if importer and importer != imported and imported not in allowed[importer]:
            against.append(str(arrow))
    assert against == []


def test_what_the_table_allows_is_used() -> None:
    """A row that allows more than there is hides the next wrong import."""
    used = {(package_of(a.importer), package_of(a.imported)) for a in arrows()}
    unused = [
        f"{package} → {name}" for package, names in table().items() for name in names if (package, name) not in used
    ]
    assert unused == []


def test_skins_take_nouns_of_the_stages() -> None:
    taken = []
    for arrow in arrows():
        skin, stage = package_of(arrow.importer), package_of(arrow.imported)
        if skin not in ("cli", "plugin") or arrow.typing or not stage or stage in SHARED:
            continue
        if skin == "plugin" and stage == EDGE:
            continue
        if arrow.imported.removeprefix("flyte_build.") not in NOUNS:
            taken.append(str(arrow))
    assert taken == []


def test_an_import_is_found_wherever_it_stands(tmp_path: Path) -> None:
    """What the tests above rest on."""
    for name, text in {
        "flyte_build/__init__.py": "",
        "flyte_build/a/__init__.py": "",
        "flyte_build/a/one.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..b import two\n",
        "flyte_build/a/three.py": "def f():\n    from ..b.two import x\n    import flyte_build.a.one\n",
        "flyte_build/b/__init__.py": "from .two import x\n",
        "flyte_build/b/two.py": "x = 1\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    package = tmp_path / "flyte_build"
    assert set(modules(package)) == {
        "flyte_build",
        *(f"flyte_build.{m}" for m in ("a", "a.one", "a.three", "b", "b.two")),
    }
    assert {(a.importer[12:], a.imported[12:], a.typing) for a in arrows(package)} == {
        ("a.one", "b.two", True),
        ("a.three", "b.two", False),
        ("a.three", "a.one", False),
        ("b", "b.two", False),
    }
