"""``flyte-build diff`` and explanations as they are printed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from flyte_build.cli.app import cli
from flyte_build.cli.commands.diff import DIFFERENCES_FOUND
from flyte_build.cli.differences import show_difference, show_explanation
from flyte_build.deriving.derivation import ImageDerivation
from flyte_build.diffing.comparison import difference
from flyte_build.diffing.contents import Contents, Package, of_derivation, of_spec
from flyte_build.diffing.entries import File
from flyte_build.kernel.errors import FlyteBuildError, InputError
from flyte_build.planning.explain import Earlier, explain
from flyte_build.planning.plan import make_plan
from tests.planning.test_plan import FakeCache
from tests.store.conftest import Built, filled
from tests.support.contents import derivation, file, image, layer, recipe
from tests.support.recipes import lock_of, wheel

__all__ = ["filled"]

MIB = 1 << 20


def printed(before: Contents, after: Contents, *, every_file: bool = False, width: int = 100) -> list[str]:
    out = Console(width=width, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    show_difference(difference(before, after), out, every_file=every_file)
    return out.export_text().splitlines()


def run(built: Built, *arguments: str) -> Result:
    environment = {"FLYTE_BUILD_CACHE": str(built.store.root)}
    return CliRunner().invoke(cli, ["diff", "--platform", "linux/amd64", *arguments], env=environment)


# -- the command -----------------------------------------------------------------------------------


def test_two_images_of_the_store(filled: Built) -> None:
    result = run(filled, "one", "two")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == f"before  one as last built  derivation {filled.images[0].hash[7:19]}"
    assert "Python packages  1 added, 1 removed" in lines
    assert any(line.startswith("  − beta 1.0 (") for line in lines)
    assert any(line.startswith("layers  1 shared (") for line in lines)
    assert "not known" not in result.output


def test_exit_codes_are_gits_idea_and_our_number(filled: Built) -> None:
    assert run(filled, "--exit-code", "one", "two").exit_code == DIFFERENCES_FOUND == 13
    same = run(filled, "--exit-code", "one", filled.images[0].hash)
    assert (same.exit_code, same.output.splitlines()[-1]) == (0, "no difference")
    codes = {c.exit_code for c in _errors(FlyteBuildError)} | {1, 10, 130}
    assert DIFFERENCES_FOUND not in codes


def _errors(cls: type[FlyteBuildError]) -> list[type[FlyteBuildError]]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _errors(sub))]


def test_json_is_one_document_with_every_path(filled: Built) -> None:
    document = json.loads(run(filled, "one", "two", "--json").output)
    assert (document["schema"], document["equal"]) == (1, False)
    assert {c["name"] for c in document["python_packages"]} == {"beta", "gamma"}
    assert [len(document["layers"][k]) for k in ("shared", "new", "gone")] == [1, 1, 1]
    assert len(document["files"]) > 8
    changed = document["files"][0]
    assert set(changed) == {"name", "change", "before", "after"}
    assert document["before"]["identity"] == filled.images[0].hash
    assert document["not_known"] == []


def test_the_documented_keys_are_the_keys(filled: Built) -> None:
    text = (Path(__file__).parents[2] / "docs/diff.md").read_text(encoding="utf-8")
    document = json.loads(run(filled, "one", "two", "--json").output)
    assert all(f"| `{key}` |" in text for key in document)
    assert all(f"`{key}`" in text for key in (*document["layers"], *document["before"]))


def test_all_platforms_are_too_many(filled: Built) -> None:
    result = run(filled, "--platform", "all", "one", "two")
    assert isinstance(result.exception, InputError)


def test_the_help_names_every_form() -> None:
    text = CliRunner().invoke(cli, ["diff", "--help"]).output
    assert all(form in text for form in ("REV:PATH.json", "FILE.py::ENV", "store:ENV", "sha256:HEX", "oci:DIR[:REF]"))


# -- lines -----------------------------------------------------------------------------------------


def test_packages_are_shown_with_what_they_weigh() -> None:
    def packages(**found: Package) -> Contents:
        return Contents("x", "lock", wheels=found)

    lines = printed(
        packages(pandas=Package("3.0.1", 10_000_000), six=Package("1", 11_000), odd=Package("1", 1, "a")),
        packages(pandas=Package("3.0.2", 11_200_000), new=Package("2"), odd=Package("1", 1, "b")),
    )
    assert "  pandas 3.0.1 → 3.0.2 (+1.2 MB)" in lines
    assert "  + new 2" in lines
    assert "  − six 1 (11.0 kB)" in lines
    assert "  odd 1: other bytes" in lines


def test_files_say_how_they_changed() -> None:
    before = {
        "mode": file("x"), "size": file("x"), "same size": file("x"), "owner": file("x"),
        "kind": file("x"), "link": File("link", link="a"), "dir": File("folder", 0o755), "dir/x": file("x"),
    }  # fmt: skip
    after = {
        "mode": file("x", mode=0o755), "size": file("xxx"), "same size": file("y"),
        "owner": replace(file("x"), owner="1:1"), "kind": File("folder", 0o755), "link": File("link", link="b"),
        "to": File("link", link="a"),
        "empty": File("folder", 0o755),
    }  # fmt: skip
    lines = printed(image(layer("a", before)), image(layer("b", after)))
    start = lines.index("files  2 added, 1 removed, 6 changed")
    assert lines[start + 1 : start + 10] == [
        "  kind (file → folder)",
        "  link (a → b)",
        "  mode (mode 0644 → 0755)",
        "  owner (owner 0:0 → 1:1)",
        "  same size (content)",
        "  size (+2 B)",
        "  − dir/x (1 B)",
        "  + empty/",
        "  + to (link → a)",
    ]


def test_many_files_are_counted_and_listed_on_demand() -> None:
    many = {f"f{i:02}": file("x") for i in range(30)}
    short = printed(image(layer("a", {})), image(layer("b", many)))
    assert "  and 10 more: --files lists them, --json has all" in short
    assert "  + f29 (1 B)" in printed(image(layer("a", {})), image(layer("b", many)), every_file=True)
    assert "  + f20 (1 B)" in printed(image(layer("a", {})), image(layer("b", dict(list(many.items())[:21]))))


def test_what_is_not_known_is_said_last() -> None:
    lines = printed(Contents("a", "lock", config={}), Contents("b", "image", unknown={"config": "it was lost"}))
    assert lines[2] == "no difference in what both tell"
    assert "  config, after: it was lost" in lines
    assert "  python packages, before: a does not tell" in lines


def test_markup_in_a_name_is_text() -> None:
    lines = printed(Contents("[bold]a", "lock", facts={"x": "[red]1"}), Contents("b", "lock", facts={"x": "2"}))
    assert lines[0].startswith("before  [bold]a")
    assert "  x: [red]1 → 2" in lines


# -- explanations ----------------------------------------------------------------------------------


def explained(*, before: str | None, now: str, cached: bool = False, width: int = 120) -> list[str]:
    asked = recipe("pandas", env=(("A", now),))

    def made(version: str) -> ImageDerivation:
        pandas = wheel("pandas", version, size=12 * MIB if version == now else 10 * MIB)
        return derivation(lock_of(asked, [pandas], environment="fold_env"), asked)

    images = [made(before or now), made(now)]
    cache = FakeCache()
    cache.layers = {x.hash for x in images[0].layers} if before else set()
    cache.images = {images[1].hash} if cached else set()
    other = replace(images[1], environment="msa_env")
    sizes = {a.sha256: a.size for a in images[0].artifacts.values()}
    old = of_spec(images[0].spec, "before", "derivation", sizes=sizes)
    plan = make_plan([images[1], other], cache)
    found = explain(plan.images[0], Earlier("last build", old) if before else None)
    out = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_explanation(found, out)
    return [line.rstrip() for line in out.export_text().splitlines()]


def test_an_explanation_says_what_changed_and_what_it_costs() -> None:
    lines = explained(before="3.0.1", now="3.0.2")
    assert lines[0].startswith("fold_env linux/amd64  ")
    assert lines[0].endswith("  build")
    assert lines[1] == "  since the last build:"
    assert "  pandas 3.0.1 → 3.0.2 (+2.1 MB)" in lines
    assert "  +1 layer made of 12.6 MB; −1 layer made of 10.5 MB; 2 layers kept; 3 layers shared with msa_env" in lines
    assert [line for line in lines if line.startswith("  pandas 3.0.2")] == [
        "  pandas 3.0.2                 build     –  12.6 MB  pandas 3.0.1 → 3.0.2"
    ]


def test_an_explanation_of_nothing_new() -> None:
    lines = explained(before="3.0.1", now="3.0.1", cached=True)
    assert lines[1] == "  nothing changed since the last build"
    assert explained(before=None, now="3.0.1")[1:3] == ["  never built here", "  3 layers shared with msa_env"]


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_wider_than_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    lines = explained(before="3.0.1", now="3.0.2", width=width)
    assert [line for line in lines if len(line) > width] == []


def test_an_environment_is_a_subject_in_words() -> None:
    asked = recipe("a")
    made = of_derivation(derivation(lock_of(asked, [wheel("a")]), asked), "main.py::env")
    assert printed(made, made)[0] == f"before  main.py::env  environment {str(made.identity)[7:19]}"
