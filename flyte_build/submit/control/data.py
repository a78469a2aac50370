"""``flyteidl2.dataproxy.DataProxyService`` and ``flyteidl2.cluster.ClusterService``, for tasks: what they hand in, and
what came of the runs that they started. There is one cluster, and it is here.
"""

from __future__ import annotations

import contextlib
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from flyteidl2.cluster import payload_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as pb
from google.protobuf.message import DecodeError, Message

from ..action import OUTPUTS, Phase
from ..attempt import RunFacts
from ..engine import Engine
from .addressing import address
from .child_runs import ChildRuns
from .intake import Uploads
from .refusing import Served

__all__ = ["UPLOADS", "Clusters", "Data"]

UPLOADS = "uploads"
"""The path below which uploads are put, with the key that :meth:`Data.create_upload_location` gave."""


class Clusters(Served):
    service = "ClusterService"

    async def select_cluster(self, request: payload_pb2.SelectClusterRequest, ctx: Any) -> Any:
        return payload_pb2.SelectClusterResponse()


class Data(Served):
    service = "DataProxyService"

    def __init__(self, engine: Engine, facts: RunFacts, uploads: Uploads, runs: ChildRuns) -> None:
        self._engine = engine
        self._facts = facts
        self._uploads = uploads
        self._runs = runs

    async def create_upload_location(self, request: pb.CreateUploadLocationRequest, ctx: Any) -> Any:
        try:
            key, uri = self._uploads.place(request)
            elsewhere = await self._uploads.stash.upload(uri)
        except ValueError as e:
            raise ConnectError(Code.INVALID_ARGUMENT, str(e)) from None
        except OSError as e:
            raise ConnectError(Code.UNAVAILABLE, str(e)) from None
        return pb.CreateUploadLocationResponse(
            signed_url=elsewhere or f"{address(ctx)}/{UPLOADS}/{key}", native_url=uri
        )

    async def upload_inputs(self, request: pb.UploadInputsRequest, ctx: Any) -> Any:
        data = request.inputs.SerializeToString(deterministic=True)
        try:
            uri, found = await self._uploads.inputs(data)
        except (ValueError, OSError) as e:
            raise ConnectError(Code.INVALID_ARGUMENT, f"the inputs cannot be kept: {e}") from None
        response = pb.UploadInputsResponse()
        response.offloaded_input_data.uri = uri
        response.offloaded_input_data.inputs_hash = found
        return response

    async def get_action_data(self, request: pb.GetActionDataRequest, ctx: Any) -> Any:
        """Inputs and outputs. Who asks before the end gets them at the end, or hears why there are none."""
        record = self._runs.named(request.action_id)
        early = not record.phase.terminal
        if early:
            record = await self._engine.wait(record.name)
        if early and record.phase is not Phase.SUCCEEDED:
            error = record.error
            words = f": {error.code}: {error.message.strip()}" if error is not None else ""
            raise ConnectError(Code.FAILED_PRECONDITION, f"{record.run or record.name} {record.phase.value}{words}")
        response, folder = pb.GetActionDataResponse(), self._facts.folder
        await self._read(folder.storage.uri(folder.inputs(record.name)), response.inputs)
        if record.output_uri:
            await self._read(f"{record.output_uri}/{OUTPUTS}", response.outputs)
        return response

    async def _read(self, uri: str, into: Message) -> None:
        """What is not there, or no message, is none."""
        with contextlib.suppress(OSError, ValueError, DecodeError):
            into.ParseFromString(await self._uploads.stash.read(uri))
