"""A layer's listing → its wheels' modules: exactly for one, concluded for several, no module lost or doubled."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import pytest

from flyte_build.locks.nouns import LockedWheel
from flyte_build.planning.checks.wheels.dividing import divided

SITE = "opt/venv/lib/python3.11/site-packages"


def wheel(name: str) -> LockedWheel:
    return LockedWheel(name, "1.0", f"{name.replace('-', '_')}-1.0-py3-none-any.whl", 10, f"{name:0<64}", 1)


def listing(wheels: Iterable[LockedWheel], *modules: str, top_level: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a layer with these wheels and files; ``top_level`` by distribution."""
    found = {"opt": "d 0755", SITE: "d 0755", "opt/venv/bin/tool.py": "f 0755 5 00000000"}
    for path in modules:
        found[f"{SITE}/{path}"] = "f 0644 12 0000abcd"
    for one in wheels:
        info = f"{SITE}/{one.file.partition('-')[0]}-1.0.dist-info"
        found |= {info: "d 0755", f"{info}/RECORD": "f 0644 99 01020304 1000:1000"}
        text = (top_level or {}).get(one.name)
        if text is not None:
            found[f"{info}/top_level.txt"] = f"f 0644 {len(text)} {zlib.crc32(text.encode()):08x}"
    return found


def names(found: Mapping[str, frozenset[str]] | None) -> dict[str, list[str]]:
    assert found is not None
    return {sha256.rstrip("0"): sorted(modules) for sha256, modules in found.items()}


def test_a_layer_of_one_wheel_is_that_wheel() -> None:
    one = wheel("biopython")
    held = listing([one], "Bio/__init__.py", "Bio/Seq.py", "Bio/data.txt", "BioSQL/__init__.py")
    held |= {
        f"{SITE}/Bio": "d 0755",
        f"{SITE}/linked.py": "l elsewhere.py",
        "opt/venv/lib/other.py": "f 0644 1 00000000",
    }
    assert names(divided(held, SITE, [one], {})) == {"biopython": ["Bio", "Bio.Seq", "BioSQL", "linked"]}


def test_another_layers_listing_is_not_believed() -> None:
    one, two = wheel("one"), wheel("two")
    assert divided(listing([one], "one.py"), SITE, [one, two], {}) is None
    assert divided(listing([one, two], "one.py"), SITE, [one], {}) is None
    assert divided(listing([one], "one.py"), SITE.replace("3.11", "3.12"), [one], {}) is None
    assert divided({}, SITE, [one], {}) is None


def test_by_name_as_names_are_compared() -> None:
    wheels = [wheel(n) for n in ("ruamel-yaml", "markdown-it-py", "six", "protobuf")]
    held = listing(
        wheels, "six.py", "markdown_it/__init__.py", "ruamel/yaml/__init__.py", "google/protobuf/__init__.py"
    )
    assert names(divided(held, SITE, wheels, {})) == {
        "six": ["six"],
        "ruamel-yaml": ["ruamel.yaml"],
        "protobuf": ["google.protobuf"],
        "markdown-it-py": ["markdown_it"],
    }


def test_what_a_wheel_says_it_has_wins_over_its_name() -> None:
    """``yaml`` is likelier called PyYAML's; here it says it is the other's, and its own file says so in eight bytes."""
    wheels = [wheel("pyyaml"), wheel("camel")]
    held = listing(
        wheels,
        "yaml/__init__.py",
        "_yaml/__init__.py",
        "hump/__init__.py",
        top_level={"camel": "_yaml\nyaml\n", "pyyaml": "a thing of another time\n"},
    )
    assert names(divided(held, SITE, wheels, {})) == {"camel": ["_yaml", "yaml"], "pyyaml": ["hump"]}


def test_a_wheel_without_modules_says_so_and_gets_none() -> None:
    wheels = [wheel("stubs"), wheel("zzz")]
    held = listing(wheels, "stub/__init__.py", top_level={"stubs": "\n"})
    assert names(divided(held, SITE, wheels, {})) == {"stubs": [], "zzz": ["stub"]}


def test_what_is_left_goes_to_the_likest_that_has_nothing_yet() -> None:
    wheels = [wheel(n) for n in ("pandas", "python-dateutil", "pytz", "tzdata", "beautifulsoup4")]
    held = listing(
        wheels,
        *(f"{n}/__init__.py" for n in ("dateutil", "pandas", "pytz", "tzdata", "bs4")),
        "dateutil/tz/__init__.py",
    )
    assert names(divided(held, SITE, wheels, {})) == {
        "pandas": ["pandas"],
        "pytz": ["pytz"],
        "tzdata": ["tzdata"],
        "python-dateutil": ["dateutil", "dateutil.tz"],
        "beautifulsoup4": ["bs4"],
    }


def test_a_namespace_is_everybodys_who_says_so_or_says_nothing() -> None:
    wheels = [wheel(n) for n in ("googleapis-common-protos", "protobuf", "setuptools", "zipp")]
    held = listing(
        wheels,
        "google/api/http_pb2.py",
        "google/rpc/code_pb2.py",
        "google/protobuf/__init__.py",
        *(f"{n}/__init__.py" for n in ("setuptools", "pkg_resources", "_distutils_hack", "zipp")),
        top_level={
            "googleapis-common-protos": "google\n",
            "setuptools": "_distutils_hack\npkg_resources\nsetuptools\n",
        },
    )
    assert names(divided(held, SITE, wheels, {})) == {
        "googleapis-common-protos": ["google.api.http_pb2", "google.rpc.code_pb2"],
        "protobuf": ["google.protobuf"],
        "setuptools": ["_distutils_hack", "pkg_resources", "setuptools"],
        "zipp": ["zipp"],
    }


def test_what_is_known_of_a_wheel_is_not_concluded_again() -> None:
    wheels = [wheel("one"), wheel("two")]
    held = listing(wheels, "one/__init__.py", "shared/__init__.py")
    known = {wheels[0].sha256: frozenset(["shared"])}
    assert names(divided(held, SITE, wheels, known)) == {"one": ["shared"], "two": ["one"]}


@pytest.mark.parametrize("text", ["l elsewhere", "f", "d 0755"])
def test_a_file_that_is_none_says_nothing(text: str) -> None:
    one, two = wheel("one"), wheel("two")
    held = listing([one, two], "one/__init__.py", "two/__init__.py")
    held[f"{SITE}/one-1.0.dist-info/top_level.txt"] = text
    assert names(divided(held, SITE, [one, two], {})) == {"one": ["one"], "two": ["two"]}
