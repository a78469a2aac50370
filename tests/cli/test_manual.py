"""The manual page and the completions that a wheel has: of every command, and as roff reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flyte_build.cli.app import cli
from flyte_build.cli.manual import manual
from flyte_build.cli.shared_files import PLACES, write_shared_files
from tests.support.tools import need


def test_every_command_and_option_is_in_it() -> None:
    page = manual(cli, "flyte-build", "1.2.3")
    for name, _, _ in cli.lazy:
        assert f'.SS "{name.replace("-", chr(92) + "-")} ' in page, name
    assert '.SS "store gc [OPTIONS]' in page
    assert r"\fB\-\-locked\fR" in page
    assert ".SH EXIT CODES" in page
    assert "  0  success" in page
    assert ".SH ENVIRONMENT" in page


def test_commands_are_as_they_were_once_it_is_made() -> None:
    """Each keeps the help option that it was first asked about with."""
    code = (
        "import sys\nfrom flyte_build.cli import main\nfrom flyte_build.cli.app import cli\n"
        "from flyte_build.cli.manual import manual\nmanual(cli, 'flyte-build', '1')\nsys.exit(main(['why', '-h']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: flyte-build why ")


def test_no_line_of_text_is_a_request() -> None:
    known = (".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi", ".B ", ".I ")
    odd = [line for line in manual(cli, "flyte-build", "1").splitlines() if line.startswith((".", "'"))]
    assert [line for line in odd if not line.startswith(known)] == []


def test_groff_reads_it_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "page.1").write_text(manual(cli, "flyte-build", "1"))
    done = subprocess.run(
        [need("groff", "groff-base"), "-man", "-ww", "-Kutf8", "-Tutf8", "-z", str(tmp_path / "page.1")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "can't break line" not in line] == []


def test_files_are_where_packages_have_them(tmp_path: Path) -> None:
    written = {p.relative_to(tmp_path).as_posix() for p in write_shared_files(tmp_path)}
    assert written == {"share/man/man1/flyte-build.1", *PLACES.values()}
    assert "_FLYTE_BUILD_COMPLETE=bash_complete" in (tmp_path / PLACES["bash"]).read_text()
    assert (tmp_path / PLACES["zsh"]).read_text().startswith("#compdef flyte-build")
    again = {p: p.read_bytes() for p in write_shared_files(tmp_path)}
    assert {p: p.read_bytes() for p in write_shared_files(tmp_path)} == again
