"""What is read of a layer's blob is what the assembler said when it made it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_build.assemble.version import ASSEMBLER
from flyte_build.remote.cache_entries import Unbelievable, pack_listing, unpack_listing
from flyte_build.remote.listing import read_listing
from tests.support.layers import wheel_layer, write
from tests.support.wheels import build_wheel

NAMES = st.text("abcdeü-_. ", min_size=1, max_size=60).filter(lambda n: n.strip(". ") == n)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
ROWS = st.dictionaries(
    PATHS,
    st.fixed_dictionaries(
        {"mode": st.sampled_from([0o644, 0o755, 0o4755, 0o600]), "uid": st.sampled_from([0, 1000, 3_000_000])},
        optional={"link": st.text("abc/.ü", min_size=1, max_size=150)},
    ),
    max_size=8,
)


@given(ROWS)
def test_any_layer_of_files_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: dict[str, dict]
) -> None:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("layer")
    inner = {path.rsplit("/", i)[0] for path in rows for i in range(1, path.count("/") + 1)}
    entries = []
    for path, row in sorted(rows.items()):
        entries.append({"path": path, "gid": 0, **row} | ({"dir": True} if "link" not in row or path in inner else {}))
        if path in inner:
            entries[-1].pop("link", None)
    spec = {"kind": "files", "assembler": ASSEMBLER, "title": "copy x", "files": entries}
    made = write(spec, [], folder)
    (folder / "blob").write_bytes(made.blob)
    assert read_listing(folder / "blob") == (made.result.diff_id, made.result.diff_size, made.result.listing)


def test_a_layer_of_wheels_reads_as_it_was_written(tmp_path: Path) -> None:
    deep = "/".join(["a" * 40] * 4) + "/ü.py"
    wheel = build_wheel(tmp_path, "alpha", files={"alpha/__init__.py": "x = 1\n", f"alpha/{deep}": "y\n" * 5000})
    made = write(wheel_layer([wheel]), [wheel], tmp_path)
    (tmp_path / "blob").write_bytes(made.blob)
    found = read_listing(tmp_path / "blob", made.result.diff_size)
    assert found == (made.result.diff_id, made.result.diff_size, made.result.listing)
    assert unpack_listing(pack_listing(made.result.listing)) == made.result.listing


def test_what_is_no_layer_is_not_read_as_one(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    whole = gzip.compress(bytes(20_000))
    for data in (b"", b"text", whole[:-9], whole + b"x", gzip.compress(b"no tar" * 200)):
        blob.write_bytes(data)
        with pytest.raises(Unbelievable):
            read_listing(blob)
    blob.write_bytes(whole)
    with pytest.raises(Unbelievable, match="expected at most 1000 bytes of tar, found more"):
        read_listing(blob, 1000)


def test_a_device_has_no_place_in_a_layer_of_ours(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("dev/null")
        member.type = tarfile.CHRTYPE
        tar.addfile(member)
    (tmp_path / "blob").write_bytes(gzip.compress(out.getvalue()))
    with pytest.raises(Unbelievable, match="device"):
        read_listing(tmp_path / "blob")


def test_the_form_of_a_realisation_is_golden() -> None:
    from flyte_build.remote.cache_entries import layer_manifest
    from flyte_build.store import LayerRealisation

    digest, blob, diff_id = ("sha256:" + c * 64 for c in "abc")
    data = layer_manifest(digest, LayerRealisation(blob, 5, diff_id, 7), b"listing")
    assert json.loads(data) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.flyte-build.layer.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": blob, "size": 5},
            {
                "mediaType": "application/vnd.flyte-build.listing.v1+json+zlib",
                "digest": "sha256:" + hashlib.sha256(b"listing").hexdigest(),
                "size": 7,
            },
        ],
        "annotations": {
            "build.flyte.derivation": digest,
            "build.flyte.diff-id": diff_id,
            "build.flyte.diff-size": "7",
        },
    }
    assert hashlib.sha256(data).hexdigest() == "51c4220fbf0a09046feae5cdb6137a08341ee5fea0212ebf79afec704ed3ddb4"
