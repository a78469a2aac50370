"""Entry: ``python -m flyte_build.stepwise``, or ``python -I -S FOLDER``, with flyte_build two folders up."""

import sys


def _package() -> str:
    """Make ``flyte_build`` importable where this folder was run as a script; returns this package's name."""
    import os

    folder = os.path.dirname(os.path.abspath(__file__))
    # Run as a script, the folder itself is searched for modules first: its names are not for the standard library.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != folder]
    sys.path.append(os.path.dirname(os.path.dirname(folder)))
    sys.dont_write_bytecode = True
    return "flyte_build.stepwise"


if __name__ == "__main__":
    import importlib

    sys.exit(importlib.import_module(".command", __package__ or _package()).main())
