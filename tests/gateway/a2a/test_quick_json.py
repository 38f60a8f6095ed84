"""Our quick conversions against protobuf's own: the same, for whatever comes."""

from __future__ import annotations

from typing import Any

import pytest
from a2a.types import Artifact, Message, Part, Role, SendMessageRequest, Task, TaskState, TaskStatus
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.gateway.a2a.quick_json import sent_of, shown

TEXT = st.text(max_size=12)
ANY = st.none() | st.booleans() | st.integers(-9, 9) | TEXT | st.lists(TEXT, max_size=2) | st.just({})
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
STRUCTS = st.dictionaries(TEXT, JSON, max_size=2).map(lambda told: ParseDict(told, Struct()))
VALUES = JSON.map(lambda told: ParseDict(told, Value()))
CONTENT = st.one_of(
    st.fixed_dictionaries({"text": TEXT}), st.fixed_dictionaries({"raw": st.binary(max_size=9)}),
    st.fixed_dictionaries({"url": TEXT}), st.fixed_dictionaries({"data": VALUES}), st.just({}),
)  # fmt: skip
PARTS = st.builds(
    lambda content, more: Part(**content, **more), CONTENT,
    st.fixed_dictionaries({}, optional={"media_type": TEXT, "filename": TEXT, "metadata": STRUCTS}),
)  # fmt: skip
MESSAGES = st.builds(
    Message, message_id=TEXT, context_id=TEXT, task_id=TEXT, role=st.sampled_from([0, 1, 2, 7]),
    parts=st.lists(PARTS, max_size=3), metadata=st.none() | STRUCTS, extensions=st.lists(TEXT, max_size=2),
    reference_task_ids=st.lists(TEXT, max_size=2),
)  # fmt: skip
STAMPS = st.none() | st.builds(
    Timestamp, seconds=st.integers(0, 4_000_000_000), nanos=st.integers(0, 999).map(lambda ms: ms * 1_000_000)
)
TASKS = st.builds(
    Task, id=TEXT, context_id=TEXT, metadata=st.none() | STRUCTS, history=st.lists(MESSAGES, max_size=2),
    status=st.none() | st.builds(
        TaskStatus, state=st.sampled_from(TaskState.values()), message=st.none() | MESSAGES, timestamp=STAMPS
    ),
    artifacts=st.lists(
        st.builds(Artifact, artifact_id=TEXT, name=TEXT, description=TEXT, parts=st.lists(PARTS, max_size=2)),
        max_size=2,
    ),
)  # fmt: skip


@settings(max_examples=80)
@given(TASKS | MESSAGES)
def test_what_is_shown_is_what_protobuf_shows(made: Any) -> None:
    assert shown(made) == MessageToDict(made)


SOME_PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "message": ANY | st.fixed_dictionaries(
            {},
            optional={
                "messageId": TEXT | ANY, "message_id": TEXT, "contextId": TEXT, "taskId": TEXT, "unknown": ANY,
                "role": st.sampled_from(Role.keys()) | ANY,
                "parts": ANY | st.lists(
                    st.fixed_dictionaries(
                        {}, optional={"text": TEXT | ANY, "mediaType": TEXT | ANY, "filename": TEXT, "url": TEXT}
                    ) | ANY, max_size=3,
                ),
            },
        ),
        "tenant": TEXT | ANY, "configuration": ANY,
    },
)  # fmt: skip


@settings(max_examples=150)
@given(SOME_PARAMS)
def test_what_is_read_is_what_protobuf_reads(params: dict[str, Any]) -> None:
    read = sent_of(params)
    if read is not None:
        assert read == ParseDict(params, SendMessageRequest(), ignore_unknown_fields=True)


def test_a_plain_message_is_read_here_and_what_protobuf_refuses_is_not() -> None:
    plain = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi", "mediaType": "text/plain"}]}}
    assert sent_of(plain) == ParseDict(plain, SendMessageRequest())
    for wrong in ({"text": 7}, {"text": "\ud800"}, "hi", {"text": "a", "url": "b"}, None):
        params = {"message": {**plain["message"], "parts": [wrong]}}
        assert sent_of(params) is None
        with pytest.raises((ParseError, TypeError, ValueError, AttributeError)):
            ParseDict(params, SendMessageRequest())
