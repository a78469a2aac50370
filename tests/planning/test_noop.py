"""Nothing changed: whatever is done to a project, a recorded answer is given only where planning gives the same.

To say "nothing changed" wrongly is the one unforgivable bug, so a random sequence of changes to everything a plan can
depend on is compared with planning anew. That it is said at all, when nothing changed, is tested beside it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_build.locks.lockfile import write
from tests.support.noop import KEY, STATED, Bench, edit_keeping_times, replace
from tests.support.recipes import lock_of, recipe_of

CHANGES: dict[str, Callable[[Bench], object]] = {
    "nothing": lambda b: None,
    "source": lambda b: (b.root / "helper_of_noop.py").write_text("EXTRA = ['h2']\n"),
    "source, times kept": lambda b: edit_keeping_times(b.root / "helper_of_noop.py", "EXTRA = ['h3']\n"),
    "source, replaced": lambda b: replace(b.root / "helper_of_noop.py", "EXTRA = ['h4']\n"),
    "comment": lambda b: (b.root / "helper_of_noop.py").write_text("EXTRA = ['h1']  # the same\n"),
    "touch": lambda b: os.utime(b.root / "main_of_noop.py"),
    "clock in the future": lambda b: os.utime(b.root / "helper_of_noop.py", (4e9, 4e9)),
    "clock in the past": lambda b: os.utime(b.root / "helper_of_noop.py", (1, 1)),
    "data": lambda b: (b.root / "data" / "config.json").write_text('["d2"]'),
    "data, times kept": lambda b: edit_keeping_times(b.root / "data" / "config.json", '["d3"]'),
    "data gone": lambda b: (b.root / "data" / "config.json").unlink(missing_ok=True),
    "a listed file more": lambda b: (b.root / "reqs" / "r2.txt").write_text(""),
    "a listed file less": lambda b: (b.root / "reqs" / "r1.txt").unlink(missing_ok=True),
    "a file that was asked for": lambda b: (b.root / "flag").write_text(""),
    "a file that was asked for, gone": lambda b: (b.root / "flag").unlink(missing_ok=True),
    "a module that shadows another": lambda b: (b.root / "json.py").write_text("loads = lambda text: ['shadow']\n"),
    "variable set": lambda b: os.environ.__setitem__("NOOP_USE_B", "1"),
    "variable unset": lambda b: os.environ.pop("NOOP_USE_B", None),
    "another variable": lambda b: os.environ.__setitem__("SHLVL", "7"),
    "link elsewhere": lambda b: ((b.root / "linked.txt").unlink(), (b.root / "linked.txt").symlink_to("two.txt")),
    "link back": lambda b: ((b.root / "linked.txt").unlink(), (b.root / "linked.txt").symlink_to("one.txt")),
    "what is linked": lambda b: (b.root / "one.txt").write_text("3"),
    "what is linked, times kept": lambda b: edit_keeping_times(b.root / "one.txt", "4"),
    "another version installed": lambda b: replace(b.installed / "installed_of_noop.py", 'REQUIREMENT = "x==2"\n'),
    "installed, times kept": lambda b: edit_keeping_times(
        b.installed / "installed_of_noop.py", 'REQUIREMENT = "x==3"\n'
    ),
    "the lock": lambda b: write(b.root / "lockfiles", lock_of(recipe_of("zzz"), environment="env")),
    "the lock gone": lambda b: (b.root / "lockfiles" / "env.json").unlink(missing_ok=True),
    "the lock answers again": lambda b: b.lock() if (b.root / "data" / "config.json").exists() else None,
    "settings": lambda b: (b.root / "pyproject.toml").write_text(STATED),
    "settings gone": lambda b: (b.root / "pyproject.toml").unlink(missing_ok=True),
    "settings without a file": lambda b: (b.root / "pyproject.toml").write_text("[tool.flyte-build]\n"),
    "another file": lambda b: (b.root / "pyproject.toml").write_text(STATED.replace("main_", "helper_")),
    "locks elsewhere": lambda b: (b.root / "pyproject.toml").write_text(f"{STATED}lockfiles = 'other'\n"),
    "another root": lambda b: (b.folder / "pyproject.toml").write_text("[tool.flyte-build]\nroot = '.'\n"),
    "locks elsewhere, said above": lambda b: (b.folder / "pyproject.toml").write_text(
        "[tool.flyte-build]\nlockfiles = 'project/other'\n"
    ),
    "the store": lambda b: (b.folder / "cache" / "artifacts").mkdir(parents=True, exist_ok=True),
    "an unrelated file": lambda b: (b.root / "other" / "notes.txt").write_text("x"),
}


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    before=st.lists(st.sampled_from(sorted(CHANGES)), max_size=2),
    after=st.lists(st.sampled_from(sorted(CHANGES)), max_size=3),
)
def test_a_recorded_answer_is_the_one_that_planning_gives(bench: Bench, before: list[str], after: list[str]) -> None:
    bench.restore()
    for name in before:
        CHANGES[name](bench)
    with bench.recorded() as (recorder, answer):
        recorder.save(KEY, answer)
    for name in after:
        CHANGES[name](bench)
    recalled = bench.recall()
    if recalled is not None:
        assert recalled == bench.plan(), (before, after)


def test_bytecode_of_the_same_second_does_not_answer_for_the_source(bench: Bench) -> None:
    """Found by the test above: an edit that a .pyc does not show was planned from the .pyc, and recorded."""
    bench.plan()
    CHANGES["source, times kept"](bench)
    with bench.recorded() as (recorder, answer):
        recorder.save(KEY, answer)
    CHANGES["clock in the future"](bench)
    assert bench.recall() in (None, bench.plan())


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_each_change_alone(bench: Bench, name: str) -> None:
    with bench.recorded() as (recorder, answer):
        assert recorder.save(KEY, answer), recorder.unrepeatable
    CHANGES[name](bench)
    recalled, anew = bench.recall(), bench.plan()
    assert recalled in (None, anew)


@pytest.mark.parametrize("name", ["nothing", "another variable", "an unrelated file", "touch"])
def test_nothing_changed_is_said_where_it_is_true(bench: Bench, name: str) -> None:
    with bench.recorded() as (recorder, answer):
        assert recorder.save(KEY, answer), recorder.unrepeatable
    CHANGES[name](bench)
    assert bench.recall() == answer


@pytest.mark.parametrize(
    "name",
    ["another file", "locks elsewhere", "another root", "locks elsewhere, said above", "settings without a file"],
)
def test_other_settings_are_noticed(bench: Bench, name: str) -> None:
    with bench.recorded() as (recorder, answer):
        assert recorder.save(KEY, answer), recorder.unrepeatable
    CHANGES[name](bench)
    assert bench.recall() is None
    assert bench.plan() != answer


def test_settings_of_the_same_answer_are_recorded_too(bench: Bench) -> None:
    """A root above the file: between the two lies a folder that nothing but the settings' search looks into."""
    inner = bench.folder / "project" / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "deep_of_noop.py").write_text("import flyte\n")
    (bench.root / "pyproject.toml").write_text("[tool.flyte-build]\nroot = '.'\nfile = 'a/b/deep_of_noop.py'\n")
    bench.file = inner / "deep_of_noop.py"
    with bench.recorded() as (recorder, answer):
        assert recorder.save(KEY, answer), recorder.unrepeatable
    assert bench.recall() == answer
    (bench.root / "a" / "pyproject.toml").write_text("[tool.flyte-build]\n")
    assert bench.recall() is None
