"""A wheel with everything that a wheel may hold, and the layer of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.layers import SITE, TEXT, Written, wheel_layer, write
from tests.support.wheels import build_wheel

ENTRY_POINTS = (
    "[console_scripts]\nfold = fold.cli:main\nfold-Raw = fold.cli:Tool.run [extra]\n[gui_scripts]\nview=fold:v\n"
)


def full_wheel(folder: Path, **options: object) -> Path:
    """A wheel with everything a wheel may hold."""
    return build_wheel(
        folder,
        "Fold-Tools",
        "2.0",
        {
            "fold/__init__.py": "",
            "fold/cli.py": TEXT,
            "fold/données/é.txt": "accents\n",
            "fold/run.sh": "#!/bin/sh\n",
            "fold/big.bin": bytes(range(256)) * 5000,
        },
        entry_points=ENTRY_POINTS,
        data={
            "scripts/tool": "#!python -u\nprint('tool')\n",
            "scripts/gui.py": "#!pythonw\nprint('gui')\n",
            "scripts/native": b"\x7fELF\0\0",
            "scripts/other": "#!python3\nprint('no placeholder')\n",
            "data/share/fold/table.csv": "a,b\n",
            "headers/fold/fold.h": "int fold;\n",
            "purelib/fold_pure.py": "pure = 1\n",
            "platlib/fold_plat.py": "plat = 1\n",
        },
        modes={"fold/run.sh": 0o755, "fold/cli.py": 0o600},
        metadata={"INSTALLER": "somebody\n", "REQUESTED": "", "direct_url.json": "{}", "RECORD.jws": "x"},
        **options,  # type: ignore[arg-type]
    )


def installed(wheel: Path, tmp_path: Path) -> Written:
    return write(wheel_layer([wheel]), [wheel], tmp_path)


INFO = f"{SITE}/Fold_Tools-2.0.dist-info"
