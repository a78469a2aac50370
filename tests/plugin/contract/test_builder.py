"""``image.builder: flyte-build``: what the SDK asks of a builder, and what it takes from it."""

from __future__ import annotations

import re
from pathlib import Path

import flyte
import pytest
from flyte.extend import ImageBuildEngine, ImageBuilder, ImageChecker

from flyte_build.plugin.builder import FlyteBuildImageBuilder, NeverThere

from ...support.site import Site, image_lookup

DIGEST = re.compile(r"127\.0\.0\.1:\d+/team/[a-z_0-9-]+@sha256:[0-9a-f]{64}")
# The hooks would leave nothing for the builder to do.
ALONE = {"FLYTE_BUILD_PIN": "off"}


def test_the_sdk_finds_the_builder_by_its_name() -> None:
    assert isinstance(ImageBuildEngine._get_builder("flyte-build"), FlyteBuildImageBuilder)


def test_it_has_what_the_protocols_have() -> None:
    for protocol, ours in ((ImageBuilder, FlyteBuildImageBuilder), (ImageChecker, NeverThere)):
        for name in (n for n in vars(protocol) if not n.startswith("_")):
            assert callable(getattr(ours, name)), name


def test_it_is_asked_about_modified_images(site: Site, project: Path) -> None:
    site.configure(project, builder="flyte-build")
    site.ok("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project, **ALONE)
    template = site.backend.runs[-1].task_spec.task_template
    lookup = image_lookup(template)
    for name in ("multi_env", "fold_env"):
        assert DIGEST.fullmatch(lookup[name])
        assert site.there(lookup[name])
    assert template.container.image == lookup["multi_env"]


def test_it_is_never_asked_about_others(site: Site, project: Path) -> None:
    """Why hooks and ``pin`` are needed: the default image keeps the SDK's own tag."""
    site.configure(project, builder="flyte-build")
    site.ok("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project, **ALONE)
    lookup = image_lookup(site.backend.runs[-1].task_spec.task_template)
    assert "@" not in lookup["msa_env"]


def test_a_script_that_names_it(site: Site, project: Path) -> None:
    (project / "main.py").write_text(
        (project / "main.py")
        .read_text()
        .replace("flyte.init_from_config(", 'flyte.init_from_config(image_builder="flyte-build", ')
        .replace("with flyte_build.pinned(main):", "if True:")
    )
    site.ok("python", "main.py", cwd=project)
    lookup = image_lookup(site.backend.runs[-1].task_spec.task_template)
    assert DIGEST.fullmatch(lookup["multi_env"])


def test_an_image_without_an_environment(site: Site, tmp_path: Path) -> None:
    text = """
        import flyte

        flyte.init_from_config(image_builder="flyte-build")
        image = flyte.Image.from_debian_base(python_version=(3, 11), name="mine").with_pip_packages("alpha")
        print(flyte.build(image).uri)
        print(flyte.build(image).uri)
        """
    folder = site.write(tmp_path / "alone", {"alone.py": text})
    first, second = site.ok("python", "alone.py", cwd=folder).out.splitlines()
    assert first == second
    assert DIGEST.fullmatch(first)
    (lock,) = (folder / "lockfiles").iterdir()
    assert re.fullmatch(r"image-[0-9a-f]{12}\.json", lock.name)
    assert site.ok("python", "alone.py", cwd=folder, FLYTE_BUILD_LOCKED="1").out.splitlines() == [first, first]


def test_its_errors_are_the_sdks(site: Site, tmp_path: Path) -> None:
    text = """
        import flyte

        flyte.init_from_config(image_builder="flyte-build")
        image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages("x", extra_args="--no-deps")
        flyte.build(image)
        """
    folder = site.write(tmp_path / "refused", {"refused.py": text})
    done = site.run("python", "refused.py", cwd=folder)
    assert done.code != 0
    said = done.out + done.err
    assert "ImageBuildError: " in said
    assert "the pip arguments `--no-deps` have no place in a lock" in said
    assert "hint: index_url, extra_index_urls" in said


def test_pinned_images_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK hands on what ``from_base`` says, unmodified: a digest stays one, and no builder is asked."""
    reference = "registry.example/team/one@sha256:" + "2" * 64
    image = flyte.Image.from_base(reference)
    assert image.uri == reference
    monkeypatch.setattr(FlyteBuildImageBuilder, "build_image", None)
    flyte.init(image_builder="flyte-build")
    assert flyte.build(image).uri == reference
