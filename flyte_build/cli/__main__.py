"""``python -m flyte_build.cli FOLDER``: what a package of flyte-build installs besides the program, written there."""

from __future__ import annotations

import sys
from pathlib import Path

from .shared_files import write_shared_files

if __name__ == "__main__":
    for path in write_shared_files(Path(sys.argv[1])):
        print(path)
