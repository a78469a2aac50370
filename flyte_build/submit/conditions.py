"""Conditions: what they wait for, values of the four kinds that Flyte's have, as people type them, and the wait."""

from __future__ import annotations

import asyncio
import time

from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.workflow import run_definition_pb2

from .action import ErrorInfo, Phase
from .journal import ActionRecord

__all__ = ["answered", "kind_of", "literal_of", "paused"]

_KINDS = {
    types_pb2.SimpleType.BOOLEAN: "bool",
    types_pb2.SimpleType.INTEGER: "int",
    types_pb2.SimpleType.FLOAT: "float",
    types_pb2.SimpleType.STRING: "str",
}
_WORDS = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}
# Of what a condition says of itself.
_LONGEST = 500


def kind_of(type_: types_pb2.LiteralType) -> str:
    """``bool``, ``int``, ``float`` or ``str``; empty for what is none of these."""
    return _KINDS.get(type_.simple, "") if type_.WhichOneof("type") == "simple" else ""


def literal_of(kind: str, text: str) -> literals_pb2.Literal:
    """``text`` as a value of ``kind``; raises ``ValueError`` that says what was expected."""
    primitive = literals_pb2.Primitive()
    try:
        if kind == "bool":
            primitive.boolean = _WORDS[text.lower()]
        elif kind == "int":
            primitive.integer = int(text)
        elif kind == "float":
            primitive.float_value = float(text)
        else:
            primitive.string_value = text
    except (KeyError, ValueError):
        expected = {"bool": "true or false", "int": "a whole number of at most 64 bits", "float": "a number"}[kind]
        raise ValueError(f"expected {expected}, found {text!r:.80}") from None
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def paused(record: ActionRecord, condition: run_definition_pb2.ConditionAction) -> ActionRecord:
    """The record of a condition that waits."""
    asks = kind_of(condition.type)
    prompt = " ".join(f"{condition.prompt} {condition.description}".split())[:_LONGEST]
    return record.replace(task=condition.name, phase=Phase.PAUSED, asks=asks, prompt=prompt, started=time.time())


async def answered(
    waiting: ActionRecord, condition: run_definition_pb2.ConditionAction, signal: asyncio.Future[bytes]
) -> ActionRecord:
    """The record that ``waiting`` becomes once ``signal`` has its value, or its time is over."""
    timeout = condition.timeout
    limit = timeout.seconds + timeout.nanos / 1e9 if condition.HasField("timeout") else None
    try:
        value = await asyncio.wait_for(signal, limit)
    except TimeoutError:
        error = ErrorInfo("DEADLINE_EXCEEDED", f"{waiting.task} got no signal within {limit:g} s")
        return waiting.replace(phase=Phase.TIMED_OUT, error=error)
    return waiting.replace(phase=Phase.SUCCEEDED, value=value.hex())
