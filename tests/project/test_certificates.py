"""A company's certificate that an image copies to where Debian looks for it joins the bundle."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import flyte
import pytest

from flyte_build.project.certificates import with_bundles
from flyte_build.project.images import read_image
from flyte_build.recipe import CopyFiles, PipInstall, RunCommands, WorkDir

PLACE = "/usr/local/share/ca-certificates"
BASE = flyte.Image.from_debian_base(python_version=(3, 11), install_flyte=False)


def kinds(image: flyte.Image, root: Path) -> list[str]:
    return [type(step).__name__ for step in read_image(image, "environment e", root).steps]


def test_a_copied_certificate_is_followed_by_the_step(tmp_path: Path) -> None:
    (tmp_path / "company.crt").write_text("ours\n")
    copied = BASE.with_source_file(tmp_path / "company.crt", f"{PLACE}/").with_pip_packages("a")
    assert kinds(copied, tmp_path) == ["CopyFiles", "RunCommands", "PipInstall"]
    # Whoever names a bundle, or runs the command, is left alone.
    named = copied.with_env_vars({"SSL_CERT_FILE": "/x"})
    assert "RunCommands" not in kinds(named, tmp_path)
    own = copied.with_commands(["update-ca-certificates"])
    assert kinds(own, tmp_path) == ["CopyFiles", "PipInstall", "RunCommands"]


@pytest.mark.parametrize(
    ("source", "destination", "folder", "found"),
    [
        ("a.crt", f"{PLACE}/", False, True),
        ("a.crt", PLACE, False, True),
        ("a.pem", f"{PLACE}/b.crt", False, True),
        ("a.pem", f"{PLACE}/", False, False),
        ("a.crt", "/etc/a.crt", False, False),
        ("certs", f"{PLACE}/company", True, True),
        ("none", PLACE, True, False),
        ("a.crt", "share/ca-certificates/", False, True),
    ],
)
def test_what_counts_as_one(tmp_path: Path, source: str, destination: str, folder: bool, found: bool) -> None:
    (tmp_path / "certs/deep").mkdir(parents=True)
    (tmp_path / "certs/deep/x.crt").write_text("x")
    (tmp_path / "none").mkdir()
    steps = (WorkDir("/usr/local"), CopyFiles(source, destination, folder), PipInstall(("a",)))
    assert (len(with_bundles(steps, tmp_path)) == 4) is found


def test_what_the_step_does(tmp_path: Path) -> None:
    """As on our own Debian without openssl, in a folder that stands for the root."""
    place, bundle = tmp_path / "certificates", tmp_path / "bundle.crt"
    (place / "company").mkdir(parents=True)
    (place / "b.crt").write_text("two")
    (place / "a.crt").write_text("one\n")
    (place / "company/c.crt").write_text("three\n")
    (place / "readme").write_text("no")
    bundle.write_text("debian\n")
    (step,) = [s for s in with_bundles((CopyFiles("a.crt", PLACE, False),), tmp_path) if isinstance(s, RunCommands)]
    text = step.commands[0].replace(PLACE, str(place)).replace("/etc/ssl/certs/ca-certificates.crt", str(bundle))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/cat").symlink_to(str(shutil.which("cat")))
    subprocess.run(["/bin/sh", "-ec", text], env={"PATH": str(tmp_path / "bin")}, check=True)
    assert bundle.read_text().split() == ["debian", "one", "two", "three"]
