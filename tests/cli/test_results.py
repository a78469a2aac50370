"""What ``build --json`` says of images in an engine."""

from __future__ import annotations

import json

from flyte_build.cli.making import Shown, text_of
from flyte_build.delivery.engines import LoadedImage
from flyte_build.workbench import Images

ID, DIGEST = f"sha256:{1:064}", f"sha256:{2:064}"


def test_an_image_in_an_engine_has_its_digest_and_the_bytes_that_went_there() -> None:
    loaded = (
        LoadedImage("low", "linux/amd64", "flyte-build/low:1", ID, DIGEST, reused=False, sent=1234),
        LoadedImage("top", "linux/amd64", "flyte-build/top:2", ID, DIGEST, reused=False, sent=None),
    )
    row = {"platform": "linux/amd64", "id": ID, "digest": DIGEST, "reused": False}
    assert json.loads(text_of(Shown(as_json=True, quiet=False, loaded=True), Images((), loaded=loaded)))["loaded"] == [
        {"environment": "low", "name": "flyte-build/low:1", "sent": 1234, **row},
        {"environment": "top", "name": "flyte-build/top:2", "sent": None, **row},
    ]
