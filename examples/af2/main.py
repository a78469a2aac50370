"""A mock of AlphaFold 2: three tasks, each in an environment of its own.

flyte-build run examples/af2/main.py main --sequence AAGGTTCCAA
"""

import logging
import pathlib

import flyte
from fold.run import fold_env, fold_image, run_fold
from msa.run import MSA_PACKAGES, msa_env, run_msa

main_image = fold_image.with_pip_packages(*MSA_PACKAGES)

env = flyte.TaskEnvironment(
    name="multi_env",
    depends_on=[fold_env, msa_env],
    image=main_image,
)


@env.task
def main(sequence: str) -> list[str]:
    """Given a sequence, return what is known of its protein's structure.

    The real thing requires model weights, GPUs and a large database.
    """
    print(f"Running AlphaFold2 for sequence: {sequence}")
    msa = run_msa(sequence)
    print(f"MSA result: {msa}, passing to fold task")
    results = run_fold(sequence, msa)
    print(f"Fold results: {results}")
    return results


if __name__ == "__main__":
    flyte.init_from_config(root_dir=pathlib.Path(__file__).parent, log_level=logging.INFO)
    r = flyte.run(main, "AAGGTTCCAA")
    print(r.name)
    print(r.url)
    r.wait()
