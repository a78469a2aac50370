"""``python -m flyte_build`` is ``flyte-build``."""

from .cli import entry

if __name__ == "__main__":
    entry()
