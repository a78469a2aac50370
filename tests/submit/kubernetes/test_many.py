"""Many actions of one run, in processes of their own: what they ask of the API is bounded, whatever that answers."""

from __future__ import annotations

from tests.cluster.alone import alone


def test_a_map_of_maps_under_a_server_that_has_too_much_to_do() -> None:
    """Every seventh Job is first refused (429), and made a second later as was asked: once, and no other is."""
    found = alone(60, 4, refuse=7)
    assert found["succeeded"] == 60
    jobs = 60 + 4 + 1
    asked = found["asked"]
    assert asked["GET log"] == 60
    assert asked["DELETE jobs"] == 4 + 1, "those that were aborted"
    assert asked["watch"] == 3
    # The run's Secret is the first of the POSTs, and each answer counts.
    refused = asked["POST jobs"] - jobs
    assert refused == (asked["POST jobs"] + asked["POST secrets"]) // 7
    assert sum(asked.values()) <= 4 * 60
