"""What a page's blocks are read as, and when a command's output is what the page shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.site.blocks import Command, follow, steps

PAGE = """
```python
# pkg/a.py
print(1)
```

```console
$ python3 pkg/a.py
1
$ printf 'x  12.5 MB  sha256:abc\\n'
x 3 MB sha256:…
...
```

```sh
rm -rf /
```
"""


def test_files_and_commands_in_order() -> None:
    first, second = (
        Command("python3 pkg/a.py", ("1",)),
        Command(r"printf 'x  12.5 MB  sha256:abc\n'", ("x 3 MB sha256:…",)),
    )
    assert steps(PAGE) == [("pkg/a.py", "print(1)\n"), first, second]


def test_a_page_is_followed(tmp_path: Path) -> None:
    done = follow(PAGE, tmp_path, os.environ)
    assert [said for _, said in done] == ["1\n", "x  12.5 MB  sha256:abc\n"]
    assert [c.missing(said) for c, said in done] == [[], []]


@pytest.mark.parametrize(
    ("said", "missing"), [("built 3 of 4\n", []), ("built 3 of\n", ["built 1 of 1"]), ("", ["built 1 of 1"])]
)
def test_a_line_that_is_not_said_is_missing(said: str, missing: list[str]) -> None:
    assert Command("x", ("built 1 of 1",)).missing(said) == missing


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="`false`: exit code 1"):
        follow("```console\n$ true\n$ false\n```\n", tmp_path, os.environ)
