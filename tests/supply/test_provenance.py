"""The provenance statement: read strictly by in-toto's own messages, and a function of the lock."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

from flyte_build import __version__
from flyte_build.locks.nouns import Lock, LockedStage, Pin
from flyte_build.store import Store
from flyte_build.supply.packages import inventory
from flyte_build.supply.provenance import BUILD_TYPE, Made, lock_digest, provenance
from tests.support.recipes import AMD64, deb, lock_of, recipe_of, sha, wheel
from tests.support.supply import DIGEST, base, everything

MADE = Made("sha256:" + "d0" * 32, {"home/flyte/b": sha("b"), "home/flyte/a": sha("a")})
GOLDEN = "9876c2560a730c9a90cf5f25b60d49363b1dd25ffed966c17d928a19e7becb5b"


def of(lock: Lock, made: Made | None = MADE) -> bytes:
    return provenance(lock, inventory(lock, AMD64, digest=DIGEST), made)


def definition(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data)["predicate"]["buildDefinition"]
    return found


@pytest.mark.parametrize("with_base", [False, True])
def test_in_totos_own_messages_read_it(with_base: bool, store: Store) -> None:
    data = of(everything(store, with_base=with_base))
    statement = json_format.Parse(data, statement_pb2.Statement())
    Statement.copy_from_pb(statement).validate()
    assert (statement.type, statement.predicate_type) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    # Strict: a field that SLSA's predicate does not have is an error.
    predicate = json_format.ParseDict(json.loads(data)["predicate"], provenance_pb2.Provenance())
    assert predicate.build_definition.build_type == BUILD_TYPE
    assert predicate.run_details.builder.version == {"flyte-build": __version__, "assembler": "2"}
    for material in predicate.build_definition.resolved_dependencies:
        assert len(material.digest["sha256"]) == 64


def test_a_field_that_slsa_does_not_have_would_be_found(store: Store) -> None:
    predicate = json.loads(of(everything(store)))["predicate"]
    predicate["buildDefinition"]["invented"] = True
    with pytest.raises(json_format.ParseError, match="invented"):
        json_format.ParseDict(predicate, provenance_pb2.Provenance())


def test_the_subject_is_the_manifest(store: Store) -> None:
    (subject,) = json.loads(of(everything(store)))["subject"]
    assert subject == {"name": "env", "digest": {"sha256": DIGEST.removeprefix("sha256:")}}
    with pytest.raises(ValueError, match="about a digest"):
        provenance(everything(store), inventory(everything(store), AMD64))


def test_every_input_is_a_material(store: Store) -> None:
    lock = everything(store, with_base=True)
    rows = definition(of(lock))["resolvedDependencies"]
    digests = {row["digest"]["sha256"] for row in rows}
    assert digests == {
        base().manifest.digest.removeprefix("sha256:"),
        *(w.sha256 for w in lock.platforms[AMD64].wheels),
        *MADE.files.values(),
    }
    assert [row["name"] for row in rows if "annotations" in row] == ["home/flyte/a", "home/flyte/b"]


def test_what_a_stage_stands_on_is_a_material(store: Store) -> None:
    lock = everything(store)
    staged = replace(lock.platforms[AMD64], stages=(LockedStage(base()), LockedStage(None), LockedStage(base())))
    rows = definition(of(replace(lock, platforms={AMD64: staged})))["resolvedDependencies"]
    assert [row["digest"] for row in rows if row.get("annotations") == {"stage": True}] == [
        {"sha256": base().manifest.digest.removeprefix("sha256:")}
    ]


def test_what_was_asked(store: Store) -> None:
    lock = everything(store)
    said = definition(of(lock))
    assert said["externalParameters"] == {
        "environment": "env",
        "platform": AMD64,
        "lock": {"name": "env.json", "digest": {"sha256": lock_digest(lock).removeprefix("sha256:")}},
    }
    assert said["internalParameters"] == {"derivation": MADE.derivation}
    assert definition(of(lock, None))["internalParameters"] == {}


def test_pins_are_no_input(store: Store) -> None:
    lock = everything(store)
    pinned = replace(lock, pins={AMD64: Pin(MADE.derivation, DIGEST)})
    assert of(pinned) == of(lock)
    assert lock_digest(pinned) == lock_digest(lock) != lock_digest(replace(lock, resolver_version="2"))


def test_the_locks_hash_can_be_had_without_us(store: Store) -> None:
    jq = shutil.which("jq")
    lock = replace(everything(store), pins={AMD64: Pin(MADE.derivation, DIGEST)}, apart="weil é")
    if jq is None:
        # The same rule in words of Python's: sorted keys, no spaces, no pins.
        plain = {k: v for k, v in json.loads(lock.text()).items() if k != "pins"}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    else:
        text = subprocess.run(
            [jq, "-cjS", "del(.pins)"], input=lock.text().encode(), capture_output=True, check=True
        ).stdout
    assert lock_digest(lock) == "sha256:" + hashlib.sha256(text).hexdigest()


def test_a_golden_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the statement's form changes: every statement in the world is then attached a second time."""
    monkeypatch.setattr("flyte_build.supply.provenance.__version__", "0.1.0")
    lock = lock_of(recipe_of("fold"), [wheel("fold")], [deb("libfold1")])
    assert hashlib.sha256(of(lock)).hexdigest() == GOLDEN
