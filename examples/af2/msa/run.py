"""The alignment step: an environment whose image has pytest, and no other environment needs it to run."""

import pathlib
import textwrap

import flyte
from flyte.io import File

MSA_PACKAGES = ["pytest"]

msa_image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages(*MSA_PACKAGES)

msa_env = flyte.TaskEnvironment(name="msa_env", image=msa_image)

# What a real search would find in a database: the query with a few residues exchanged.
EXCHANGES = str.maketrans("ACGT", "CATG")


def homologues(sequence: str, count: int = 3) -> list[str]:
    """`count` sequences as long as the query, each with every (i+2)-th residue exchanged."""
    return [
        "".join(r.translate(EXCHANGES) if j % (i + 2) == 0 else r for j, r in enumerate(sequence)) for i in range(count)
    ]


@msa_env.task
def run_msa(x: str) -> File:
    """Align `x` with its (mock) homologues; the alignment is checked by pytest before it leaves the task."""
    import pytest  # only this task's image has to bring it

    alignment = pathlib.Path("alignment.a3m")
    rows = [x, *homologues(x)]
    alignment.write_text("".join(f">{'query' if i == 0 else f'hit{i}'}\n{row}\n" for i, row in enumerate(rows)))
    pathlib.Path("test_alignment.py").write_text(
        textwrap.dedent(
            """
            import pathlib

            rows = [r for r in pathlib.Path("alignment.a3m").read_text().split() if not r.startswith(">")]

            def test_rows_are_as_long_as_the_query():
                assert {len(r) for r in rows} == {len(rows[0])}

            def test_there_is_something_to_learn_from():
                assert len(set(rows)) > 1
            """
        )
    )
    if pytest.main(["-q", "-p", "no:cacheprovider", "test_alignment.py"]) != 0:
        raise ValueError(f"no usable alignment for {x!r}")

    f = File.new_remote()
    with f.open_sync("w") as fp:
        fp.write(alignment.read_text())
    return f
