"""The folding step: an environment whose image has ruff, which formats the script that shows the structure."""

import math
import subprocess

import flyte
from flyte.io import File

FOLD_PACKAGES = ["ruff"]

fold_image = flyte.Image.from_debian_base(python_version=(3, 11)).with_pip_packages(*FOLD_PACKAGES)

fold_env = flyte.TaskEnvironment(name="fold_env", image=fold_image)


def backbone(sequence: str) -> list[tuple[float, float, float]]:
    """One point a residue on an ideal alpha helix: 3.6 residues a turn, 1.5 Å rise, 2.3 Å radius."""
    turn = 2 * math.pi / 3.6
    return [
        (round(2.3 * math.cos(i * turn), 3), round(2.3 * math.sin(i * turn), 3), round(1.5 * i, 3))
        for i, _ in enumerate(sequence)
    ]


@fold_env.task
def run_fold(sequence: str, msa: File) -> list[str]:
    """Fold `sequence` (a mock: every chain is a helix) and return the alignment's depth and the structure."""
    with msa.open_sync("r") as f:
        msa_content = str(f.read())
    script = f"structure={dict(zip(range(1, len(sequence) + 1), backbone(sequence), strict=True))!r}"
    # ruff is a program in this task's image; the other images need not have it.
    formatted = subprocess.run(
        ["ruff", "format", "--isolated", "-"], input=script, capture_output=True, text=True, check=True
    ).stdout
    return [
        f"{msa_content.count('>')} aligned sequences",
        f"{sequence}: {len(formatted.splitlines())} lines",
        formatted,
    ]
