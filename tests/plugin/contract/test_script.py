"""The seed's ``python main.py``: what it sends to a backend names images by digest only."""

from __future__ import annotations

import re
from pathlib import Path

from ...support.site import AF2, Site, image_lookup, images_of

DIGEST = re.compile(r"127\.0\.0\.1:\d+/team/[a-z_]+@sha256:[0-9a-f]{64}")


def test_the_script_runs_on_pinned_images(site: Site, project: Path) -> None:
    before = len(site.backend.runs)
    done = site.ok("python", "main.py", cwd=project)
    (request,) = site.backend.runs[before:]
    template = request.task_spec.task_template
    assert template.id.name == "multi_env.main"
    lookup = image_lookup(template)
    assert set(lookup) == {"multi_env", "fold_env", "msa_env"}
    assert template.container.image == lookup["multi_env"]
    assert len(set(lookup.values())) == 3
    for image in images_of(template):
        assert DIGEST.fullmatch(image)
        assert site.there(image)
    assert "run1" in done.out or "run" in done.out


def test_a_project_without_locks_is_locked_first(site: Site, tmp_path: Path) -> None:
    folder = site.write(tmp_path / "new", AF2)
    done = site.ok("python", "main.py", cwd=folder)
    assert "no lock yet: locking" in done.err
    assert sorted(p.name for p in (folder / "lockfiles").glob("*.json")) == [
        "fold_env.json",
        "msa_env.json",
        "multi_env.json",
    ]
    assert all(DIGEST.fullmatch(image) for image in images_of(site.backend.runs[-1].task_spec.task_template))


def test_an_error_names_the_way_out(site: Site, project: Path) -> None:
    done = site.run("python", "main.py", cwd=project, FLYTE_BUILD_REGISTRY="")
    said = done.out + done.err
    assert done.code == 1
    assert "InputError: no registry to push to, for the image of fold_env, msa_env, multi_env" in said
    assert "hint: say where to: `registry = " in said
    assert "main.py" in said


def test_a_dry_run_names_images_by_digest_without_pushing_them(site: Site, project: Path) -> None:
    """``mode="remote", dry_run=True`` takes no endpoint; what it would send is what ``python main.py`` sends."""
    (project / "dry.py").write_text(
        "import pathlib, sys\n"
        "import flyte\nimport flyte_build\nimport main\n"
        "flyte.init(root_dir=pathlib.Path(__file__).parent, org='o', project='p', domain='d')\n"
        "with flyte_build.pinned(main.env, registry=sys.argv[1], push=False, mode='remote') as references:\n"
        "    call = flyte.with_runcontext(mode='remote', dry_run=True, copy_bundle_to=pathlib.Path('bundle'))\n"
        "    made = call.run(main.main, 'A')\n"
        "    assert made.task_spec.task_template.container.image == references['multi_env']\n"
        "    print(*references.values())\n"
        "call = flyte.with_runcontext(mode='remote', dry_run=True, copy_bundle_to=pathlib.Path('bundle'))\n"
        "print(call.run(main.main, 'A').task_spec.task_template.container.image)\n"
    )
    (project / "bundle").mkdir()
    asked = len(site.registry.requests)
    elsewhere = f"{site.registry.host}/elsewhere"
    first, after = site.ok("python", "dry.py", elsewhere, cwd=project).out.splitlines()
    assert len(site.registry.requests) == asked
    site.ok("python", "main.py", cwd=project)
    sent = image_lookup(site.backend.runs[-1].task_spec.task_template)
    assert set(first.split()) == {image.replace("/team/", "/elsewhere/") for image in sent.values()}
    assert "@" not in after
