"""What is said of images names the environments that they are of."""

from __future__ import annotations

import pytest

from flyte_build.kernel.reporting import Recorder
from flyte_build.workbench.called import Called

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("unpack image 111111111111", "unpack the image of fold"),
        (f"image {TWO[:19]}: not as it was sealed", "the image of a, b and 1 more: not as it was sealed"),
        (f"image {ONE}", "the image of fold"),
        ("unpack image 333333333333", "unpack image 333333333333"),
        ("compile 3 modules of image 222222222222", "compile 3 modules of the image of a, b and 1 more"),
        ("compile 3 modules", "compile 3 modules"),
    ],
)
def test_an_image_is_called_by_its_environments(title: str, said: str) -> None:
    heard = Recorder()
    called = Called(heard, {"fold": ONE, "a": TWO, "b": TWO, "c": TWO})
    with called.work(title):
        called.note(title)
    called.warn(title)
    assert (heard.titles, heard.notes, heard.warnings) == ([said], [said], [said])
    called.quiet = True
    with called.work(title):
        pass
    assert heard.titles == [said]
