"""What is not served is refused in words, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.secret import payload_pb2
from flyteidl2.secret.secret_connect import SecretServiceClient

from flyte_build.submit.control.addressing import split, told

from .conftest import Asked


def test_a_service_that_is_not_there_says_what_it_takes(asked: Asked) -> None:
    async def talk(address: str) -> Any:
        client = SecretServiceClient(f"{address}/as/a0")
        with pytest.raises(ConnectError) as caught:
            await client.get_secret(payload_pb2.GetSecretRequest())
        return caught.value

    error = asked.ask(talk)
    assert error.code == Code.UNIMPLEMENTED
    assert error.message == (
        "flyte-build has no SecretService.GetSecret in its runs: this needs a Flyte backend (see docs/parity.md)"
    )


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("as/a0/x.Y/Z", ("a0", "x.Y/Z")),
        ("x.Y/Z", ("", "x.Y/Z")),
        ("as/../x.Y/Z", ("", "x.Y/Z")),
        ("as", ("", "")),
    ],
)
def test_the_path_says_who_asks(path: str, found: tuple[str, str]) -> None:
    assert split(path) == found


def test_no_request_says_itself_who_it_is_of() -> None:
    given = [(b"X-Flyte-Build-Action", b"other"), (b"x-flyte-build-token", b"t"), (b"host", b"h")]
    assert told(given, "a0", "token") == [
        (b"host", b"h"),
        (b"x-flyte-build-action", b"a0"),
        (b"x-flyte-build-token", b"token"),
    ]
