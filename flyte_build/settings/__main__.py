"""``python -m flyte_build.settings page|schema``: what is made from the table, on standard output.

python -m flyte_build.settings page   > docs/settings.md
python -m flyte_build.settings schema > flyte_build/settings/settings.schema.json
"""

import sys

from .page import page
from .schema import schema_text

_MADE = {"page": page, "schema": schema_text}


def main(arguments: list[str]) -> int:
    """Print what is named; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in _MADE:
        found = f"`{' '.join(arguments)}`" if arguments else "nothing"
        print(f"error: expected {' or '.join(_MADE)}, found {found}", file=sys.stderr)
        return 2
    sys.stdout.write(_MADE[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
