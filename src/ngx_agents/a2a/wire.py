"""Payloads and errors between processes: msgpack, and our errors by the names of their classes.

Of an error only its own text and plain fields travel; a class that is not known here becomes AgentFailed.
"""

from __future__ import annotations

import inspect

import msgspec

from ngx_agents import errors
from ngx_agents.a2a import refusals
from ngx_agents.a2a.carrier import MAX_PARCEL_BYTES, Fault
from ngx_agents.a2a.refusals import AgentFailed
from ngx_agents.errors import InvalidRequest, NgxError

MAX_TEXT = 2000
_ENCODER = msgspec.msgpack.Encoder()
_CLASSES: dict[str, type[NgxError]] = {
    name: found
    for module in (errors, refusals)
    for name, found in inspect.getmembers(module, inspect.isclass)
    if issubclass(found, NgxError)
}


class Travelling:
    """A payload that another object stands for in other processes."""

    __slots__ = ()

    async def away(self) -> object:
        """What is sent in its place. May wait; what it raises of ours, the caller gets."""
        raise NotImplementedError


def pack(payload: object) -> msgspec.Raw:
    """Raises InvalidRequest when it cannot travel."""
    try:
        packed = _ENCODER.encode(payload)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequest("the payload cannot be sent to another process", field="payload") from error
    if len(packed) > MAX_PARCEL_BYTES:
        raise InvalidRequest(f"the payload is larger than {MAX_PARCEL_BYTES} bytes", field="payload")
    return msgspec.Raw(packed)


def unpack(payload: msgspec.Raw, accepts: type | None = None) -> object:
    """Plain values, or an `accepts`. Raises InvalidRequest."""
    try:
        return msgspec.msgpack.decode(payload, type=object if accepts is None else accepts)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidRequest("the payload cannot be read", field="payload") from error


def fault_of(error: NgxError) -> Fault:
    fields = {
        name: value
        for name, value in vars(error).items()
        if not name.startswith("_") and isinstance(value, str | int | float | bool | None)
    }
    name = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _CLASSES), "NgxError")
    return Fault(name, str(error)[:MAX_TEXT], fields)


def error_of(fault: Fault, agent: str) -> NgxError:
    found = _CLASSES.get(fault.name)
    if found is None:
        return AgentFailed(agent)
    made = found.__new__(found, fault.message)
    made.args = (fault.message,)
    for name, value in fault.fields.items():
        if name.isidentifier() and not name.startswith("_"):
            setattr(made, name, value)
    return made
