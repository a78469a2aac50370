"""First lines and entry points."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_build.assemble import launchers
from flyte_build.assemble.launchers import entry_point_scripts, launcher, rewrite, shebang


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"#!python\nx\n", b"#!/v/bin/python\nx\n"),
        (b"#!pythonw\nx\n", b"#!/v/bin/python\nx\n"),
        (b"#!python -E -s\nx\n", b"#!/v/bin/python -E -s\nx\n"),
        (b"#!python\r\nx\r\n", b"#!/v/bin/python\nx\r\n"),
        (b"#!python", b"#!/v/bin/python\n"),
        (b"#!python3\nx\n", b"#!python3\nx\n"),
        (b"#!/usr/bin/python\nx\n", b"#!/usr/bin/python\nx\n"),
        (b"\x7fELF", b"\x7fELF"),
    ],
)
def test_rewrite(script: bytes, expected: bytes) -> None:
    assert rewrite(script, "/v/bin/python") == expected


def test_a_path_with_blanks_or_too_long_goes_through_sh(tmp_path: Path) -> None:
    """Run for real: a kernel would split or cut the line."""
    for folder in (tmp_path / 'with blank $HOME "q"', tmp_path / ("x" * 120)):
        folder.mkdir()
        python = folder / "python"
        python.symlink_to(sys.executable)
        script = folder / "tool"
        script.write_bytes(
            shebang(str(python), "-E") + b"import sys\nprint(sys.argv[1:], sys.flags.ignore_environment)\n"
        )
        script.chmod(0o755)
        done = subprocess.run([str(script), "a b", "$c"], capture_output=True, text=True, check=True)
        assert done.stdout == "['a b', '$c'] 1\n"
    assert shebang("/" + "x" * 123) == b"#!/" + b"x" * 123 + b"\n"
    assert shebang("/" + "x" * 125).startswith(b"#!/bin/sh\n")


def test_entry_points() -> None:
    text = (
        "# comment\n[console_scripts]\nA = m.n : f.g [extra,more]\n\n[other]\nx = no reference\n[gui_scripts]\ng=m:f\n"
    )
    assert entry_point_scripts(text, "tool") == {"A": "m.n:f.g", "g": "m:f"}
    assert entry_point_scripts("", "tool") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[console_scripts]\na = module\n", "script `a`: expected `module:callable`, found `module`"),
        ("[console_scripts]\na = m:f; import os\n", "expected `module:callable`"),
        ("[console_scripts]\na = m:f()\n", "expected `module:callable`"),
        ("[console_scripts]\na/b = m:f\n", "script `a/b`: not a file name"),
        ("a = m:f\n", "not in the format of entry points"),
        ("[console_scripts]\nno value\n", "not in the format of entry points"),
    ],
)
def test_bad_entry_points(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        entry_point_scripts(text, "tool")


def test_a_launcher_is_python() -> None:
    text = launcher("m.n:Tool.run", "/v/bin/python")
    assert text.startswith(b"#!/v/bin/python\n")
    compile(text, "launcher", "exec")
    assert b"from m.n import Tool\n" in text
    assert b"sys.exit(Tool.run())" in text


def test_what_is_read_plainly_is_what_configparser_reads() -> None:
    """Texts of such lines, in any order: either the two agree, or it is left to ``configparser``."""
    lines = [
        "", "[console_scripts]", "[gui_scripts]", "[other.group]", "[DEFAULT]", "[]", "[a]b", "[a]]", "[[a]", " [a]",
        "a = b:c", "a=b:c", "a= ", "=x", " = x", "A = d", "b : c = d", "a.b = x = y", "a", "# a = b", "; a",
        "a = b # c", " a = b", "\ta = b", "a = b\r", "ä = b", "a = b\x0bc", "a = %(b)s", "[console_scripts] ",
        "[ x ]", "x\t= y",
    ]  # fmt: skip
    draw, plain, left = random.Random("entry points"), 0, 0
    for _ in range(4000):
        text = "\n".join(draw.choices(lines, k=draw.randrange(6))) + draw.choice(["", "\n"])
        if draw.random() < 0.7:
            text = f"[console_scripts]\n{text}"
        found = launchers._plainly(text)
        if found is None:
            left += 1
            continue
        plain += 1
        expected = launchers._by_configparser(text)
        assert found == expected, text
        assert [list(rows) for rows in found.values()] == [list(rows) for rows in expected.values()], text
    assert plain > 500
    assert left > 500
