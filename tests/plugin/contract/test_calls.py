"""The two constraints on calls, where flyte's own commands and scripts break them: nothing reaches the backend."""

from __future__ import annotations

from pathlib import Path

from ...support.site import Site


def _without_dependency(project: Path) -> None:
    main = project / "main.py"
    text = main.read_text()
    assert "depends_on=[fold_env, msa_env]" in text
    main.write_text(text.replace("depends_on=[fold_env, msa_env]", "depends_on=[fold_env]"))


def test_flyte_run_refuses_a_call_that_would_fail(site: Site, project: Path) -> None:
    _without_dependency(project)
    before = len(site.backend.runs)
    refused = site.run("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project)
    assert refused.code == 10
    assert "main (multi_env) calls run_msa (msa_env)" in refused.err
    assert len(site.backend.runs) == before


def test_the_setting_makes_it_a_warning_or_leaves_it(site: Site, project: Path) -> None:
    _without_dependency(project)
    before = len(site.backend.runs)
    told = site.ok("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project, FLYTE_BUILD_CHECKS="warn")
    assert "main (multi_env) calls run_msa (msa_env)" in told.err
    left = site.ok("flyte", "run", "main.py", "main", "--sequence", "A", cwd=project, FLYTE_BUILD_CHECKS="off")
    assert "calls run_msa" not in left.err
    assert len(site.backend.runs) == before + 2


def test_a_script_that_pins_is_refused_with_the_way_out(site: Site, project: Path) -> None:
    _without_dependency(project)
    refused = site.run("python", "main.py", cwd=project)
    assert refused.code != 0
    assert "main (multi_env) calls run_msa (msa_env)" in refused.out + refused.err
    assert "hint:" in refused.out + refused.err
