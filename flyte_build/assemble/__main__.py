"""Entry: ``python -m flyte_build.assemble``, or ``python -I -S FOLDER`` wherever this folder was copied to."""

import sys


def _package() -> str:
    """Make this folder, which was run as a script, a package under a name of its own; returns the name."""
    import importlib.util
    import os

    folder = os.path.dirname(os.path.abspath(__file__))
    # Run as a script, the folder itself is searched for modules first: its names are not for the standard library.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != folder]
    sys.dont_write_bytecode = True
    name = "flyte_build_assemble"
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return name


if __name__ == "__main__":
    import importlib

    sys.exit(importlib.import_module(".command", __package__ or _package()).main())
