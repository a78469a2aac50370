"""What artifacts say of their licence: taken where it is clear, repeated where it is words, and never made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_build.supply.licenses import UNKNOWN, Facts, License, of_deb, of_wheel, read_deb, read_wheel
from tests.support.debs import Symlink, build_deb
from tests.support.wheels import build_wheel

_FORMAT = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


def metadata(*fields: str) -> str:
    return "\n".join(["Metadata-Version: 2.4", "Name: a", "Version: 1", *fields, "", "License: not a field here"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["License-Expression: mit and (apache-2.0 or bsd-2-clause)"], "MIT AND (Apache-2.0 OR BSD-2-Clause)"),
        (["License-Expression: MIT", "License: BSD", "Classifier: License :: Public Domain"], "MIT"),
        (["License-Expression: LicenseRef-Ours"], "LicenseRef-Ours"),
        (["License: Apache-2.0"], "Apache-2.0"),
        (["Classifier: License :: OSI Approved :: MIT License"], "MIT"),
        (["License: MPL", "Classifier: License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"], "MPL-2.0"),
        (["License: BSD"], ("BSD",)),
        (["Classifier: License :: OSI Approved :: BSD License"], ("BSD License",)),
        (["Classifier: License :: OSI Approved"], None),
        (["License: UNKNOWN"], None),
        (["License: Permission is hereby granted, to whomever it", "        may concern, free of charge"], None),
        ([f"License: {'very ' * 40}long"], None),
        (["License-Expression: MIT-ish OR"], ("MIT-ish OR",)),
        ([], None),
    ],
)  # fmt: skip
def test_a_wheel_says_its_licence(fields: list[str], expected: str | tuple[str, ...] | None) -> None:
    wanted = License(expected) if isinstance(expected, str) else License(names=expected or ())
    assert of_wheel(metadata(*fields)) == wanted


def test_how_several_classifiers_relate_is_not_guessed() -> None:
    two = [f"Classifier: License :: OSI Approved :: {n}" for n in ("MIT License", "ISC License (ISCL)")]
    assert of_wheel(metadata(*two)) == License(names=("ISC License (ISCL)", "MIT License"))


def copyright(*licenses: str) -> str:
    stanzas = [f"\nFiles: {n}/*\nCopyright: 2020 Nobody\nLicense: {said}\n" for n, said in enumerate(licenses)]
    return _FORMAT + "".join(stanzas) + "\nLicense: GPL-2+\n its text is here\n .\n in full\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["Expat"], "MIT"),
        (["GPL-2+"], "GPL-2.0-or-later"),
        (["LGPL-2.1", "GPL-3+"], "GPL-3.0-or-later AND LGPL-2.1-only"),
        (["GPL-2+ or BSD-3-clause", "Expat", "Expat"], "(GPL-2.0-or-later OR BSD-3-Clause) AND MIT"),
        (["GPL-2+ or Expat, and Zlib"], "(GPL-2.0-or-later OR MIT) AND Zlib"),
        (["Expat\n the text of it"], "MIT"),
        (["Expat", "public-domain"], ("Expat", "public-domain")),
        (["GPL-2+ with OpenSSL exception"], ("GPL-2+ with OpenSSL exception",)),
        (["GPL-2+, Expat"], ("GPL-2+, Expat",)),
    ],
)
def test_a_deb_says_its_licences(said: list[str], expected: str | tuple[str, ...]) -> None:
    wanted = License(expected) if isinstance(expected, str) else License(names=expected)
    assert of_deb(copyright(*said)) == wanted


@pytest.mark.parametrize("text", ["", "Under the GPL.\n", "Files: *\nLicense: Expat\n", _FORMAT, "\0\xff: :\n\n\n"])
def test_a_copyright_file_for_people_only_says_nothing(text: str) -> None:
    assert of_deb(text) == UNKNOWN


@pytest.mark.parametrize(("source", "version"), [("", "1.0-1+b2"), ("zlib", "1.0-1+b2"), ("zlib (1:1.2-3)", "1:1.2-3")])
def test_the_version_of_the_source_package(source: str, version: str, tmp_path: Path) -> None:
    files = {"usr/share/doc/libz/copyright": copyright("Zlib").encode()}
    path = build_deb(tmp_path, "libz", "1.0-1+b2", files, control={"Source": source} if source else {})
    assert read_deb(path, "libz") == Facts(License("Zlib"), version)


@pytest.mark.parametrize("compression", ["xz", "gz", "none"])
def test_any_compression_of_a_deb(compression: str, tmp_path: Path) -> None:
    files = {"usr/share/doc/a/copyright": copyright("Expat").encode()}
    assert read_deb(build_deb(tmp_path, "a", "1", files, compression=compression), "a").license == License("MIT")


def test_a_copyright_that_lies_in_another_package_is_unknown(tmp_path: Path) -> None:
    path = build_deb(tmp_path, "a", "1", {"usr/share/doc/a": Symlink("b")})
    assert read_deb(path, "a") == Facts(UNKNOWN, "1")


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    whole = build_deb(tmp_path, "a", "1", {"usr/share/doc/a/copyright": copyright("Expat").encode(), "x": b"y" * 9000})
    data = whole.read_bytes()
    for cut in (0, 7, 100, len(data) // 2, len(data) - 40):
        broken = tmp_path / f"{cut}.deb"
        broken.write_bytes(data[:cut])
        assert read_deb(broken, "a").license in (UNKNOWN, License("MIT"))
        assert read_wheel(broken) == Facts()
    assert read_deb(tmp_path / "missing.deb", "a") == Facts()
    assert read_wheel(tmp_path / "missing.whl") == Facts()


def test_a_wheel_file_is_read(tmp_path: Path) -> None:
    path = build_wheel(tmp_path, "a", metadata={"METADATA": metadata("License-Expression: ISC")})
    assert read_wheel(path) == Facts(License("ISC"))
