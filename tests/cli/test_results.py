"""What ``build --json`` says of images in an engine."""

from __future__ import annotations

import json
from pathlib import Path

from flyte_build.cli.making import Asked, Made, text_of
from flyte_build.delivery.engines import LoadedImage

ID, DIGEST = f"sha256:{1:064}", f"sha256:{2:064}"


def test_an_image_in_an_engine_has_its_digest_and_the_bytes_that_went_there() -> None:
    asked = Asked(Path("flow.py"), None, (), None, None, None, as_json=True, load="docker")
    loaded = [
        LoadedImage("low", "linux/amd64", "flyte-build/low:1", ID, DIGEST, reused=False, sent=1234),
        LoadedImage("top", "linux/amd64", "flyte-build/top:2", ID, DIGEST, reused=False, sent=None),
    ]
    row = {"platform": "linux/amd64", "id": ID, "digest": DIGEST, "reused": False}
    assert json.loads(text_of(asked, Made([], [], loaded, None, 0.5)))["loaded"] == [
        {"environment": "low", "name": "flyte-build/low:1", "sent": 1234, **row},
        {"environment": "top", "name": "flyte-build/top:2", "sent": None, **row},
    ]
