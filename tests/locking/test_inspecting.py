"""What is in a base, read off its layers: whiteouts, links, interpreters, environments, distributions."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flyte_build.kernel.errors import ArtifactError, RefusedError
from flyte_build.locking.inspecting import Tree, facts_of, read_layer
from flyte_build.locks.base import BaseFacts, Distribution

from ..support.bases import LIBC, debian_base, digest, layer

SITE = "opt/venv/lib/python3.12/site-packages"


def tree_of(tmp_path: Path, *layers: Mapping[str, Any]) -> Tree:
    tree = Tree()
    for number, entries in enumerate(layers, 1):
        data = layer(entries)
        blob = tmp_path / f"{number}"
        # Two members, as tools write that append: both are one stream.
        blob.write_bytes(gzip.compress(data[:700]) + gzip.compress(data[700:]))
        read_layer(blob, digest(data), number, tree, f"layer {number}")
    return tree


def facts(tmp_path: Path, *layers: Mapping[str, Any], **config: Any) -> BaseFacts:
    return facts_of(tree_of(tmp_path, *layers), config)


def distribution(name: str, version: str, site: str, *files: str) -> dict[str, str]:
    info = f"{site}/{name}-{version}.dist-info"
    rows = "".join(f"{f},,\n" for f in (*files, f"{name}-{version}.dist-info/METADATA"))
    return {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/RECORD": rows,
        **{f"{site}/{f}": "" for f in files if not f.startswith("../")},
    }


VENV = {
    "usr/local/bin/python3.12": ("", 0o755),
    "usr/local/lib/python3.12/os.py": "",
    "opt/venv/pyvenv.cfg": "home = /usr/local/bin\nversion_info = 3.12.5\ninclude-system-site-packages = false\n",
    "opt/venv/bin/python": ["-> /usr/local/bin/python3.12"],
}


def test_whiteouts_take_away_what_lies_below_and_nothing_of_their_own_layer(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {"a/one": "", "a/two": "", "b/one": "", "c/deep/one": "", "d": ""},
        {"a/.wh.one": "", "b/two": "", "b/.wh..wh..opq": "", "c/.wh.deep": "", "c/deep/two": "", ".wh.d": ""},
    )
    there = {p for p in ("a/one", "a/two", "b/one", "b/two", "c/deep/one", "c/deep/two", "d") if tree.get(p)}
    assert there == {"a/two", "b/two", "c/deep/two"}


def test_links_are_followed_as_inside_the_image(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        {
            "usr/lib/x": "x",
            "lib": ["-> usr/lib"],
            "abs": ["-> /lib/x"],
            "up": ["-> ../../../usr/lib/x"],
            "loop": ["-> loop"],
            "hard": ["=> usr/lib/x"],
            "nowhere": ["-> gone"],
        },
    )
    assert [tree.real(p) for p in ("lib/x", "abs", "up", "hard")] == ["usr/lib/x"] * 3 + ["hard"]
    assert [tree.real(p) for p in ("loop", "nowhere", "lib/y")] == [None] * 3
    assert tree.file("hard") is not None


def test_a_folder_becomes_a_link_and_a_file_a_folder(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a/x": "", "b": ""}, {"a": ["-> c"], "c/y": "", "b": None, "b/z": ""})
    assert tree.real("a/y") == "c/y"
    assert tree.real("a/x") is None
    assert tree.real("b/z") == "b/z"


def test_hostile_and_damaged_layers_are_errors(tmp_path: Path) -> None:
    for entries, why in (({"../x": ""}, "leads out"), ({"x": ["=> gone"]}, "is no file")):
        with pytest.raises(ArtifactError, match=why):
            tree_of(tmp_path, entries)
    good = layer({"a": "a" * 5000})
    blob = tmp_path / "blob"
    blob.write_bytes(gzip.compress(good)[:-20])
    with pytest.raises(ArtifactError, match="expected a layer"):
        read_layer(blob, digest(good), 1, Tree(), "it")
    blob.write_bytes(gzip.compress(good))
    with pytest.raises(ArtifactError, match="diff_id"):
        read_layer(blob, digest(b""), 1, Tree(), "it")
    blob.write_bytes(b"\x28\xb5\x2f\xfd....")
    with pytest.raises(RefusedError, match="zstd"):
        read_layer(blob, digest(good), 1, Tree(), "it")
    blob.write_bytes(good)
    read_layer(blob, digest(good), 1, Tree(), "a layer without compression")


def test_an_environment_in_the_base_is_where_packages_go(tmp_path: Path) -> None:
    found = facts(tmp_path, VENV, Env=["PATH=/usr/bin", "VIRTUAL_ENV=/opt/venv"])
    assert (found.python, found.python_full, found.venv) == ("/usr/local/bin/python3.12", "3.12.5", "/opt/venv")


def test_the_first_python_on_path_counts(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        {
            "usr/bin/python3.11": ("", 0o755),
            "usr/bin/python3": ["-> python3.11"],
            "usr/local/bin/python3.13": ("", 0o755),
            "usr/local/bin/python3": ["-> python3.13"],
            "usr/local/bin/python": ("", 0o644),
        },
        Env=["PATH=/nowhere:/usr/local/bin:/usr/bin"],
    )
    assert (found.python, found.minor, found.venv) == ("/usr/local/bin/python3.13", "3.13", None)


def test_condas_python_is_known_by_its_library(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        {
            "opt/conda/bin/python": ("", 0o755),
            "opt/conda/lib/python3.11/os.py": "",
            "opt/conda/lib/python3.11/site-packages/torch/__init__.py": "",
            "opt/conda/conda-meta/python-3.11.9-h955ad1f_0.json": "{}",
            "lib64/libc.so.6": LIBC,
        },
        Env=["PATH=/opt/conda/bin:/bin"],
    )
    assert (found.python, found.python_full, found.modules) == ("/opt/conda/bin/python", "3.11.9", ("torch",))
    assert found.glibc == "2.36"


def test_debians_python_takes_its_version_and_its_modules_from_debian(tmp_path: Path) -> None:
    found = facts(
        tmp_path,
        {
            "usr/bin/python3.11": ("", 0o755),
            "usr/bin/python3": ["-> python3.11"],
            "usr/lib/python3/dist-packages/yaml/__init__.py": "",
            "usr/lib/python3/dist-packages/PyYAML-6.0.egg-info/PKG-INFO": "Name: PyYAML\nVersion: 6.0\n",
            "usr/lib/python3/dist-packages/six.py": "",
            "var/lib/dpkg/status.d/python3.11-minimal": "Package: python3.11-minimal\nVersion: 3.11.2-6+deb12u3\n",
        },
    )
    assert found.python_full == "3.11.2"
    assert found.modules == ("six", "yaml")
    assert found.distributions == (Distribution("pyyaml", "6.0"),)
    assert found.debs == ("python3.11-minimal 3.11.2-6+deb12u3 ",)


def test_a_distribution_goes_by_the_fewest_paths_that_are_its_own(tmp_path: Path) -> None:
    one = distribution(
        "Google_One", "1.0", SITE, "google/one/__init__.py", "google/one/b.py", "one.py", "../../../bin/one"
    )
    two = distribution("google-two", "2.0", SITE, "google/two/__init__.py")
    made = {
        "opt/venv/bin/one": ("", 0o755),
        f"{SITE}/__pycache__/one.cpython-312.pyc": "",
        f"{SITE}/google/one/__pycache__/b.cpython-312.pyc": "",
        f"{SITE}/_virtualenv.py": "",
    }
    found = facts(tmp_path, VENV, one, two, made, Env=["PATH=/opt/venv/bin"])
    by_name = {d.name: d.paths for d in found.distributions}
    assert by_name["google-one"] == (
        "opt/venv/bin/one",
        f"{SITE}/Google_One-1.0.dist-info",
        f"{SITE}/google/one",
        f"{SITE}/one.py",
    )
    assert by_name["google-two"] == (f"{SITE}/google-two-2.0.dist-info", f"{SITE}/google/two")
    assert found.modules == ("_virtualenv", "google", "one")


def test_users_by_name_number_and_group(tmp_path: Path) -> None:
    accounts = {
        "etc/passwd": "root:x:0:0::/root:/bin/sh\napp:x:500:501::/app:/bin/sh\nflyte:x:1000:1001::/:\n",
        "etc/group": "video:x:44:\n",
    }
    expected = {
        "": (0, 0),
        "app": (500, 501),
        "app:video": (500, 44),
        "500": (500, 501),
        "77": (77, 0),
        "77:88": (77, 88),
        "nobody-here": (None, None),
    }
    for user, ids in expected.items():
        found = facts(tmp_path, accounts, User=user)
        assert (found.uid, found.gid) == ids, user
        assert (found.flyte, found.accounts) == ((1000, 1001), None)


def test_folders_of_other_owners_are_noticed(tmp_path: Path) -> None:
    plain = {**VENV, **dict.fromkeys(("opt", "opt/venv", "opt/venv/bin"))}
    assert facts(tmp_path, plain).plain
    assert not facts(tmp_path, plain | {"opt/venv": (None, 0o755, 1000, 1000)}).plain
    assert not facts(tmp_path, plain | {"opt": (None, 0o700)}).plain


def test_the_slim_image_of_the_tests_is_what_it_says(tmp_path: Path) -> None:
    """The base of other tests, without a registry: no file of it is what it is by chance."""
    image = debian_base()
    tree = Tree()
    for number, data in enumerate(image.layers, 1):
        (tmp_path / "b").write_bytes(data)
        read_layer(tmp_path / "b", digest(data), number, tree, "it")
    found = facts_of(tree, image.config)
    assert (found.minor, found.system, found.merged, found.plain) == ("3.12", "debian bookworm", True, True)
